/**
 * What is asked, in which chat: from a request, or from the input of a prediction of `chatflow/<id>`, into one form;
 * and that form as the JSON input that the prediction's row holds, where uploads are image ids and URLs.
 */
import type { ChatflowDefinition, ChatRole, SaidMessage } from "../../domain/chatflow.ts";
import { parseUuid } from "../../domain/id.ts";
import type { JsonObject, JsonValue } from "../../domain/payload.ts";
import { type Complain, length, url } from "../check.ts";
import { parsePictureReference } from "../picture-source.ts";
import { readOverrides } from "./overrides.ts";

export type UploadKind = "picture" | "full" | "rag";

export type UploadSource =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "url"; readonly url: string }
  /** Bytes that are stored already. */
  | { readonly kind: "image"; readonly id: string };

export interface AskedUpload {
  readonly kind: UploadKind;
  /** File name. */
  readonly name: string;
  /** "" for what the name says. */
  readonly mediaType: string;
  readonly source: UploadSource;
}

export interface Asked {
  readonly question: string;
  readonly chatId: string;
  readonly sessionId: string;
  readonly overrideConfig: JsonObject;
  readonly history: readonly SaidMessage[];
  readonly uploads: readonly AskedUpload[];
  readonly leadEmail: string;
}

const QUESTION_LENGTH_MAX = 32_768;
export const CHAT_ID_LENGTH_MAX = 255;
const HISTORY_MAX = 100;
/** Characters of a history, all messages together: what the widest language models read at once. */
const HISTORY_LENGTH_MAX = 400_000;
const UPLOADS_MAX = 16;
const NAME_LENGTH_MAX = 255;
const MEDIA_TYPE_LENGTH_MAX = 255;
/** The longest address that mail allows. */
const LEAD_EMAIL_LENGTH_MAX = 320;

/** Paths of the fields, as the request at hand calls them. */
export type FieldPath = (field: keyof Asked) => string;

/** Complaints about everything but the overrides, which need the flow. */
export function checkAsked(asked: Asked, path: FieldPath, complain: Complain): void {
  length(complain, path("question"), asked.question, QUESTION_LENGTH_MAX);
  length(complain, path("chatId"), asked.chatId, CHAT_ID_LENGTH_MAX);
  length(complain, path("sessionId"), asked.sessionId, CHAT_ID_LENGTH_MAX);
  length(complain, path("leadEmail"), asked.leadEmail, LEAD_EMAIL_LENGTH_MAX);
  if (asked.question.trim() === "" && asked.uploads.length === 0)
    complain(path("question"), "required", "is required where nothing is uploaded");
  const { history, uploads } = asked;
  if (history.length > HISTORY_MAX) {
    complain(
      path("history"),
      "too_many",
      `has ${history.length} messages; at most ${HISTORY_MAX} are allowed`,
    );
  } else {
    const characters = history.reduce((sum, { content }) => sum + content.length, 0);
    if (characters > HISTORY_LENGTH_MAX) {
      const description = `has ${characters} characters; at most ${HISTORY_LENGTH_MAX} are allowed`;
      complain(path("history"), "too_long", description);
    }
  }
  if (uploads.length > UPLOADS_MAX) {
    complain(
      path("uploads"),
      "too_many",
      `has ${uploads.length} entries; at most ${UPLOADS_MAX} are allowed`,
    );
  } else {
    for (const [index, upload] of uploads.entries())
      checkUpload(upload, `${path("uploads")}[${index}]`, complain);
  }
}

function checkUpload({ name, mediaType, source }: AskedUpload, field: string, complain: Complain): void {
  if (name === "") complain(`${field}.name`, "required", "is required");
  else if (!isFileName(name))
    complain(
      `${field}.name`,
      "format",
      `must be a file name of at most ${NAME_LENGTH_MAX} characters, without a path`,
    );
  length(complain, `${field}.media_type`, mediaType, MEDIA_TYPE_LENGTH_MAX);
  if (source.kind === "url") url(complain, `${field}.url`, source.url);
  else if (source.kind === "bytes" && source.bytes.length === 0)
    complain(`${field}.content`, "required", "must hold the bytes of a file");
}

function isFileName(name: string): boolean {
  return name.length <= NAME_LENGTH_MAX && !/[/\\\p{Cc}]/u.test(name) && name !== "." && name !== "..";
}

/** Complaints about what this flow does not take. */
export function checkForFlow(
  asked: Asked,
  definition: ChatflowDefinition,
  path: FieldPath,
  complain: Complain,
): void {
  readOverrides(asked.overrideConfig, definition.overridable, path("overrideConfig"), complain);
  const session = asked.overrideConfig.sessionId;
  if (session !== undefined && session !== null && typeof session !== "string")
    complain(`${path("overrideConfig")}.sessionId`, "format", "must be a string");
  else length(complain, `${path("overrideConfig")}.sessionId`, session ?? "", CHAT_ID_LENGTH_MAX);
  for (const [index, { kind }] of asked.uploads.entries()) {
    const field = `${path("uploads")}[${index}]`;
    if (kind === "picture" && !definition.picture)
      complain(field, "unsupported", "is a picture, and this flow has no picture step");
    if (kind === "rag" && !definition.retriever)
      complain(field, "unsupported", "is for the retriever, and this flow has none");
  }
}

/** With the chat and the session that it is in. */
export function placed(asked: Asked, mintId: () => string): Asked {
  const named = asked.overrideConfig.sessionId;
  const session = asked.sessionId || (typeof named === "string" ? named : "");
  const chatId = asked.chatId || session || mintId();
  return { ...asked, chatId, sessionId: session || chatId };
}

const PICTURE_EXTENSION = /\.(?:png|jpe?g|gif|webp)$/i;

/** What is done with an upload that does not say. */
export function kindOf(name: string, mediaType: string): UploadKind {
  const isPicture = mediaType === "" ? PICTURE_EXTENSION.test(name) : mediaType.startsWith("image/");
  return isPicture ? "picture" : "full";
}

// ---- the input of a prediction ---------------------------------------------------------------------------------

const ROLES = { userMessage: "user", apiMessage: "api" } as const satisfies Record<string, ChatRole>;
const ROLE_NAME = { user: "userMessage", api: "apiMessage" } as const satisfies Record<ChatRole, string>;
const TYPES = { full: "file:full", rag: "file:rag" } as const;

/** As the row holds it. Every upload's bytes are stored by now. */
export function inputOf(asked: Asked): JsonObject {
  const { history, uploads, overrideConfig, leadEmail } = asked;
  return {
    question: asked.question,
    chatId: asked.chatId,
    sessionId: asked.sessionId,
    ...(Object.keys(overrideConfig).length > 0 && { overrideConfig }),
    ...(history.length > 0 && {
      history: history.map(({ role, content }) => ({ role: ROLE_NAME[role], content })),
    }),
    ...(uploads.length > 0 && { uploads: uploads.map(uploadJson) }),
    ...(leadEmail !== "" && { leadEmail }),
  };
}

function uploadJson({ kind, name, mediaType, source }: AskedUpload): JsonObject {
  const data = source.kind === "url" ? source.url : source.kind === "image" ? source.id : "";
  const type = kind === "picture" ? (source.kind === "url" ? "url" : "file") : TYPES[kind];
  return { type, name, mime: mediaType, data };
}

/** Reads the input of a prediction of a flow; complaints name fields as `input.…`. */
export function askedOfInput(input: JsonObject, complain: Complain): Asked {
  const text = (name: string): string => {
    const value = input[name] ?? "";
    if (typeof value === "string") return value;
    complain(`input.${name}`, "format", "must be a string");
    return "";
  };
  const list = (name: string): readonly JsonValue[] => {
    const value = input[name] ?? [];
    if (Array.isArray(value)) return value;
    complain(`input.${name}`, "format", "must be an array");
    return [];
  };
  const overrideConfig = input.overrideConfig ?? {};
  if (!isObject(overrideConfig)) complain("input.overrideConfig", "format", "must be an object");
  for (const name of Object.keys(input)) {
    if (!INPUTS.has(name)) complain(`input.${name.slice(0, 64)}`, "unknown", "is not an input of a chatflow");
  }
  return {
    question: text("question"),
    chatId: text("chatId"),
    sessionId: text("sessionId"),
    overrideConfig: isObject(overrideConfig) ? overrideConfig : {},
    history: list("history").flatMap((each, index) => message(each, `input.history[${index}]`, complain)),
    uploads: list("uploads").flatMap((each, index) => upload(each, `input.uploads[${index}]`, complain)),
    leadEmail: text("leadEmail"),
  };
}

const INPUTS: ReadonlySet<string> = new Set<keyof Asked>([
  "question",
  "chatId",
  "sessionId",
  "overrideConfig",
  "history",
  "uploads",
  "leadEmail",
]);

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function message(value: JsonValue, field: string, complain: Complain): SaidMessage[] {
  const { role, content } = isObject(value) ? value : {};
  const known = Object.entries(ROLES).find(([name]) => name === role)?.[1];
  if (known && typeof content === "string") return [{ role: known, content }];
  complain(field, "format", "must be {role: userMessage or apiMessage, content: string}");
  return [];
}

function upload(value: JsonValue, field: string, complain: Complain): AskedUpload[] {
  const { type, name = "", mime = "", data } = isObject(value) ? value : {};
  if (typeof name !== "string" || typeof mime !== "string" || typeof data !== "string") {
    complain(field, "format", "must be {type, name, mime, data}, all of them strings");
    return [];
  }
  const kind = uploadKind(type, name, mime);
  if (!kind) {
    complain(`${field}.type`, "unsupported", "must be file, url, file:full or file:rag");
    return [];
  }
  const source = uploadSource(data);
  if (typeof source !== "string") return [{ kind, name, mediaType: mime, source }];
  complain(`${field}.data`, "format", source);
  return [];
}

function uploadKind(type: JsonValue | undefined, name: string, mime: string): UploadKind | undefined {
  switch (type) {
    case "file":
    case "url":
      return kindOf(name, mime);
    case "file:full":
      return "full";
    case "file:rag":
      return "rag";
    default:
      return undefined;
  }
}

/** A string says what is wrong. */
function uploadSource(data: string): UploadSource | string {
  const reference = parsePictureReference(data);
  switch (reference.kind) {
    case "bytes":
      return { kind: "bytes", bytes: reference.bytes };
    case "url":
      return { kind: "url", url: reference.url };
    case "image":
      return { kind: "image", id: parseUuid(reference.id) ?? reference.id };
    case "invalid":
      return reference.reason;
    default:
      return reference satisfies never;
  }
}
