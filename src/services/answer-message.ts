/** Questions out of requests, and answers out of predictions, as messages of the API. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type AnswerSchema,
  ChatRole,
  type ChatUpload,
  ChatUpload_Kind as Kind,
  type Question,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import type { Passage, SaidMessage } from "../domain/chatflow.ts";
import type { JsonObject, JsonValue } from "../domain/payload.ts";
import type { Prediction } from "../domain/prediction.ts";
import { passageMessage } from "./chat-record.ts";
import type { Complain } from "./check.ts";
import { type Asked, type AskedUpload, type FieldPath, kindOf, type UploadKind } from "./flow/asked.ts";

const FIELD = {
  question: "question.text",
  chatId: "question.chat_id",
  sessionId: "question.session_id",
  overrideConfig: "question.overrides",
  history: "question.history",
  uploads: "question.uploads",
  leadEmail: "question.lead_email",
} as const satisfies Record<keyof Asked, string>;

/** How a request's complaints name the fields of what is asked. */
export const questionPath: FieldPath = (field) => FIELD[field];

export function askedOfQuestion(question: Question, complain: Complain): Asked {
  const { text, chatId, sessionId, overrides, history, uploads, leadEmail } = question;
  return {
    question: text,
    chatId,
    sessionId,
    overrideConfig: overrides ?? {},
    history: history.flatMap(({ role, content }, index): SaidMessage[] => {
      if (role === ChatRole.USER) return [{ role: "user", content }];
      if (role === ChatRole.API) return [{ role: "api", content }];
      complain(`${FIELD.history}[${index}].role`, "required", "must be USER or API");
      return [];
    }),
    uploads: uploads.flatMap((upload, index) => uploaded(upload, `${FIELD.uploads}[${index}]`, complain)),
    leadEmail,
  };
}

const KIND: ReadonlyMap<Kind, UploadKind> = new Map<Kind, UploadKind>([
  [Kind.PICTURE, "picture"],
  [Kind.FULL, "full"],
  [Kind.RAG, "rag"],
]);

function uploaded(upload: ChatUpload, field: string, complain: Complain): AskedUpload[] {
  const { name, mediaType, source } = upload;
  const kind = upload.kind === Kind.UNSPECIFIED ? kindOf(name, mediaType) : KIND.get(upload.kind);
  if (!kind) complain(`${field}.kind`, "unknown", "is not a known kind");
  if (source.case === undefined) complain(field, "required", "must hold content or url");
  if (!kind || source.case === undefined) return [];
  const from =
    source.case === "url"
      ? ({ kind: "url", url: source.value } as const)
      : ({ kind: "bytes", bytes: source.value } as const);
  return [{ kind, name, mediaType, source: from }];
}

/** Of one that has succeeded. */
export function answerMessage({
  id,
  model,
  version,
  output,
}: Prediction): MessageInitShape<typeof AnswerSchema> {
  const json = output?.json ?? {};
  const text = (name: string) => (typeof json[name] === "string" ? json[name] : "");
  return {
    predictionId: id,
    chatflowId: model.slice(model.indexOf("/") + 1),
    version,
    chatId: text("chatId"),
    sessionId: text("sessionId"),
    messageId: text("chatMessageId"),
    question: text("question"),
    text: text("text"),
    sourceDocuments: sourcesOf(json).map(passageMessage),
    pictures: objects(json.pictures).map(({ name, labels }) => ({
      name: String(name),
      labels: strings(labels),
    })),
    memoryType: text("memoryType"),
    followUpPrompts: strings(json.followUpPrompts),
    usage: usageOf(json.usage),
  };
}

/** As the answer's prediction holds them. */
export function sourcesOf(output: JsonObject): readonly (Passage & { readonly score: number | null })[] {
  return objects(output.sourceDocuments).map(({ pageContent, metadata, score }) => ({
    text: typeof pageContent === "string" ? pageContent : "",
    metadata: isObject(metadata) ? metadata : {},
    score: typeof score === "number" ? score : null,
  }));
}

function usageOf(value: JsonValue | undefined) {
  if (!isObject(value)) return undefined;
  return { promptTokens: Number(value.promptTokens), completionTokens: Number(value.completionTokens) };
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function objects(value: JsonValue | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function strings(value: JsonValue | undefined): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}
