/** Domain records as messages of the API, and back where a request carries one. One place for both directions. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { type ImageSchema, ImageState } from "../../gen/auspex/v1/image_pb.ts";
import { type ModelVersionSchema, ModelVersionState } from "../../gen/auspex/v1/model_pb.ts";
import {
  PredictionError_Source,
  type Prediction as PredictionMessage,
  PredictionStatus,
  Webhook_Format,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType, type Tensor as TensorMessage } from "../../gen/auspex/v1/tensor_pb.ts";
import type { Image } from "../domain/image.ts";
import type { ModelVersion } from "../domain/model.ts";
import type {
  Prediction,
  PredictionSummary,
  PredictionStatus as Status,
  WebhookFormat,
} from "../domain/prediction.ts";
import type { Dtype, Tensor, Tensors } from "../domain/tensor.ts";

const STATUS = {
  pending: PredictionStatus.PENDING,
  started: PredictionStatus.STARTED,
  succeeded: PredictionStatus.SUCCEEDED,
  failed: PredictionStatus.FAILED,
  canceled: PredictionStatus.CANCELED,
} as const satisfies Record<Status, PredictionStatus>;

const DTYPE = {
  float32: DataType.FLOAT32,
  int32: DataType.INT32,
  bool: DataType.BOOL,
  uint8: DataType.UINT8,
} as const satisfies Record<Dtype, DataType>;

const DTYPE_NAME = new Map(Object.entries(DTYPE).map(([name, value]) => [value as DataType, name as Dtype]));
const STATUS_NAME = new Map(
  Object.entries(STATUS).map(([name, value]) => [value as PredictionStatus, name as Status]),
);

const FORMAT_NAME: ReadonlyMap<Webhook_Format, WebhookFormat> = new Map<Webhook_Format, WebhookFormat>([
  [Webhook_Format.UNSPECIFIED, "auspex"],
  [Webhook_Format.AUSPEX, "auspex"],
  [Webhook_Format.WRIFTAI, "wriftai"],
]);

/** undefined for a value that this version of the API does not know. */
export function dtypeName(dtype: DataType): Dtype | undefined {
  return DTYPE_NAME.get(dtype);
}

/** undefined for "any" and for unknown values. */
export function statusName(status: PredictionStatus): Status | undefined {
  return STATUS_NAME.get(status);
}

/** undefined for a value that this version of the API does not know. */
export function webhookFormatName(format: Webhook_Format): WebhookFormat | undefined {
  return FORMAT_NAME.get(format);
}

/** The caller has checked that every dtype is known. */
export function tensorsFromMessage(tensors: Readonly<Record<string, TensorMessage>>): Tensors {
  // Entries, for a caller's name may be `__proto__`, which assigned would be no name.
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
      const tensor: Tensor = { dtype: dtypeName(dtype) ?? "float32", shape, data };
      return [name, tensor];
    }),
  );
}

function tensorsMessage(tensors: Tensors): Record<string, TensorMessage> {
  const result: Record<string, TensorMessage> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    result[name] = { $typeName: "auspex.v1.Tensor", dtype: DTYPE[dtype], shape: [...shape], data };
  }
  return result;
}

/** From integer microseconds. */
function time(us: number): Timestamp {
  return { $typeName: "google.protobuf.Timestamp", ...parts(us) };
}

function optionalTime(us: number | null): Timestamp | undefined {
  return us === null ? undefined : time(us);
}

function optionalDuration(us: number | null): Duration | undefined {
  return us === null ? undefined : { $typeName: "google.protobuf.Duration", ...parts(us) };
}

function parts(us: number): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(us / 1e6);
  return { seconds: BigInt(seconds), nanos: (us - seconds * 1e6) * 1000 };
}

/**
 * Without input and output, as lists show it. A whole message, for every call answers with one or more: to have it made
 * of a part of its fields takes half as long as to encode it.
 */
export function summaryMessage(summary: PredictionSummary): PredictionMessage {
  return {
    $typeName: "auspex.v1.Prediction",
    id: summary.id,
    model: summary.model,
    version: summary.version,
    status: STATUS[summary.status],
    revision: summary.revision,
    attempt: summary.attempt,
    input: undefined,
    tensors: {},
    output: undefined,
    outputTensors: {},
    error:
      summary.error === null
        ? undefined
        : {
            $typeName: "auspex.v1.PredictionError",
            source:
              summary.error.source === "internal"
                ? PredictionError_Source.INTERNAL
                : PredictionError_Source.EXTERNAL,
            message: summary.error.message,
            code: summary.error.code,
          },
    createTime: time(summary.createdAt),
    updateTime: time(summary.updatedAt),
    startTime: optionalTime(summary.startedAt),
    endTime: optionalTime(summary.endedAt),
    setupTime: optionalDuration(summary.setupTime),
    executionTime: optionalDuration(summary.executionTime),
    deadlineTime: optionalTime(summary.deadlineAt),
    requestId: summary.requestId,
  };
}

export function predictionMessage(prediction: Prediction): PredictionMessage {
  const { input, output } = prediction;
  const message = summaryMessage(prediction);
  message.input = input.json;
  message.tensors = tensorsMessage(input.tensors);
  if (output !== null) {
    message.output = output.json;
    message.outputTensors = tensorsMessage(output.tensors);
  }
  return message;
}

/** @param modelUuid of its model */
export function modelVersionMessage(
  version: ModelVersion,
  modelUuid: string,
): MessageInitShape<typeof ModelVersionSchema> {
  const { state, manifest } = version;
  return {
    model: `${version.owner}/${version.name}`,
    version: version.version,
    state:
      state.kind === "ready"
        ? ModelVersionState.READY
        : state.kind === "failed"
          ? ModelVersionState.FAILED
          : ModelVersionState.LOADING,
    failure: state.kind === "failed" ? state.reason : "",
    runtime: state.kind === "ready" ? state.runtime : "",
    runtimeNotes: state.kind === "ready" ? [...state.notes] : [],
    task: manifest?.task ?? "",
    inputSchema: manifest?.inputSchema,
    outputSchema: manifest?.outputSchema,
    description: manifest?.description ?? "",
    licence: manifest?.licence ?? "",
    source: manifest?.source ?? "",
    batchMax: manifest?.batchMax ?? 0,
    createTime: time(version.createdAt),
    digest: version.digest,
    modelUuid,
  };
}

export { time as timeMessage };

export function imageMessage(image: Image): MessageInitShape<typeof ImageSchema> {
  const { state } = image;
  const common = { id: image.id, sourceUrl: image.sourceUrl, createTime: time(image.createdAt) };
  switch (state.kind) {
    case "importing":
      return { ...common, state: ImageState.IMPORTING };
    case "failed":
      return { ...common, state: ImageState.FAILED, failure: state.reason };
    case "ready":
      return {
        ...common,
        state: ImageState.READY,
        mediaType: state.mediaType,
        width: state.width,
        height: state.height,
        sizeBytes: BigInt(state.sizeBytes),
      };
    default:
      return state satisfies never;
  }
}
