import { expect, test } from "vitest";
import { EMPTY_PAYLOAD, type Payload } from "../../src/domain/payload.ts";
import { decodePayload, encodePayload, encodePayloads } from "../../src/store/payload.ts";

const payload: Payload = {
  json: { text: "Grüße 🦩", list: [1, null, { deep: true }] },
  tensors: {
    "": { dtype: "uint8", shape: [0], data: new Uint8Array() },
    x: { dtype: "float32", shape: [2], data: new Uint8Array([0, 0, 128, 63, 0, 0, 0, 64]) },
    y: { dtype: "bool", shape: [], data: new Uint8Array([1]) },
  },
};

test("a payload survives its encoding", () => {
  expect(decodePayload(encodePayload(payload))).toEqual(payload);
  expect(decodePayload(encodePayload(EMPTY_PAYLOAD))).toEqual(EMPTY_PAYLOAD);
});

test("two payloads survive theirs, and lie in one buffer that has room for nothing else", () => {
  const [first, second] = encodePayloads(payload, { ...payload, json: { other: "payload" } });
  expect(decodePayload(first)).toEqual(payload);
  expect(decodePayload(second)).toEqual({ ...payload, json: { other: "payload" } });
  expect(first.buffer).toBe(second.buffer);
  expect(first.buffer.byteLength).toBe(first.length + second.length);
  expect(first).toEqual(encodePayload(payload));
});

test("a name that means something to JavaScript is a name like any other", () => {
  const json = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 2}');
  const tensors = Object.fromEntries([
    ["__proto__", { dtype: "bool", shape: [], data: new Uint8Array([1]) }],
  ]);
  const decoded = decodePayload(encodePayload({ json, tensors } as Payload));
  expect(Object.keys(decoded.json)).toEqual(["__proto__", "constructor"]);
  expect(Object.keys(decoded.tensors)).toEqual(["__proto__"]);
  expect(Object.getPrototypeOf(decoded.json)).toBe(Object.prototype);
});

test("a view of a larger buffer is encoded as what it shows, into a buffer of its own", () => {
  const data = new Uint8Array([9, 9, 1, 2, 9]).subarray(2, 4);
  const encoded = encodePayload({ json: {}, tensors: { x: { dtype: "uint8", shape: [2], data } } });
  expect(encoded.buffer.byteLength).toBe(encoded.length);
  expect([...(decodePayload(encoded).tensors.x?.data ?? [])]).toEqual([1, 2]);
});

test("damage is noticed", () => {
  const encoded = encodePayload(payload);
  for (const length of [0, 3, 10, encoded.length - 1]) {
    expect(() => decodePayload(encoded.subarray(0, length))).toThrow();
  }
  expect(() => decodePayload(new Uint8Array([...encoded, 0]))).toThrow("has");
});
