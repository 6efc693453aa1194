/** From our messages to this dialect's objects. Keys stand in the order of the contract's newest document. */
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import type { Model, ModelVersion } from "../../../../gen/auspex/v1/model_pb.ts";
import {
  type Prediction,
  PredictionError_Source,
  PredictionStatus,
} from "../../../../gen/auspex/v1/prediction_pb.ts";
import { DataType, type Tensor } from "../../../../gen/auspex/v1/tensor_pb.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { CATALOGUE_OWNER } from "../../../domain/principal.ts";
import { stableUuid } from "../../../services/stable-uuid.ts";

/** The four statuses that its clients know: one that waits for the end knows no other end than these two. */
const STATUS: ReadonlyMap<PredictionStatus, string> = new Map<PredictionStatus, string>([
  [PredictionStatus.PENDING, "pending"],
  [PredictionStatus.STARTED, "started"],
  [PredictionStatus.SUCCEEDED, "succeeded"],
  [PredictionStatus.FAILED, "failed"],
  [PredictionStatus.CANCELED, "failed"],
]);

export function isFinished(prediction: Prediction): boolean {
  return prediction.status !== PredictionStatus.PENDING && prediction.status !== PredictionStatus.STARTED;
}

/** RFC 3339, UTC, always with microseconds; null for an unset one. */
export function renderTime(time: Timestamp | undefined): string | null {
  if (!time) return null;
  const seconds = new Date(Number(time.seconds) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${String(Math.floor(time.nanos / 1000)).padStart(6, "0")}Z`;
}

/** ISO 8601 as Pydantic writes a timedelta: `PT1.25S`, `PT1M30S`, `P1DT2H`; null for an unset one. */
export function renderDuration(duration: Duration | undefined): string | null {
  if (!duration) return null;
  const seconds = Number(duration.seconds);
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3600) % 24, (seconds / 60) % 60].map(
    Math.floor,
  );
  const fraction = String(Math.floor(duration.nanos / 1000))
    .padStart(6, "0")
    .replace(/0+$/, "");
  const rest = `${seconds % 60}${fraction && `.${fraction}`}`;
  const date = days ? `${days}D` : "";
  const time = `${hours ? `${hours}H` : ""}${minutes ? `${minutes}M` : ""}${rest === "0" ? "" : `${rest}S`}`;
  if (date === "" && time === "") return "PT0S";
  return `P${date}${time && `T${time}`}`;
}

/** The object that GET answers and webhooks post (§1.4, §1.7). */
export function renderPrediction(prediction: Prediction): JsonObject {
  return {
    ...renderSummary(prediction),
    error: renderError(prediction),
    input: renderPayload(prediction.input, "inputs", prediction.tensors),
    output:
      prediction.status === PredictionStatus.SUCCEEDED
        ? renderPayload(prediction.output, "outputs", prediction.outputTensors)
        : null,
  };
}

/** A list's item: without error, input and output. */
export function renderSummary(prediction: Prediction): JsonObject {
  const [owner = "", name = ""] = prediction.model.split("/");
  return {
    id: prediction.id,
    model: { owner, name, version_number: prediction.version },
    created_at: renderTime(prediction.createTime),
    status: STATUS.get(prediction.status) ?? "pending",
    updated_at: renderTime(prediction.updateTime),
    setup_time: renderDuration(prediction.setupTime),
    execution_time: renderDuration(prediction.executionTime),
  };
}

function renderError({ status, error }: Prediction): JsonObject | null {
  if (status === PredictionStatus.CANCELED) return { source: "external", message: "canceled", detail: null };
  if (!error) return null;
  const source = error.source === PredictionError_Source.INTERNAL ? "internal" : "external";
  return { source, message: error.message, detail: { code: error.code } };
}

function renderPayload(
  json: JsonObject | undefined,
  key: "inputs" | "outputs",
  tensors: Readonly<Record<string, Tensor>>,
): JsonObject | null {
  const names = Object.keys(tensors);
  if (names.length === 0) return json ?? null;
  const rendered = Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [name, renderTensor(tensor)]),
  );
  return { ...json, [key]: rendered };
}

function renderTensor({ dtype, shape, data }: Tensor): JsonObject {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const elements = (width: number, read: (offset: number) => JsonValue): JsonValue[] =>
    Array.from({ length: Math.floor(data.byteLength / width) }, (_, i) => read(i * width));
  switch (dtype) {
    case DataType.FLOAT32:
      return { dtype: "float32", shape, data: elements(4, (at) => view.getFloat32(at, true)) };
    case DataType.INT32:
      return { dtype: "int32", shape, data: elements(4, (at) => view.getInt32(at, true)) };
    case DataType.BOOL:
      return { dtype: "bool", shape, data: elements(1, (at) => view.getUint8(at) !== 0) };
    default:
      return { dtype: "uint8", shape, data: elements(1, (at) => view.getUint8(at)) };
  }
}

/** Characters of `release_notes` at most (§1.6). */
const RELEASE_NOTES_MAX = 255;

export function renderVersionSummary(version: ModelVersion): JsonObject {
  return {
    number: version.version,
    release_notes: version.description.slice(0, RELEASE_NOTES_MAX),
    created_at: renderTime(version.createTime),
    // There is no container: the digest is the one of the version's files.
    container_image_digest: version.digest === "" ? null : `sha256:${version.digest}`,
  };
}

export function renderVersion(version: ModelVersion): JsonObject {
  const prediction = { input: version.inputSchema ?? {}, output: version.outputSchema ?? {} };
  return { ...renderVersionSummary(version), schemas: { prediction } };
}

/** What is known of a model in both forms, first and last part of the object. */
function modelParts(model: Model): { readonly head: JsonObject; readonly hardware: JsonObject } {
  const [owner = "", name = ""] = model.name.split("/");
  const latest = model.latestVersion;
  const gpu = latest?.runtime === "tfjs-node-gpu";
  return {
    head: {
      id: stableUuid("model", model.name),
      name,
      created_at: renderTime(model.createTime),
      visibility: owner === CATALOGUE_OWNER ? "public" : "private",
      description: model.description,
      updated_at: renderTime(latest?.createTime ?? model.createTime),
      owner: { id: stableUuid("user", owner), username: owner, avatar_url: null },
      predictions_count: Number(model.predictionsCount),
      categories: [],
    },
    hardware: gpu ? { identifier: "gpu", name: "GPU" } : { identifier: "cpu", name: "CPU" },
  };
}

export function renderModelSummary(model: Model): JsonObject {
  const { head, hardware } = modelParts(model);
  return { ...head, hardware };
}

export function renderModel(model: Model): JsonObject {
  const { head, hardware } = modelParts(model);
  const latest = model.latestVersion;
  return {
    ...head,
    overview: null,
    latest_version: latest ? renderVersion(latest) : null,
    hardware,
    source_url: latest && URL.canParse(latest.source) ? latest.source : null,
    license_url: null,
    paper_url: null,
  };
}
