/** F25: protobuf messages that no library would write, of every request's type, over gRPC and Connect. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { AccountService } from "../../gen/auspex/v1/account_pb.ts";
import { DatasetService, FeedbackService } from "../../gen/auspex/v1/dataset_pb.ts";
import { ImageService } from "../../gen/auspex/v1/image_pb.ts";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { TrainingService } from "../../gen/auspex/v1/training_pb.ts";
import { type Arena, faults, openArena, type Told } from "./arena.ts";
import { hostileMessage, nested, unknownFields } from "./protobuf-messages.ts";

const METHODS = [
  PredictionService,
  ModelService,
  ImageService,
  DatasetService,
  FeedbackService,
  TrainingService,
  AccountService,
].flatMap((service) => service.methods);
const ROUNDS = 40;
const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena(25);
});
afterAll(() => arena?.[Symbol.asyncDispose]());

const pathOf = (method: (typeof METHODS)[number]): string => `/${method.parent.typeName}/${method.name}`;
const connect = (path: string, body: Uint8Array<ArrayBuffer>): Promise<Told> =>
  arena.http(path, body, { "content-type": "application/proto" });

test("F25 made from the descriptors, with wrong wire types, cut varints, huge lengths and bad UTF-8", async () => {
  function* inputs(): Generator<() => Promise<Told>> {
    for (let round = 0; round < ROUNDS; round++) {
      for (const method of METHODS) {
        const body = hostileMessage(arena.random, method.input);
        yield () => arena.grpc(pathOf(method), body);
        if (method.methodKind === "unary") yield () => connect(pathOf(method), body);
      }
    }
  }
  const told = await arena.throwAll(inputs());
  expect(faults(told)).toEqual([]);
  // Neither is all of it refused, nor taken.
  expect(told.some(({ status }) => status === INVALID_ARGUMENT || status === 400)).toBe(true);
  expect(told.some(({ door, status }) => (door.startsWith("grpc ") ? status === 0 : status === 200))).toBe(
    true,
  );
});

const CREATE = "/auspex.v1.PredictionService/CreatePrediction";
const { input } = PredictionService.method.createPrediction;
const INPUT = input.fields.find(({ name }) => name === "input")?.number ?? 0;
/** Struct.fields, its entry's value, Value.list_value, ListValue.values: lists within lists. */
const lists = (depth: number): Uint8Array<ArrayBuffer> => {
  let list: Uint8Array<ArrayBuffer> = new Uint8Array();
  for (let i = 0; i < depth; i++) list = nested(1, 1, nested(6, 1, list));
  return nested(
    INPUT,
    1,
    nested(1, 1, Buffer.concat([Buffer.from([0x0a, 1, 0x78]), nested(2, 1, nested(6, 1, list))])),
  );
};

test.each<readonly [string, () => Uint8Array<ArrayBuffer>, readonly number[]]>([
  // Fields that a later version may have are no fault of the caller's, as far as they are not too many.
  ["a million unknown fields", () => unknownFields(1_000_000), [INVALID_ARGUMENT]],
  ["eight million unknown fields", () => unknownFields(8_000_000), [RESOURCE_EXHAUSTED, 429]],
  ["a hundred thousand levels of one field", () => nested(INPUT, 100_000), [INVALID_ARGUMENT]],
  ["lists in lists, 1,000 deep", () => lists(1000), [INVALID_ARGUMENT]],
  ["groups in groups, 100,000 deep", () => new Uint8Array(100_000).fill(0x0b), [INVALID_ARGUMENT]],
  ["a length of 4 GiB", () => Uint8Array.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]), [INVALID_ARGUMENT]],
  ["a varint of 1 MB", () => new Uint8Array(1_000_000).fill(0xff), [INVALID_ARGUMENT]],
  [
    "half a million empty inputs",
    () => Uint8Array.from(Buffer.alloc(1_000_000, Buffer.from([(INPUT << 3) | 2, 0]))),
    [INVALID_ARGUMENT],
  ],
])("F25 %s: refused soon", async (_name, make, expected) => {
  const body = make();
  const began = performance.now();
  const told = await arena.throwAll([() => arena.grpc(CREATE, body), () => connect(CREATE, body)]);
  expect(performance.now() - began).toBeLessThan(5000);
  for (const { door, status } of told)
    expect(expected).toContain(door.startsWith("grpc ") ? status : status === 400 ? 3 : status);
});

test("F25 the server stands as before", () => arena.settle("protobuf", { mayKeep: /^blobs/ }));
