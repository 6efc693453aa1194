/** F24: tensors that are none, typed and as JSON: refused with the path of what is wrong, before any model sees them. */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  CreatePredictionRequestSchema,
  type CreatePredictionResponse,
  PredictionError_Source,
  PredictionService,
  PredictionStatus,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType, TensorSchema } from "../../gen/auspex/v1/tensor_pb.ts";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { clientOf } from "../harness.ts";
import { type Arena, faults, MODEL, openArena, type Told } from "./arena.ts";

let arena: Arena;
beforeAll(async () => {
  arena = await openArena(24);
});
afterAll(() => arena?.[Symbol.asyncDispose]());

const CREATE = "/auspex.v1.PredictionService/CreatePrediction";
const NUMBERS = Array.from({ length: 64 }, (_, i) => i / 64);
const floats = (values: readonly number[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Float32Array.from(values).buffer);
const GOOD = { dtype: DataType.FLOAT32, shape: [1, 64], data: floats(NUMBERS) };
const with63 = (last: number): readonly number[] => [...NUMBERS.slice(0, 63), last];

/** What is sent, and the path of what is wrong with it. */
const TYPED: Readonly<Record<string, readonly [Record<string, object>, string]>> = {
  NaN: [{ x: { ...GOOD, data: floats(with63(Number.NaN)) } }, 'tensors["x"].data'],
  "an infinity": [{ x: { ...GOOD, data: floats(with63(Number.NEGATIVE_INFINITY)) } }, 'tensors["x"].data'],
  "no type": [{ x: { ...GOOD, dtype: 0 } }, 'tensors["x"].dtype'],
  "a type of tomorrow": [{ x: { ...GOOD, dtype: 99 } }, 'tensors["x"].dtype'],
  "a byte too few": [{ x: { ...GOOD, data: floats(NUMBERS).slice(0, 255) } }, 'tensors["x"].data'],
  "a byte too many": [
    { x: { ...GOOD, data: Buffer.concat([floats(NUMBERS), Buffer.of(0)]) } },
    'tensors["x"].data',
  ],
  "no bytes": [{ x: { ...GOOD, data: new Uint8Array() } }, 'tensors["x"].data'],
  "2^31 elements without bytes": [
    { x: { ...GOOD, shape: [2 ** 16, 2 ** 15], data: new Uint8Array() } },
    'tensors["x"].data',
  ],
  "a product beyond 64 bits": [{ x: { ...GOOD, shape: Array(8).fill(4_294_967_295) } }, 'tensors["x"].data'],
  "a product that would wrap to 64": [
    { x: { ...GOOD, shape: [2 ** 31, 2 ** 31, 2 ** 2, 64] } },
    'tensors["x"].data',
  ],
  "nine dimensions": [{ x: { ...GOOD, shape: [1, 1, 1, 1, 1, 1, 1, 1, 64] } }, 'tensors["x"].shape'],
  "a boolean of 2": [
    { x: { dtype: DataType.BOOL, shape: [1], data: Uint8Array.of(2) } },
    'tensors["x"].data',
  ],
  "another type than the model's": [
    { x: { dtype: DataType.INT32, shape: [1, 64], data: new Uint8Array(256) } },
    'tensors["x"].dtype',
  ],
  "another shape than the model's": [{ x: { ...GOOD, shape: [64] } }, 'tensors["x"].shape'],
  "no rows": [
    { x: { dtype: DataType.FLOAT32, shape: [0, 64], data: new Uint8Array() } },
    'tensors["x"].shape',
  ],
  "an input that the model has not": [{ x: GOOD, z: GOOD }, 'tensors["z"]'],
  "a tensor named __proto__": [
    Object.fromEntries([
      ["x", GOOD],
      ["__proto__", GOOD],
    ]),
    'tensors["__proto__"]',
  ],
  "a hundred tensors": [
    Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`t${i}`, GOOD])),
    "tensors",
  ],
};

const IN_JSON: Readonly<Record<string, readonly [string, string]>> = {
  "a size below nothing": ['{"dtype":"float32","shape":[-1,64],"data":[]}', "shape"],
  "a size that is no whole number": ['{"dtype":"float32","shape":[1.5,64],"data":[]}', "shape"],
  "a size beyond what is exact": ['{"dtype":"float32","shape":[9007199254740993],"data":[]}', "shape"],
  "a size of 1e999": ['{"dtype":"float32","shape":[1e999],"data":[]}', "shape"],
  "2^31 elements": ['{"dtype":"float32","shape":[65536,32768],"data":[1]}', "data"],
  "a product beyond all numbers": [
    `{"dtype":"float32","shape":[${Array(8).fill("9007199254740991")}],"data":[1]}`,
    "data",
  ],
  "a number beyond all numbers": [
    `{"dtype":"float32","shape":[1,64],"data":[1e999,${Array(63).fill(0)}]}`,
    "data",
  ],
  "null for a number": [`{"dtype":"float32","shape":[1,64],"data":[null,${Array(63).fill(0)}]}`, "data"],
  "an integer of 33 bits": ['{"dtype":"int32","shape":[1],"data":[4294967296]}', "data"],
  "a byte below nothing": ['{"dtype":"uint8","shape":[1],"data":[-1]}', "data"],
  "a type named like what objects inherit": ['{"dtype":"constructor","shape":[1],"data":[1]}', "dtype"],
  "ragged rows": ['{"dtype":"float32","shape":[2,2],"data":[[1,2],[3]]}', "data"],
};

/** What is wrong: told at once as far as the request alone shows it, else by the prediction that has failed. */
async function complaintOf(call: Promise<CreatePredictionResponse>): Promise<string> {
  try {
    const { prediction } = await call;
    expect(prediction?.status).toBe(PredictionStatus.FAILED);
    expect(prediction?.error?.source).toBe(PredictionError_Source.EXTERNAL);
    return prediction?.error?.message ?? "";
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    expect(error.code).toBe(Code.InvalidArgument);
    const [details] = error.findDetails(BadRequestSchema);
    expect(error.rawMessage).toContain(details?.fieldViolations[0]?.field);
    return error.rawMessage;
  }
}

const batches = async (): Promise<string> =>
  /^auspex_engine_batches (\d+)/m.exec((await arena.http("/metrics", undefined, {}, "GET")).text)?.[1] ??
  "none";

describe("F24 typed", () => {
  test.each(Object.entries(TYPED))(
    "%s is refused by its path, over every door, and reaches no model",
    async (_name, [tensors, field]) => {
      const before = await batches();
      for (const door of ["grpc", "connect", "grpc-web"] as const) {
        const client = clientOf(arena.server, door, PredictionService);
        const request = { model: MODEL, tensors: tensors as never, wait: { seconds: 10n } };
        expect(await complaintOf(client.createPrediction(request))).toContain(`${field}: `);
      }
      expect(await batches()).toBe(before);
    },
  );

  test("denormals, zeros of both signs and the largest numbers are numbers", async () => {
    const values = [5e-324, 1e-40, -0, 0, 3.4028234e38, -3.4028234e38, ...NUMBERS.slice(6)];
    const { prediction } = await clientOf(arena.server, "grpc", PredictionService).createPrediction({
      model: MODEL,
      tensors: { x: { ...GOOD, data: floats(values.map((value) => value / 1e6)) } },
      wait: { seconds: 10n },
    });
    expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
  });
});

describe("F24 as JSON", () => {
  test.each(Object.entries(IN_JSON))(
    "%s is refused by its path, over Connect and REST",
    async (_name, [tensor, field]) => {
      const before = await batches();
      const body = (extra: string) => `{"model":"${MODEL}","input":{"inputs":{"x":${tensor}}}${extra}}`;
      const headers = { "content-type": "application/json" };
      const told = await arena.throwAll([
        () => arena.http(CREATE, body(',"wait":"10s"'), headers),
        () => arena.http("/v1/predictions", body(""), { ...headers, prefer: "wait=10" }),
      ]);
      for (const { text } of told) {
        expect(text).toMatch(
          /"code": ?"invalid_argument"|"status": ?"failed"|PREDICTION_STATUS_FAILED|"detail"/,
        );
        // Of a failed prediction not its input, which it also holds.
        const complaint = /"error":.*/s.exec(text)?.[0] ?? text;
        expect(complaint).toMatch(new RegExp(`inputs\\W{1,5}x\\W{1,5}${field}`));
      }
      expect(await batches()).toBe(before);
    },
  );
});

test("F24 bytes at random in place of a tensor's, its shape and its type", async () => {
  function* inputs(): Generator<() => Promise<Told>> {
    for (let i = 0; i < 600; i++) {
      const size = (): number => Math.floor(arena.random() ** 4 * 2 ** (arena.random() < 0.2 ? 32 : 7));
      const bytes = Uint8Array.from({ length: Math.floor(arena.random() * 300) }, () => arena.random() * 256);
      const tensor: MessageInitShape<typeof TensorSchema> = {
        dtype: Math.floor(arena.random() * 6) as DataType,
        shape: Array.from({ length: Math.floor(arena.random() * 10) }, size),
        data: bytes,
      };
      const request = create(CreatePredictionRequestSchema, {
        model: MODEL,
        tensors: { x: create(TensorSchema, tensor) },
        wait: { seconds: 10n },
      });
      const body = toBinary(CreatePredictionRequestSchema, request);
      yield () => arena.grpc(CREATE, body);
    }
  }
  const before = await batches();
  const told = await arena.throwAll(inputs());
  expect(faults(told)).toEqual([]);
  expect(await batches()).toBe(before);
});

test("F24 the server stands as before", () => arena.settle("tensors"));
