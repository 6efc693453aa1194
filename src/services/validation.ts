/**
 * What a well-formed request is: one table, applied by the operations themselves, so that it holds on every
 * transport. A check adds complaints; a request is refused with all of them at once.
 *
 * Why not protovalidate in the proto: its `validate.proto` cannot be had offline without copying it, its rules
 * cannot see the server's settings, and the rules that matter most here (tensor sizes, JSON depth, references) are
 * code in either case.
 */
import type {
  GetImageRequest,
  ImportImageRequest,
  UploadImageRequest,
} from "../../gen/auspex/v1/image_pb.ts";
import type {
  DeleteModelAliasRequest,
  DeleteModelVersionRequest,
  GetModelRequest,
  GetModelVersionRequest,
  ListModelsRequest,
  ListModelVersionsRequest,
  PublishModelVersionRequest,
  SetModelAliasRequest,
} from "../../gen/auspex/v1/model_pb.ts";
import type {
  CancelPredictionRequest,
  CreatePredictionRequest,
  GetPredictionRequest,
  ListPredictionsRequest,
  WatchPredictionRequest,
} from "../../gen/auspex/v1/prediction_pb.ts";
import type { Tensor } from "../../gen/auspex/v1/tensor_pb.ts";
import { type FieldViolation, invalidArgument } from "../domain/error.ts";
import { NAME_PART, TASKS } from "../domain/model.ts";
import type { JsonValue } from "../domain/payload.ts";
import { DTYPES, elementCount } from "../domain/tensor.ts";
import { ACCOUNT_CHECKS } from "./account-checks.ts";
import { ANSWER_CHECKS } from "./answer-checks.ts";
import { CHATFLOW_CHECKS } from "./chatflow-checks.ts";
import {
  byId,
  type Check,
  type Complain,
  duration,
  type Limits,
  length,
  modelAlias,
  modelName,
  modelRef,
  PAGE_TOKEN_LENGTH_MAX,
  pageSize,
  plainJson,
  url,
  versionNumber,
} from "./check.ts";
import { DATASET_CHECKS } from "./dataset-checks.ts";
import { DOCUMENT_CHECKS } from "./document-checks.ts";
import { dtypeName, statusName, webhookFormatName } from "./message.ts";
import { TRAINING_CHECKS } from "./training-checks.ts";

export type { Limits } from "./check.ts";

/** A hand-held part of a request: more are a mistake, and each costs a look-up. */
const FILES_MAX = 16;
const TENSORS_MAX = 64;
const DIMENSIONS_MAX = 8;
const TASKS_MAX = 8;
const KEY_LENGTH_MAX = 256;
const REQUEST_ID_LENGTH_MAX = 255;
/** `owner/name:version` has 139 at most; this is for what resembles none. */
const MODEL_LENGTH_MAX = 256;
const SECRET_LENGTH_MAX = 256;
const DEADLINE_MAX_MS = 86_400_000;
const PUBLISHED_FILES_MAX = 256;

/**
 * Index of the first float32 (little-endian) that is not finite, or -1: those are all that have every bit of the exponent
 * set (IEEE 754). Read as bytes, for a view of floats would need an aligned start, and most have none.
 */
function firstNonFinite(data: Uint8Array): number {
  // A loop: a function for each element costs several times as much, and there may be millions.
  for (let i = 2; i < data.length; i += 4) {
    if (((data[i + 1] ?? 0) & 0x7f) === 0x7f && ((data[i] ?? 0) & 0x80) !== 0) return i >> 2;
  }
  return -1;
}

/** Answers the number of elements, 0 for a tensor with a complaint. */
function tensor(complain: Complain, field: string, { dtype, shape, data }: Tensor): number {
  const name = dtypeName(dtype);
  if (!name) {
    complain(`${field}.dtype`, "required", `must be one of ${Object.keys(DTYPES).join(", ")}`);
    return 0;
  }
  if (shape.length > DIMENSIONS_MAX) {
    complain(
      `${field}.shape`,
      "too_long",
      `has ${shape.length} dimensions; at most ${DIMENSIONS_MAX} are allowed`,
    );
    return 0;
  }
  const elements = elementCount(shape);
  const expected = elements * DTYPES[name].bytes;
  if (data.length !== expected) {
    complain(
      `${field}.data`,
      "size",
      `has ${data.length} bytes; ${name} of shape [${shape.join(", ")}] takes ${expected}`,
    );
    return 0;
  }
  if (name === "float32") {
    const index = firstNonFinite(data);
    if (index >= 0) complain(`${field}.data`, "not_finite", `element ${index} is NaN or infinite`);
  } else if (name === "bool") {
    const index = data.findIndex((value) => value > 1);
    if (index >= 0) complain(`${field}.data`, "format", `element ${index} is neither 0 nor 1`);
  }
  return elements;
}

/** Numbers in the lists `data` of JSON tensors, flat or nested, counted without recursion. */
function jsonElements(inputs: JsonValue | undefined): number {
  if (typeof inputs !== "object" || inputs === null || Array.isArray(inputs)) return 0;
  const lists: JsonValue[][] = [];
  for (const value of Object.values(inputs)) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
    if (Array.isArray(value.data)) lists.push(value.data);
  }
  let elements = 0;
  for (let list = lists.pop(); list !== undefined; list = lists.pop()) {
    for (const item of list) {
      if (Array.isArray(item)) lists.push(item);
      else elements++;
    }
  }
  return elements;
}

function create(request: CreatePredictionRequest, complain: Complain, limits: Limits): void {
  // Deferred, a name that no model can have is one that no model has.
  if (request.deferResolution) length(complain, "model", request.model, MODEL_LENGTH_MAX);
  else modelRef(complain, "model", request.model);
  if (request.input) plainJson(complain, "input", request.input, limits.MAX_JSON_DEPTH);
  const jsonCount = jsonElements(request.input?.inputs);
  if (jsonCount > limits.MAX_TENSOR_ELEMENTS) {
    complain(
      "input.inputs",
      "too_large",
      `have ${jsonCount} elements; at most ${limits.MAX_TENSOR_ELEMENTS} are allowed`,
    );
  }
  const files = Object.keys(request.files);
  if (files.length > FILES_MAX)
    complain("files", "too_many", `has ${files.length} entries; at most ${FILES_MAX} are allowed`);
  for (const key of files) length(complain, "files", key, KEY_LENGTH_MAX);
  const tensors = Object.entries(request.tensors);
  if (tensors.length > TENSORS_MAX) {
    complain("tensors", "too_many", `has ${tensors.length} entries; at most ${TENSORS_MAX} are allowed`);
  } else {
    let elements = 0;
    for (const [key, value] of tensors) {
      length(complain, "tensors", key, KEY_LENGTH_MAX);
      elements += tensor(complain, `tensors[${JSON.stringify(key.slice(0, KEY_LENGTH_MAX))}]`, value);
    }
    if (elements > limits.MAX_TENSOR_ELEMENTS) {
      complain(
        "tensors",
        "too_large",
        `have ${elements} elements; at most ${limits.MAX_TENSOR_ELEMENTS} are allowed`,
      );
    }
  }
  if (tensors.length > 0 && request.input && "inputs" in request.input) {
    complain("tensors", "conflict", "cannot be given together with input.inputs");
  }
  if (request.wait) duration(complain, "wait", request.wait, limits.WAIT_MAX, false);
  if (request.deadline) duration(complain, "deadline", request.deadline, DEADLINE_MAX_MS, true);
  length(complain, "request_id", request.requestId, REQUEST_ID_LENGTH_MAX);
  if (request.tasks.length > TASKS_MAX) {
    complain("tasks", "too_many", `has ${request.tasks.length} entries; at most ${TASKS_MAX} are allowed`);
  } else if (!request.tasks.every((task) => TASKS.some((known) => known === task))) {
    complain("tasks", "unknown", `must be of ${TASKS.join(", ")}`);
  }
  if (request.webhook) {
    url(complain, "webhook.url", request.webhook.url);
    length(complain, "webhook.secret", request.webhook.secret, SECRET_LENGTH_MAX);
    if (!webhookFormatName(request.webhook.format))
      complain("webhook.format", "unknown", "is not a known format");
  }
}

/** The table: a request's type name → its check. */
const CHECKS = {
  "auspex.v1.CreatePredictionRequest": create,
  "auspex.v1.GetPredictionRequest": byId as Check<GetPredictionRequest>,
  "auspex.v1.CancelPredictionRequest": byId as Check<CancelPredictionRequest>,
  "auspex.v1.WatchPredictionRequest": byId as Check<WatchPredictionRequest>,
  "auspex.v1.ListPredictionsRequest": ((request, complain) => {
    pageSize(complain, request.pageSize);
    length(complain, "page_token", request.pageToken, PAGE_TOKEN_LENGTH_MAX);
    if (request.model !== "") modelName(complain, "model", request.model);
    if (request.status !== 0 && !statusName(request.status))
      complain("status", "unknown", "is not a known status");
  }) as Check<ListPredictionsRequest>,
  "auspex.v1.ListModelsRequest": ((request, complain) => {
    pageSize(complain, request.pageSize);
    length(complain, "page_token", request.pageToken, PAGE_TOKEN_LENGTH_MAX);
    if (request.owner !== "" && !NAME_PART.test(request.owner))
      complain("owner", "format", "is not an owner name");
  }) as Check<ListModelsRequest>,
  "auspex.v1.GetModelRequest": ((request, complain) =>
    modelName(complain, "name", request.name)) as Check<GetModelRequest>,
  "auspex.v1.ListModelVersionsRequest": ((request, complain) =>
    modelName(complain, "model", request.model)) as Check<ListModelVersionsRequest>,
  "auspex.v1.GetModelVersionRequest": ((request, complain) => {
    modelName(complain, "model", request.model);
    versionNumber(complain, request.version);
  }) as Check<GetModelVersionRequest>,
  "auspex.v1.PublishModelVersionRequest": ((request, complain) => {
    modelName(complain, "model", request.model);
    const count = Object.keys(request.files).length;
    if (count === 0) complain("files", "required", "must hold auspex.json and the model's files");
    if (count > PUBLISHED_FILES_MAX) {
      complain("files", "too_many", `has ${count} entries; at most ${PUBLISHED_FILES_MAX} are allowed`);
    }
  }) as Check<PublishModelVersionRequest>,
  "auspex.v1.DeleteModelVersionRequest": ((request, complain) => {
    modelName(complain, "model", request.model);
    versionNumber(complain, request.version);
  }) as Check<DeleteModelVersionRequest>,
  "auspex.v1.SetModelAliasRequest": ((request, complain) => {
    modelAlias(complain, "alias", request.alias);
    modelRef(complain, "model", request.model);
  }) as Check<SetModelAliasRequest>,
  "auspex.v1.DeleteModelAliasRequest": ((request, complain) =>
    modelAlias(complain, "alias", request.alias)) as Check<DeleteModelAliasRequest>,
  "auspex.v1.UploadImageRequest": ((request, complain) => {
    if (request.data.length === 0) complain("data", "required", "must hold the bytes of a picture");
  }) as Check<UploadImageRequest>,
  "auspex.v1.ImportImageRequest": ((request, complain) =>
    url(complain, "url", request.url)) as Check<ImportImageRequest>,
  "auspex.v1.GetImageRequest": byId as Check<GetImageRequest>,
  ...DATASET_CHECKS,
  ...TRAINING_CHECKS,
  ...ACCOUNT_CHECKS,
  ...CHATFLOW_CHECKS,
  ...DOCUMENT_CHECKS,
  ...ANSWER_CHECKS,
};

type Checked = Parameters<(typeof CHECKS)[keyof typeof CHECKS]>[0];

/**
 * @param more what the request cannot be checked for by itself
 * @throws AuspexError `invalid_argument` with every complaint
 */
export function validate(request: Checked, limits: Limits, more?: (complain: Complain) => void): void {
  const violations: FieldViolation[] = [];
  const complain: Complain = (field, reason, description) => violations.push({ field, reason, description });
  // The type name chooses the check that was declared for exactly that type.
  const check = CHECKS[request.$typeName] as Check<Checked>;
  check(request, complain, limits);
  more?.(complain);
  const [first, ...rest] = violations;
  if (first) throw invalidArgument(first, ...rest);
}
