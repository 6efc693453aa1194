/** F25: what is counted in a protobuf message before it is decoded, and what past the limit is told over each door. */
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ListDatasetsRequestSchema } from "../../gen/auspex/v1/dataset_pb.ts";
import {
  type CreatePredictionRequest,
  CreatePredictionRequestSchema,
  PredictionService,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { weigh } from "../../src/transports/protobuf-values.ts";
import { nested, unknownFields } from "../hostile/protobuf-messages.ts";
import { DOORS, type Listeners, startListeners, transportOf } from "./listeners.ts";
import { memoryServices } from "./memory-services.ts";

type Init = Parameters<typeof create<typeof CreatePredictionRequestSchema>>[1];

/** With blanks behind it in a field of its own, for what is short is not counted. */
function encoded(init: Init): Uint8Array {
  const message: CreatePredictionRequest = create(CreatePredictionRequestSchema, init);
  return Buffer.concat([
    toBinary(CreatePredictionRequestSchema, message),
    nested(1999, 1, Buffer.alloc(100_000)),
  ]);
}

/** Values that are counted, the blanks' field not. */
function countOf(bytes: Uint8Array): number {
  let count = 0;
  while (weigh(CreatePredictionRequestSchema, bytes, count) === "more") count++;
  return count - 1;
}

describe("F25 what counts as a value", () => {
  test.each<readonly [string, Init, number]>([
    ["a field", { model: "a/b" }, 1],
    [
      "each member and element of the input, once",
      { input: { x: [1, 2, { y: null }], z: "a" } },
      1 + 2 + 3 + 1,
    ],
    [
      "an entry of a map, and each field and size of a tensor",
      { tensors: { x: { dtype: 1, shape: [1, 2, 3], data: new Uint8Array(500) } } },
      1 + 2 + 1 + 3,
    ],
    ["elements of a list", { tasks: ["a", "b", ""] }, 3],
    ["bytes, as one", { files: { image: new Uint8Array(1000) } }, 1],
  ])("%s", (_name, init, count) => {
    expect(countOf(encoded(init))).toBe(count);
  });

  test("fields that nobody knows, and what is repeated within an entry", () => {
    const bytes = unknownFields(2000);
    expect(weigh(CreatePredictionRequestSchema, bytes, 1999)).toBe("more");
    expect(weigh(CreatePredictionRequestSchema, bytes, 2000)).toBe("within");
    const { number = 0 } = CreatePredictionRequestSchema.field.files ?? {};
    // One entry of a map that has its key 2,000 times: the first two fields are the entry's own.
    const entry = nested(number, 1, Buffer.alloc(4000, Buffer.from([0x0a, 0])));
    expect(weigh(CreatePredictionRequestSchema, entry, 1998)).toBe("more");
    expect(weigh(CreatePredictionRequestSchema, entry, 1999)).toBe("within");
  });

  test("nothing is passed over in what the library reads by another type than its tag says, or not at all", () => {
    const text = Buffer.alloc(5000, 0x20);
    const wrong = {
      "a number as a text": nested(ListDatasetsRequestSchema.field.pageSize?.number ?? 0, 1, text),
      "a text as a group": Buffer.concat([Buffer.of((2 << 3) | 4, 1), text]),
      "a tag beyond 32 bits": Buffer.concat([Buffer.of(0x92, 0x80, 0x80, 0x80, 0x80, 0x08, 0x7f), text]),
      "a number without an end": Buffer.alloc(5000, 0xff),
      "a length beyond the message": Buffer.concat([Buffer.of(0x7a, 0xff, 0xff, 0x7f), text]),
    };
    const { number = 0 } = CreatePredictionRequestSchema.field.tensors ?? {};
    const cut = nested(number, 1, nested(2, 1, Buffer.concat([Buffer.of(0x12, 2, 0xff, 0xff), text])));
    expect(weigh(CreatePredictionRequestSchema, cut, 10)).toBe("malformed");
    for (const [name, bytes] of Object.entries(wrong)) {
      expect([name, weigh(ListDatasetsRequestSchema, bytes, 10)]).toEqual([name, "malformed"]);
    }
  });
});

describe("F25 a message of as many values as are allowed is taken, of one more refused", () => {
  const MAX = 1000;
  let listeners: Listeners;
  beforeAll(async () => {
    listeners = await startListeners(memoryServices(), { settings: { MAX_JSON_VALUES: String(MAX) } });
  });
  afterAll(() => listeners?.[Symbol.asyncDispose]());

  test.each(DOORS.filter((door) => door !== "connect-json"))("%s", async (door) => {
    const client = createClient(PredictionService, transportOf(listeners, door));
    // The model's name and the input are values too.
    const call = (elements: number) =>
      client.createPrediction({ model: "a/b", input: { x: Array(elements).fill(1) } });
    await call(MAX - 3);
    const { code, rawMessage } = await call(MAX - 2).then(
      () => expect.fail("one value too many was taken"),
      (thrown: unknown) => ConnectError.from(thrown),
    );
    expect([code, rawMessage]).toEqual([Code.ResourceExhausted, "the request has more than 1000 values"]);
  });
});
