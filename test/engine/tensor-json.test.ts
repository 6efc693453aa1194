import { describe, expect, it } from "vitest";
import type { AuspexError } from "../../src/domain/error.ts";
import type { JsonValue } from "../../src/domain/payload.ts";
import { tensorsFromJson, tensorsToJson } from "../../src/engine/tensor-json.ts";

describe("tensors as JSON", () => {
  it.each([
    ["float32", [2, 2], [1.5, -2, 0, 3]],
    ["int32", [4], [1, -2147483648, 2147483647, 0]],
    ["uint8", [2], [0, 255]],
    ["bool", [2], [0, 1]],
    ["float32", [], [7]],
  ] as const)("go there and back: %s %j", (dtype, shape, data) => {
    const json = { x: { dtype, shape: [...shape], data: [...data] } };
    expect(tensorsToJson(tensorsFromJson(json))).toEqual(json);
  });

  it("are at most 64, so that the complaints about them end somewhere", () => {
    const inputs = Object.fromEntries(Array.from({ length: 200_000 }, (_, i) => [`x${i}`, 1]));
    expect(() => tensorsFromJson(inputs)).toThrow("input.inputs: has 200000 entries; at most 64 are allowed");
  });

  it("may be nested as the shape says, and booleans may be words", () => {
    const nested = tensorsFromJson({
      x: {
        dtype: "int32",
        shape: [2, 3],
        data: [
          [1, 2, 3],
          [4, 5, 6],
        ],
      },
      y: { dtype: "bool", shape: [2], data: [true, false] },
    });
    expect([...new Int32Array(new Uint8Array(nested.x?.data ?? []).buffer)]).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...(nested.y?.data ?? [])]).toEqual([1, 0]);
  });

  it("reads elements that lie at any address", () => {
    const bytes = new Uint8Array(9);
    bytes.set(new Uint8Array(Float32Array.of(1, 2).buffer), 1);
    const x = { dtype: "float32", shape: [2], data: bytes.subarray(1) } as const;
    expect(tensorsToJson({ x })).toEqual({ x: { dtype: "float32", shape: [2], data: [1, 2] } });
  });

  const tensor = { dtype: "float32", shape: [2], data: [1, 2] };
  it.each<[string, JsonValue | undefined, string]>([
    ["nothing", undefined, "input.inputs"],
    ["a list", [], "input.inputs"],
    ["no tensor", { x: 3 }, 'input.inputs["x"]'],
    ["an unknown type", { x: { ...tensor, dtype: "float64" } }, 'input.inputs["x"].dtype'],
    ["an inherited type", { x: { ...tensor, dtype: "toString" } }, 'input.inputs["x"].dtype'],
    ["a negative size", { x: { ...tensor, shape: [-2] } }, 'input.inputs["x"].shape'],
    ["a broken size", { x: { ...tensor, shape: [1.5] } }, 'input.inputs["x"].shape'],
    ["9 dimensions", { x: { ...tensor, shape: [2, 1, 1, 1, 1, 1, 1, 1, 1] } }, 'input.inputs["x"].shape'],
    ["an absurd shape", { x: { ...tensor, shape: [2 ** 40, 2 ** 40] } }, 'input.inputs["x"].data'],
    [
      "an absurd nested shape",
      { x: { ...tensor, shape: [1, 2 ** 40], data: [[1]] } },
      'input.inputs["x"].data',
    ],
    ["too few", { x: { ...tensor, data: [1] } }, 'input.inputs["x"].data'],
    ["too many", { x: { ...tensor, data: [1, 2, 3] } }, 'input.inputs["x"].data'],
    ["ragged rows", { x: { ...tensor, shape: [2, 1], data: [[1], [2, 3]] } }, 'input.inputs["x"].data'],
    ["a word", { x: { ...tensor, data: [1, "2"] } }, 'input.inputs["x"].data[1]'],
    ["no number", { x: { ...tensor, data: [1, Number.NaN] } }, 'input.inputs["x"].data[1]'],
    ["a large byte", { x: { ...tensor, dtype: "uint8", data: [1, 256] } }, 'input.inputs["x"].data[1]'],
    ["a broken int", { x: { ...tensor, dtype: "int32", data: [1, 2 ** 31] } }, 'input.inputs["x"].data[1]'],
  ])("are refused by field: %s", (_, json, field) => {
    try {
      tensorsFromJson(json);
    } catch (error) {
      const { code, violations } = error as AuspexError;
      expect([code, violations.map((v) => v.field)]).toEqual(["invalid_argument", [field]]);
      return;
    }
    throw new Error("it was taken");
  });

  it("cannot carry what is no number", () => {
    const data = new Uint8Array(Float32Array.of(1, Number.POSITIVE_INFINITY).buffer);
    expect(() => tensorsToJson({ y: { dtype: "float32", shape: [2], data } })).toThrow(
      "the output y has values that are not finite, which JSON cannot carry",
    );
  });

  it("are there by any name, __proto__ too, which is then no input of any model", () => {
    const json = JSON.parse('{"__proto__":{"dtype":"uint8","shape":[1],"data":[7]}}');
    const tensors = tensorsFromJson(json);
    expect(Object.keys(tensors)).toEqual(["__proto__"]);
    expect(JSON.stringify(tensorsToJson(tensors))).toBe(JSON.stringify(json));
  });
});
