/** From HTTP to our requests: bodies, headers, queries and paths, each complaint as FastAPI would make it. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { FastifyRequest } from "fastify";
import type { Model } from "../../../../gen/auspex/v1/model_pb.ts";
import {
  type CreatePredictionRequest,
  CreatePredictionRequestSchema,
  Webhook_Format,
  type WebhookSchema,
} from "../../../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../../domain/error.ts";
import { NAME_PART, parseModelRef } from "../../../domain/model.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { countJsonValues } from "../../json-values.ts";
import {
  Complaints,
  checkBoolean,
  checkDictionary,
  checkEnum,
  checkInteger,
  checkObject,
  checkString,
  checkUrl,
  checkUuid,
  member,
  missing,
} from "./checks.ts";
import { Refused } from "./errors.ts";
import { readJson } from "./json.ts";
import { preferredWait } from "./prefer.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true });
/** FastAPI's own sentence for a body that cannot be read at all. */
const UNREADABLE = "There was an error parsing the body";
const JSON_TYPE = /^application\/(?:[^;\s]+\+)?json\s*(?:;|$)/i;

/** A body as far as it can be read before anybody asks who sent it. */
export type Body = { readonly value: JsonValue } | undefined;

/** @throws Refused 422 `json_invalid`, 413 for too many values, 400 for bytes that are no text or nested too deep */
export function readBody(request: FastifyRequest, valuesMax: number): Body {
  const bytes = request.body;
  if (!(bytes instanceof Uint8Array) || bytes.length === 0) return undefined;
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    throw new Refused(400, `${UNREADABLE}: it is not valid UTF-8`);
  }
  if (countJsonValues(bytes) > valuesMax) {
    throw new Refused(413, `the body has more than ${valuesMax} JSON values`);
  }
  // Any other type is taken as a text, which then is not the object that is asked for.
  if (!JSON_TYPE.test(request.headers["content-type"] ?? "")) return { value: text };
  const reading = readJson(text);
  switch (reading.kind) {
    case "value":
      return reading;
    case "too_deep":
      throw new Refused(400, `${UNREADABLE}: it is nested too deep`);
    case "invalid": {
      const { offset, message } = reading;
      throw new Refused(422, [
        {
          type: "json_invalid",
          loc: ["body", offset],
          msg: "JSON decode error",
          input: {},
          ctx: { error: message },
        },
      ]);
    }
    default:
      return reading satisfies never;
  }
}

function params(request: FastifyRequest): Readonly<Record<string, string | undefined>> {
  return request.params as Record<string, string | undefined>;
}

export function queryOf(request: FastifyRequest): URLSearchParams {
  return new URLSearchParams(request.url.split("?", 2)[1] ?? "");
}

/** Of a repeated parameter the last one counts. */
export function lastOf(query: URLSearchParams, name: string): string | undefined {
  return query.getAll(name).at(-1);
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

/** `owner/name` of the path. A name that none can have is an unknown one. */
export function decodeModelName(request: FastifyRequest): string {
  const { model_owner = "", model_name = "" } = params(request);
  if (!NAME_PART.test(model_owner) || !NAME_PART.test(model_name)) throw unknownModel();
  return `${model_owner}/${model_name}`;
}

export function decodeOwner(request: FastifyRequest): string {
  const { model_owner = "" } = params(request);
  if (!NAME_PART.test(model_owner)) throw new AuspexError("not_found", "User not found");
  return model_owner;
}

const unknownModel = () => new AuspexError("not_found", "Model not found");

/** The version number of the path; undefined with a complaint. */
function checkNumber(complaints: Complaints, request: FastifyRequest): number | undefined {
  return checkInteger(complaints, ["path", "number"], params(request).number ?? "");
}

/** `owner/name:number`, which must be one that a version can have. */
function versionRef(model: string, number: number | undefined): string {
  if (number === undefined || !parseModelRef(`${model}:${number}`)) throw unknownModel();
  return `${model}:${number}`;
}

export function decodeVersion(request: FastifyRequest): { readonly model: string; readonly version: number } {
  const complaints = new Complaints();
  const version = checkNumber(complaints, request) ?? 0;
  complaints.settle();
  const model = decodeModelName(request);
  versionRef(model, version);
  return { model, version };
}

export function decodePredictionId(request: FastifyRequest): string {
  const complaints = new Complaints();
  const id = checkUuid(complaints, ["path", "prediction_id"], params(request).prediction_id ?? "");
  complaints.settle();
  return id ?? "";
}

/** Revisions are 32 bits wide. */
const REVISION_MAX = 2 ** 32 - 1;

export function decodeWatch(request: FastifyRequest): {
  readonly id: string;
  readonly afterRevision: number;
} {
  const complaints = new Complaints();
  const id = checkUuid(complaints, ["path", "prediction_id"], params(request).prediction_id ?? "");
  const last = header(request, "last-event-id") || "0";
  const range = { ge: 0, le: REVISION_MAX };
  const afterRevision = checkInteger(complaints, ["header", "last-event-id"], last, range);
  complaints.settle();
  return { id: id ?? "", afterRevision: afterRevision ?? 0 };
}

const predictionsCount = (model: Model) => Number(model.predictionsCount);
const createdAt = ({ createTime }: Model) =>
  createTime ? Number(createTime.seconds) * 1e6 + createTime.nanos / 1e3 : 0;

/** How a list of models is sorted, by name where the key is the same; newest first unless told. */
export function decodeModelOrder(
  complaints: Complaints,
  request: FastifyRequest,
): (a: Model, b: Model) => number {
  const query = queryOf(request);
  const by = lastOf(query, "sort_by") ?? "created_at";
  const sortBy = checkEnum(complaints, ["query", "sort_by"], by, ["created_at", "predictions_count"]);
  const direction = lastOf(query, "sort_direction") ?? "desc";
  const sign =
    checkEnum(complaints, ["query", "sort_direction"], direction, ["asc", "desc"]) === "asc" ? 1 : -1;
  const key = sortBy === "predictions_count" ? predictionsCount : createdAt;
  return (a, b) => sign * (key(a) - key(b)) || (a.name < b.name ? -1 : 1);
}

/** What a create route's path says of the model. */
export type Target = "body" | "latest" | "version";

const BAD_MODEL = "Identifier must be in either owner/name or owner/name:version-number format.";

function checkModel(complaints: Complaints, body: JsonObject): string | undefined {
  const value = member(body, "model");
  if (value === undefined) return missing(complaints, ["body", "model"], body);
  const text = checkString(complaints, ["body", "model"], value);
  if (text === undefined || parseModelRef(text)) return text;
  return complaints.add("value_error", ["body", "model"], `Value error, ${BAD_MODEL}`, text, { error: {} });
}

function checkWebhook(
  complaints: Complaints,
  value: JsonValue,
): MessageInitShape<typeof WebhookSchema> | undefined {
  const object = checkObject(complaints, ["body", "webhook"], value);
  if (!object) return undefined;
  const given = { url: member(object, "url"), secret: member(object, "secret") ?? null };
  const url =
    given.url === undefined
      ? missing(complaints, ["body", "webhook", "url"], object)
      : checkUrl(complaints, ["body", "webhook", "url"], given.url);
  const secret =
    given.secret === null ? "" : checkString(complaints, ["body", "webhook", "secret"], given.secret);
  return { url: url ?? "", secret: secret ?? "", format: Webhook_Format.WRIFTAI };
}

/**
 * @param waitMaxMs a longer `Prefer: wait` waits this long, as the contract's own cap works
 * @throws Refused 422 with everything that is wrong
 */
export function decodeCreate(
  request: FastifyRequest,
  body: Body,
  target: Target,
  waitMaxMs: number,
): CreatePredictionRequest {
  const complaints = new Complaints();
  const number = target === "version" ? checkNumber(complaints, request) : undefined;
  const validate = header(request, "validate-input");
  const validateInput =
    validate === undefined ? false : checkBoolean(complaints, ["header", "validate-input"], validate);
  const object = body ? checkObject(complaints, ["body"], body.value) : missing(complaints, ["body"], null);
  let model: string | undefined;
  let input: JsonObject | undefined;
  let webhook: MessageInitShape<typeof WebhookSchema> | undefined;
  if (object) {
    if (target === "body") model = checkModel(complaints, object);
    const given = member(object, "input");
    input =
      given === undefined
        ? missing(complaints, ["body", "input"], object)
        : checkDictionary(complaints, ["body", "input"], given);
    const hook = member(object, "webhook") ?? null;
    if (hook !== null) webhook = checkWebhook(complaints, hook);
  }
  complaints.settle();
  if (target !== "body") model = decodeModelName(request);
  if (target === "version") model = versionRef(model ?? "", number);
  return create(CreatePredictionRequestSchema, {
    model: model ?? "",
    ...(input && { input }),
    wait: durationFromMs(Math.min(preferredWait(header(request, "prefer") ?? "") * 1000, waitMaxMs)),
    requestId: header(request, "idempotency-key") ?? "",
    validateInput: validateInput ?? false,
    ...(webhook && { webhook }),
  });
}
