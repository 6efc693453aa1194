import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  CreatePredictionRequestSchema,
  GetPredictionRequestSchema,
  ListPredictionsRequestSchema,
  type PredictionStatus,
  type Webhook_Format,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { AuspexError } from "../../src/domain/error.ts";
import type { JsonObject } from "../../src/domain/payload.ts";
import { validate } from "../../src/services/validation.ts";

const limits = { WAIT_MAX: 60_000, MAX_TENSOR_ELEMENTS: 1000, MAX_JSON_DEPTH: 64, MAX_EXAMPLE_BYTES: 1000 };

function complaints(check: () => void): string[] {
  try {
    check();
  } catch (error) {
    if (error instanceof AuspexError && error.code === "invalid_argument")
      return error.violations.map((v) => v.field);
    throw error;
  }
  return [];
}

const createComplaints = (init: MessageInitShape<typeof CreatePredictionRequestSchema>) =>
  complaints(() => validate(create(CreatePredictionRequestSchema, { model: "a/b", ...init }), limits));

test("tasks are known ones, eight at most", () => {
  expect(createComplaints({ tasks: ["image-classification", "image-detection"] })).toEqual([]);
  expect(createComplaints({ tasks: Array(8).fill("tensor") })).toEqual([]);
  expect(createComplaints({ tasks: Array(9).fill("tensor") })).toEqual(["tasks"]);
  expect(createComplaints({ tasks: ["tensor", "guessing"] })).toEqual(["tasks"]);
});

/** JSON whose objects are nested that many levels deep. */
function nested(levels: number): JsonObject {
  let value: JsonObject = {};
  for (let i = 1; i < levels; i++) value = { x: value };
  return value;
}

function tensor(shape: number[], bytes: number, dtype: DataType = DataType.FLOAT32) {
  return { dtype, shape, data: new Uint8Array(bytes) };
}

describe("each limit, one inside and one outside", () => {
  test("model", () => {
    expect(createComplaints({ model: "a/b:3" })).toEqual([]);
    for (const model of ["a042400000Ns4HdAAJ", "a".repeat(64)])
      expect(createComplaints({ model })).toEqual([]);
    for (const model of ["", "a:1", "a/b:0", "A/b", "a b", "a".repeat(65)])
      expect(createComplaints({ model })).toEqual(["model"]);
  });
  test("F24 elements of JSON tensors, flat and nested, all together", () => {
    const input = (flat: number, nested: number) => ({
      inputs: {
        x: { dtype: "int32", shape: [flat], data: Array(flat).fill(1) },
        y: { dtype: "int32", shape: [1, nested], data: [Array(nested).fill(1)] },
      },
    });
    expect(createComplaints({ input: input(500, 500) })).toEqual([]);
    expect(createComplaints({ input: input(500, 501) })).toEqual(["input.inputs"]);
    expect(createComplaints({ input: input(1001, 0) })).toEqual(["input.inputs"]);
  });
  test("JSON depth", () => {
    expect(createComplaints({ input: nested(64) })).toEqual([]);
    expect(createComplaints({ input: nested(65) })).toEqual(["input"]);
    expect(createComplaints({ input: { x: JSON.parse("[".repeat(90) + "]".repeat(90)) } })).toEqual([
      "input",
    ]);
  });
  test("numbers in JSON", () => {
    expect(createComplaints({ input: { x: [1e308] } })).toEqual([]);
    for (const x of [Number.NaN, Number.NEGATIVE_INFINITY])
      expect(createComplaints({ input: { a: { "b c": [0, { x }] } } })).toEqual(['input.a["b c"][1].x']);
  });
  test("wait", () => {
    expect(createComplaints({ wait: { seconds: 60n } })).toEqual([]);
    expect(createComplaints({ wait: { seconds: 60n, nanos: 1 } })).toEqual(["wait"]);
    expect(createComplaints({ wait: { seconds: -1n } })).toEqual(["wait"]);
    expect(createComplaints({ wait: { seconds: 1n, nanos: -1 } })).toEqual(["wait"]);
  });
  test("deadline", () => {
    expect(createComplaints({ deadline: { nanos: 1 } })).toEqual([]);
    expect(createComplaints({ deadline: {} })).toEqual(["deadline"]);
    expect(createComplaints({ deadline: { seconds: 86_400n } })).toEqual([]);
    expect(createComplaints({ deadline: { seconds: 86_401n } })).toEqual(["deadline"]);
  });
  test("request id", () => {
    expect(createComplaints({ requestId: "x".repeat(255) })).toEqual([]);
    expect(createComplaints({ requestId: "x".repeat(256) })).toEqual(["request_id"]);
  });
  test("files and tensors", () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, new Uint8Array(1)]));
    expect(createComplaints({ files: many(16) })).toEqual([]);
    expect(createComplaints({ files: many(17) })).toEqual(["files"]);
    const tensors = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, tensor([1], 4)]));
    expect(createComplaints({ tensors: tensors(64) })).toEqual([]);
    expect(createComplaints({ tensors: tensors(65) })).toEqual(["tensors"]);
    expect(createComplaints({ tensors: { x: tensor([1000], 4000) } })).toEqual([]);
    expect(createComplaints({ tensors: { x: tensor([1001], 4004) } })).toEqual(["tensors"]);
  });
  test("tensor shapes", () => {
    expect(createComplaints({ tensors: { x: tensor([1, 1, 1, 1, 1, 1, 1, 1], 4) } })).toEqual([]);
    expect(createComplaints({ tensors: { x: tensor([1, 1, 1, 1, 1, 1, 1, 1, 1], 4) } })).toEqual([
      'tensors["x"].shape',
    ]);
    expect(createComplaints({ tensors: { x: tensor([2, 2], 15) } })).toEqual(['tensors["x"].data']);
    const absurd = [4294967295, 4294967295, 4294967295];
    expect(createComplaints({ tensors: { x: tensor(absurd, 4) } })).toEqual(['tensors["x"].data']);
    expect(createComplaints({ tensors: { x: tensor([1], 4, DataType.UNSPECIFIED) } })).toEqual([
      'tensors["x"].dtype',
    ]);
  });
  test("tensor values", () => {
    const floats = (...values: number[]) => ({
      dtype: DataType.FLOAT32,
      shape: [values.length],
      data: new Uint8Array(new Float32Array(values).buffer),
    });
    expect(createComplaints({ tensors: { x: floats(1, 1e-45, -3e38) } })).toEqual([]);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(createComplaints({ tensors: { x: floats(1, bad) } })).toEqual(['tensors["x"].data']);
    }
    const bool = (value: number) => ({ dtype: DataType.BOOL, shape: [1], data: new Uint8Array([value]) });
    expect(createComplaints({ tensors: { x: bool(1) } })).toEqual([]);
    expect(createComplaints({ tensors: { x: bool(2) } })).toEqual(['tensors["x"].data']);
  });
  test("bytes that do not begin at a multiple of four are read as well", () => {
    // A Buffer, as gRPC hands it over, is an array of another mind: its slice is no copy.
    for (const data of [new Uint8Array(new ArrayBuffer(9), 1, 8), Buffer.from(new ArrayBuffer(9), 1, 8)]) {
      expect(createComplaints({ tensors: { x: { dtype: DataType.FLOAT32, shape: [2], data } } })).toEqual([]);
    }
  });
  test("webhook", () => {
    const url = (length: number) => `https://example.org/${"x".repeat(length - 20)}`;
    expect(createComplaints({ webhook: { url: url(2048) } })).toEqual([]);
    expect(createComplaints({ webhook: { url: url(2049) } })).toEqual(["webhook.url"]);
    for (const bad of ["", "example.org", "file:///x"])
      expect(createComplaints({ webhook: { url: bad } })).toEqual(["webhook.url"]);
    expect(createComplaints({ webhook: { url: url(30), secret: "x".repeat(257) } })).toEqual([
      "webhook.secret",
    ]);
    expect(createComplaints({ webhook: { url: url(30), format: 9 as Webhook_Format } })).toEqual([
      "webhook.format",
    ]);
  });
  test("lists and ids", () => {
    const list = (init: MessageInitShape<typeof ListPredictionsRequestSchema>) =>
      complaints(() => validate(create(ListPredictionsRequestSchema, init), limits));
    expect(list({ pageSize: 200 })).toEqual([]);
    expect(list({ pageSize: 201, model: "a/b:1", status: 9 as PredictionStatus })).toEqual([
      "page_size",
      "model",
      "status",
    ]);
    const get = (id: string) =>
      complaints(() => validate(create(GetPredictionRequestSchema, { id }), limits));
    expect(get("018f3a6e-0000-7000-8000-000000000000")).toEqual([]);
    expect(get("")).toEqual(["id"]);
    expect(get("1")).toEqual(["id"]);
  });
});

test("all complaints come at once", () => {
  expect(createComplaints({ model: "x y", wait: { seconds: 99n }, requestId: "y".repeat(300) })).toEqual([
    "model",
    "wait",
    "request_id",
  ]);
});
