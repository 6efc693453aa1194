/** What is kept of chats (messages, ratings, leads, upserts) as messages of the API. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ChatMessageSchema,
  ChatRole as ChatRoleValue,
  type LeadSchema,
  type PassageSchema,
  type RatingSchema,
  RatingValue,
  type UpsertResultSchema,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import type {
  ChatMessage,
  ChatRole,
  Lead,
  Passage,
  Rating,
  Upsert,
  RatingValue as Value,
} from "../domain/chatflow.ts";
import { timeMessage } from "./message.ts";

const ROLE = { user: ChatRoleValue.USER, api: ChatRoleValue.API } as const satisfies Record<
  ChatRole,
  ChatRoleValue
>;

const RATING = {
  up: RatingValue.THUMBS_UP,
  down: RatingValue.THUMBS_DOWN,
} as const satisfies Record<Value, RatingValue>;

/** undefined for none and for a value that this version of the API does not know. */
export function ratingName(value: RatingValue): Value | undefined {
  if (value === RatingValue.THUMBS_UP) return "up";
  return value === RatingValue.THUMBS_DOWN ? "down" : undefined;
}

/** @param passage with its cosine, where it was compared */
export function passageMessage({
  text,
  metadata,
  score,
}: Passage & { readonly score?: number | null }): MessageInitShape<typeof PassageSchema> {
  return { text, metadata, score: score ?? undefined };
}

export function chatMessageMessage(
  message: ChatMessage,
  rating: Rating | undefined,
): MessageInitShape<typeof ChatMessageSchema> {
  return {
    id: message.id,
    chatflowId: message.chatflowId,
    role: ROLE[message.role],
    content: message.content,
    chatId: message.chatId,
    sessionId: message.sessionId,
    predictionId: message.predictionId,
    failure: message.failure,
    sourceDocuments: message.sourceDocuments.map(passageMessage),
    uploads: message.uploads.map(({ name, mediaType }) => ({ name, mediaType })),
    leadEmail: message.leadEmail,
    memoryType: message.memoryType,
    followUpPrompts: [...message.followUpPrompts],
    rating: rating && ratingMessage(rating),
    createTime: timeMessage(message.createdAt),
  };
}

export function ratingMessage(rating: Rating): MessageInitShape<typeof RatingSchema> {
  const { id, messageId, chatId, value, comment, createdAt } = rating;
  return { id, messageId, chatId, value: RATING[value], comment, createTime: timeMessage(createdAt) };
}

export function leadMessage(lead: Lead): MessageInitShape<typeof LeadSchema> {
  const { id, chatflowId, chatId, name, email, phone, createdAt } = lead;
  return { id, chatflowId, chatId, name, email, phone, createTime: timeMessage(createdAt) };
}

export function upsertMessage(upsert: Upsert): MessageInitShape<typeof UpsertResultSchema> {
  const { id, added, deleted, skipped, addedPassages, createdAt } = upsert;
  const addedDocuments = addedPassages.map(passageMessage);
  return { id, added, deleted, skipped, addedDocuments, createTime: timeMessage(createdAt) };
}
