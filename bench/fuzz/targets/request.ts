/** Requests of every operation, as protobuf or JSON: decoding, `validate`, `acceptInput`. The first byte chooses. */
import { create, type DescMessage, fromBinary, fromJson, toBinary, toJsonString } from "@bufbuild/protobuf";
import { AccountService } from "../../../gen/auspex/v1/account_pb.ts";
import { DatasetService, FeedbackService } from "../../../gen/auspex/v1/dataset_pb.ts";
import { ImageService } from "../../../gen/auspex/v1/image_pb.ts";
import { ModelService } from "../../../gen/auspex/v1/model_pb.ts";
import {
  type CreatePredictionRequest,
  CreatePredictionRequestSchema,
  PredictionService,
} from "../../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../../gen/auspex/v1/tensor_pb.ts";
import { TrainingService } from "../../../gen/auspex/v1/training_pb.ts";
import { AuspexError } from "../../../src/domain/error.ts";
import type { ImageId } from "../../../src/domain/id.ts";
import { acceptInput, requestHash } from "../../../src/services/input.ts";
import { validate } from "../../../src/services/validation.ts";
import { READ_OPTIONS } from "../../../src/transports/decode-message.ts";
import { weigh } from "../../../src/transports/protobuf-values.ts";
import { holds, noPollution, parsed, unlessRefused } from "../target.ts";

export const claim =
  "A request that can be decoded is refused with the path of what is wrong, or means the same when it is written anew, and loses no input; its values were counted before.";

const LIMITS = {
  WAIT_MAX: 60_000,
  MAX_TENSOR_ELEMENTS: 1000,
  MAX_JSON_DEPTH: 8,
  MAX_EXAMPLE_BYTES: 1000,
} as const;

const SCHEMAS = [
  PredictionService,
  ModelService,
  ImageService,
  DatasetService,
  FeedbackService,
  TrainingService,
  AccountService,
]
  .flatMap((service) => service.methods.map(({ input }) => input))
  // What has no fields has no check.
  .filter(({ fields }) => fields.length > 0);

type Checked = Parameters<typeof validate>[0];

const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError &&
  error.code === "invalid_argument" &&
  error.violations.length > 0 &&
  error.violations.every(
    ({ field, reason, description }) => field !== "" && reason !== "" && description !== "",
  );

export function fuzz(data: Buffer): void {
  const [choice = 0] = data;
  const schema = SCHEMAS[(choice >> 1) % SCHEMAS.length] ?? CreatePredictionRequestSchema;
  const body = data.subarray(1);
  let request: ReturnType<typeof fromBinary>;
  try {
    request =
      choice % 2 === 0 ? fromBinary(schema, body, READ_OPTIONS) : fromJson(schema, parsed(body) as never);
  } catch {
    // What the library cannot decode, the doors refuse.
    return;
  }
  if (choice % 2 === 0) counted(schema, body, request);
  const checked = unlessRefused(isRefusal, () => {
    validate(request as Checked, LIMITS);
    return true;
  });
  noPollution();
  if (checked && request.$typeName === CreatePredictionRequestSchema.typeName) {
    accept(request as CreatePredictionRequest);
  }
}

/** What was made of the bytes was counted in them before. */
function counted(schema: DescMessage, bytes: Uint8Array, message: object): void {
  const made = valuesIn(message);
  holds(
    made === 0 || weigh(schema, bytes, made - 1) !== "within",
    "a message has more values than were counted in it",
  );
}

/** Elements of lists, entries of maps and members of JSON, within one another. */
function valuesIn(item: unknown): number {
  if (typeof item !== "object" || item === null || item instanceof Uint8Array) return 0;
  if (Array.isArray(item)) return item.reduce((sum: number, child) => sum + 1 + valuesIn(child), 0);
  // What stands for a choice of fields is no value either.
  const isMessage = Object.hasOwn(item, "$typeName") || Object.hasOwn(item, "case");
  return Object.values(item).reduce((sum: number, child) => sum + (isMessage ? 0 : 1) + valuesIn(child), 0);
}

function accept(request: CreatePredictionRequest): void {
  const again = fromBinary(CreatePredictionRequestSchema, toBinary(CreatePredictionRequestSchema, request));
  holds(requestHash(again) === requestHash(request), "written anew it has the same hash");
  const accepted = unlessRefused(isRefusal, () => acceptInput(request, () => "id" as ImageId));
  noPollution();
  if (!accepted) return;
  const { json, tensors } = accepted.payload;
  holds(Object.keys(tensors).length === Object.keys(request.tensors).length, "every tensor is there");
  const given = Object.keys(request.input ?? {});
  holds(
    given.every((name) => Object.hasOwn(json, name)),
    "every input is there",
  );
  holds(!("image" in json) || Object.hasOwn(json, "image"), "no input is inherited");
}

export function seeds(): readonly Uint8Array[] {
  const index = SCHEMAS.findIndex(({ typeName }) => typeName === CreatePredictionRequestSchema.typeName);
  const first = Buffer.of(index * 2);
  const requests = [
    create(CreatePredictionRequestSchema, {
      model: "a/b:1",
      input: { image: "data:image/png;base64,iVBORw0KGgo=", x: [1, { y: null }] },
      wait: { seconds: 1n },
      deadline: { seconds: 5n, nanos: 1 },
      requestId: "r",
      webhook: { url: "https://example.com/", secret: "s" },
      tasks: ["tensor"],
    }),
    create(CreatePredictionRequestSchema, {
      model: "a/b",
      tensors: { x: { dtype: DataType.FLOAT32, shape: [1, 2], data: new Uint8Array(8) } },
    }),
    create(CreatePredictionRequestSchema, { model: "a/b", files: { image: Uint8Array.of(1) } }),
  ];
  return [
    ...requests.map((request) => Buffer.concat([first, toBinary(CreatePredictionRequestSchema, request)])),
    ...requests.map((request) =>
      Buffer.concat([
        Buffer.of(index * 2 + 1),
        Buffer.from(toJsonString(CreatePredictionRequestSchema, request)),
      ]),
    ),
    ...SCHEMAS.map((_schema, i) => Buffer.of(i * 2, 0x0a, 0x01, 0x61, 0x10, 0x01)),
  ];
}

export const words = [
  "__proto__",
  "constructor",
  "image",
  "inputs",
  '"input":{',
  '"tensors":{',
  "\x7f\xf0\x00\x00",
];
