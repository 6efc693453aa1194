/**
 * A flow in this API's shape. There, a flow is drawn: `flowData` is a JSON text of nodes and edges. Ours are declared,
 * so the text holds the declaration beside them: `{"nodes": [], "edges": [], "definition": {…}}`, where `definition`
 * is the JSON of `auspex.v1.ChatflowDefinition`. What this API has fields of its own for is there instead:
 *
 * | field | of the definition |
 * |---|---|
 * | `isPublic` | `public` |
 * | `chatbotConfig` (a JSON text) | `chatbot`; `allowedOrigins`; `allowedOriginsError` is `originRefusal` |
 * | `apiConfig` (a JSON text) `.rateLimit` `{status, limitMax, limitDuration, limitMsg}` | `rateLimit`; seconds |
 * | `apiConfig.overrideConfig` `{status, parameters}` | `overridable` |
 */
import { fromJson, toJson } from "@bufbuild/protobuf";
import {
  type Chatflow,
  type ChatflowDefinition,
  ChatflowDefinitionSchema,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import type { Config } from "../../../config.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { durationMs } from "../../../services/check.ts";
import { isObject, ofText } from "./body.ts";
import { Refused } from "./errors.ts";
import { present, renderDate } from "./render.ts";

export function renderChatflow(flow: Chatflow): JsonObject {
  const definition = present(flow.definition);
  const { chatbot = {}, allowedOrigins, originRefusal } = definition;
  const config: JsonObject = {
    ...chatbot,
    ...(allowedOrigins.length > 0 && { allowedOrigins: [...allowedOrigins] }),
    ...(originRefusal !== "" && { allowedOriginsError: originRefusal }),
  };
  return {
    id: flow.id,
    name: flow.name,
    flowData: JSON.stringify({ nodes: [], edges: [], definition: declaredPart(definition) }),
    deployed: true,
    isPublic: definition.public,
    apikeyid: flow.keys[0]?.id ?? null,
    chatbotConfig: Object.keys(config).length > 0 ? JSON.stringify(config) : null,
    apiConfig: renderApiConfig(definition),
    category: null,
    type: "CHATFLOW",
    createdDate: renderDate(flow.createTime),
    updatedDate: renderDate(flow.updateTime),
  };
}

function declaredPart(definition: ChatflowDefinition): JsonValue {
  const whole = toJson(ChatflowDefinitionSchema, definition) as JsonObject;
  const elsewhere = new Set([
    "public",
    "chatbot",
    "allowedOrigins",
    "originRefusal",
    "rateLimit",
    "overridable",
  ]);
  return Object.fromEntries(Object.entries(whole).filter(([name]) => !elsewhere.has(name)));
}

function renderApiConfig({ rateLimit, overridable }: ChatflowDefinition): string | null {
  const config: JsonObject = {
    ...(rateLimit && {
      rateLimit: {
        status: true,
        limitMax: rateLimit.questions,
        limitDuration: durationMs(present(rateLimit.period)) / 1000,
        limitMsg: rateLimit.refusal,
      },
    }),
    ...(overridable.length > 0 && { overrideConfig: { status: true, parameters: [...overridable] } }),
  };
  return Object.keys(config).length > 0 ? JSON.stringify(config) : null;
}

/**
 * The definition that a body asks for; what it leaves out is as in `current`.
 *
 * @param current undefined for a new flow
 * @returns undefined when the body says nothing of it
 * @throws Refused 400
 */
export function readDefinition(
  body: JsonObject,
  config: Config,
  current: ChatflowDefinition | undefined,
): ChatflowDefinition | undefined {
  const [flowData, chatbotConfig, apiConfig] = ["flowData", "chatbotConfig", "apiConfig"].map((name) =>
    objectField(body, name, config),
  );
  const { isPublic } = body;
  if (isPublic !== undefined && isPublic !== null && typeof isPublic !== "boolean") {
    throw new Refused(400, "isPublic: must be true or false");
  }
  if (flowData === undefined && current === undefined)
    throw new Refused(400, `flowData: is required. ${SERVED}`);
  const isSilent = [flowData, chatbotConfig, apiConfig].every((part) => part === undefined);
  if (isSilent && typeof isPublic !== "boolean") return undefined;

  const declared = flowData === undefined ? undefined : definitionIn(flowData);
  const before = current && (toJson(ChatflowDefinitionSchema, current) as JsonObject);
  const json: JsonObject = {
    ...(declared ? { ...fieldsElsewhere(before), ...declared } : before),
    ...(typeof isPublic === "boolean" && { public: isPublic }),
    ...(chatbotConfig !== undefined && chatbotPart(chatbotConfig)),
    ...(apiConfig !== undefined && apiPart(apiConfig)),
  };
  try {
    return fromJson(ChatflowDefinitionSchema, json);
  } catch (error) {
    throw new Refused(400, `flowData.definition: ${messageOf(error)}`, {}, error);
  }
}

/** What a new declaration leaves as it was, for it stands outside of `flowData`. */
function fieldsElsewhere(before: JsonObject | undefined): JsonObject {
  const {
    public: isPublic = false,
    chatbot,
    allowedOrigins,
    originRefusal,
    rateLimit,
    overridable,
  } = before ?? {};
  const kept = { chatbot, allowedOrigins, originRefusal, rateLimit, overridable };
  const given = Object.entries(kept).filter((entry): entry is [string, JsonValue] => entry[1] !== undefined);
  return { public: isPublic, ...Object.fromEntries(given) };
}

const SERVED =
  'It is a JSON text {"nodes": [], "edges": [], "definition": {…}}, where definition declares the flow as ' +
  "auspex.v1.ChatflowDefinition does: memory, retriever, picture, and extractive or openai. Flows that are drawn of " +
  "nodes are not run";

function definitionIn(flowData: JsonObject): JsonObject {
  if (!isObject(flowData.definition)) throw new Refused(400, `flowData: has no definition. ${SERVED}`);
  return flowData.definition;
}

function chatbotPart({ allowedOrigins, allowedOriginsError, ...chatbot }: JsonObject): JsonObject {
  // Editors keep a row for an origin that is yet to be filled in.
  const origins = Array.isArray(allowedOrigins)
    ? allowedOrigins.filter((origin) => origin !== "")
    : (allowedOrigins ?? []);
  return { chatbot, allowedOrigins: origins, originRefusal: allowedOriginsError ?? "" };
}

function apiPart({ rateLimit, overrideConfig }: JsonObject): JsonObject {
  const limit = isObject(rateLimit) && isOn(rateLimit.status) ? rateLimit : undefined;
  return {
    rateLimit: limit
      ? {
          questions: limit.limitMax ?? 0,
          period: `${String(limit.limitDuration ?? 0)}s`,
          refusal: limit.limitMsg ?? "",
        }
      : null,
    ...overridablePart(overrideConfig),
  };
}

/** Switched on without saying for what, it stays as it was. */
function overridablePart(config: JsonValue | undefined): JsonObject {
  if (!isObject(config) || !isOn(config.status)) return { overridable: [] };
  return config.parameters === undefined ? {} : { overridable: config.parameters };
}

/** A limit without a status is meant. */
function isOn(status: JsonValue | undefined): boolean {
  return status !== false && status !== "false" && status !== null;
}

/** An object, or a JSON text of one; undefined for none. Throws `Refused` 400. */
function objectField(body: JsonObject, name: string, config: Config): JsonObject | undefined {
  const value = ofText(name, body[name], config);
  if (value === undefined || value === null || value === "") return undefined;
  if (!isObject(value)) throw new Refused(400, `${name}: must be a JSON object as a string`);
  return value;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
