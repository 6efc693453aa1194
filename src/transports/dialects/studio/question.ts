/** From the fields of a prediction's body to a question (spec/studio.md §2.2). */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ChatRole,
  type HistoryMessageSchema,
  type QuestionSchema,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import type { Config } from "../../../config.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { type Fields, isObject, ofText } from "./body.ts";
import { Refused } from "./errors.ts";
import { readUploads, uploadOfFile } from "./upload.ts";

export interface Asked {
  readonly question: MessageInitShape<typeof QuestionSchema>;
  /** As it came, to be repeated in the answer; undefined for none. */
  readonly text: string | undefined;
  readonly streaming: boolean;
}

/**
 * What the body may say beside parameters of the flow. Those of agent flows (`action`, `humanInput`, `stopNodeId`) have
 * nothing here that they could be for; the last ones are of clients that repeat the path.
 */
const KNOWN: ReadonlySet<string> = new Set([
  ...[
    "question",
    "form",
    "streaming",
    "overrideConfig",
    "history",
    "uploads",
    "chatId",
    "sessionId",
    "leadEmail",
  ],
  ...["action", "humanInput", "stopNodeId", "chatflowId", "chatflowid"],
]);

/** Throws `Refused` 400. */
export function readQuestion({ values, files }: Fields, config: Config): Asked {
  const streaming = values.get("streaming");
  const form = ofText("form", values.get("form"), config);
  const text = textField(values, "question");
  const uploads = ofText("uploads", values.get("uploads"), config);
  // Of a form this field may also be "other override configurations", which are no list.
  const isList = typeof uploads !== "string";
  const overrides = readOverrides(values, config);
  const { sessionId, ...parameters } = overrides;
  return {
    question: {
      text: text ?? (isObject(form) ? linesOf(form) : ""),
      chatId: textField(values, "chatId") ?? "",
      sessionId: stringOf(sessionId, "sessionId") ?? textField(values, "sessionId") ?? "",
      overrides: normalize(parameters, config),
      history: readHistory(ofText("history", values.get("history"), config)),
      uploads: [...readUploads(isList ? uploads : undefined), ...files.map(uploadOfFile)],
      leadEmail: textField(values, "leadEmail") ?? "",
    },
    text,
    streaming: streaming === true || streaming === "true",
  };
}

/** A form in place of a question, as text: `name: value` by line. */
function linesOf(form: JsonObject): string {
  const show = (value: JsonValue) => (typeof value === "string" ? value : JSON.stringify(value));
  return Object.entries(form)
    .map(([name, value]) => `${name}: ${show(value)}`)
    .join("\n");
}

/** `overrideConfig`, and beside it whatever else is in the body. Throws `Refused` 400. */
export function readOverrides(values: Fields["values"], config: Config): JsonObject {
  const others = Object.fromEntries([...values].filter(([name]) => !KNOWN.has(name)));
  const given = ofText("overrideConfig", values.get("overrideConfig"), config);
  if (given === undefined || given === null || given === "") return others;
  if (!isObject(given)) throw new Refused(400, "overrideConfig: must be an object");
  return { ...others, ...given };
}

/** What parameters are called here, by what they are called there. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ["systemMessagePrompt", "systemPrompt"],
  ["systemMessage", "systemPrompt"],
  ["vars", "promptValues"],
]);
/** A form sends numbers as texts. */
const NUMBERS: ReadonlySet<string> = new Set(["topK", "minScore", "sentences", "temperature", "maxTokens"]);

function normalize(parameters: JsonObject, config: Config): JsonObject {
  return Object.fromEntries(
    Object.entries(parameters).flatMap(([name, value]): [string, JsonValue][] => {
      const own = ALIASES.get(name) ?? name;
      // Our own name counts before another's.
      if (own !== name && Object.hasOwn(parameters, own)) return [];
      if (own === "promptValues") return [[own, ofText(name, value, config) ?? null]];
      return [[own, NUMBERS.has(own) && typeof value === "string" ? numberOf(value) : value]];
    }),
  );
}

function numberOf(text: string): JsonValue {
  const number = Number(text);
  return text.trim() !== "" && Number.isFinite(number) ? number : text;
}

const ROLES: ReadonlyMap<JsonValue | undefined, ChatRole> = new Map([
  ["userMessage", ChatRole.USER],
  ["apiMessage", ChatRole.API],
]);

/** `{role, content}`, or `{type, message}` of older clients. */
function readHistory(value: JsonValue | undefined): MessageInitShape<typeof HistoryMessageSchema>[] {
  if (value === undefined || value === null || value === "") return [];
  if (!Array.isArray(value)) throw new Refused(400, "history: must be a list of {role, content}");
  return value.map((message, index) => {
    if (!isObject(message)) throw new Refused(400, `history[${index}]: must be {role, content}`);
    const role = ROLES.get(message.role ?? message.type);
    if (role === undefined)
      throw new Refused(400, `history[${index}].role: must be userMessage or apiMessage`);
    const content = message.content ?? message.message;
    if (typeof content !== "string") throw new Refused(400, `history[${index}].content: must be a string`);
    return { role, content };
  });
}

/** null is none. Throws `Refused` 400. */
export function textField(values: Fields["values"], name: string): string | undefined {
  return stringOf(values.get(name), name);
}

function stringOf(value: JsonValue | undefined, name: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new Refused(400, `Invalid ${name}: must be a string`);
  return value;
}
