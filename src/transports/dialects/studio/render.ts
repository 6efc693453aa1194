/** Answers in this API's words (spec/studio.md §2.3, §2.7). */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type {
  Answer,
  ChatMessage,
  Lead,
  Passage,
  PictureLabels,
  Rating,
  UpsertResult,
} from "../../../../gen/auspex/v1/chatflow_pb.ts";
import { ChatRole, RatingValue } from "../../../../gen/auspex/v1/chatflow_pb.ts";
import { AuspexError } from "../../../domain/error.ts";
import type { JsonObject } from "../../../domain/payload.ts";

/** What an operation always fills in, though the generated type cannot say so. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new AuspexError("internal", "an operation answered without its result");
  return value;
}

/** ISO 8601 with milliseconds. */
export function renderDate(time: Timestamp | undefined): string {
  return timestampDate(present(time)).toISOString();
}

/**
 * @param question as it came; undefined for none
 */
export function renderAnswer(answer: Answer, question: string | undefined): JsonObject {
  const { text, chatId, messageId, sessionId, memoryType, sourceDocuments, pictures, followUpPrompts } =
    answer;
  return {
    text,
    ...(question !== undefined && { question }),
    chatId,
    chatMessageId: messageId,
    // Answered in one piece: it says whether the answer comes as a stream, not whether it could have.
    isStreamValid: false,
    sessionId,
    ...(memoryType !== "" && { memoryType }),
    ...(sourceDocuments.length > 0 && { sourceDocuments: sourceDocuments.map(renderPassage) }),
    ...(pictures.length > 0 && { usedTools: pictures.map(renderPicture) }),
    ...(followUpPrompts.length > 0 && { followUpPrompts: JSON.stringify(followUpPrompts) }),
  };
}

export function renderPassage({ text, metadata }: Passage): JsonObject {
  return { pageContent: text, metadata: metadata ?? {} };
}

/** The picture step, as the tool that it is: what it looked at, and the labels that it saw. */
export function renderPicture({ name, labels }: PictureLabels): JsonObject {
  return { tool: "picture", toolInput: { name }, toolOutput: labels.join(", ") };
}

export function renderMessage(message: ChatMessage, withFeedback: boolean): JsonObject {
  const { id, chatflowId, role, content, chatId, sessionId, memoryType, leadEmail, rating } = message;
  return {
    id,
    role: role === ChatRole.USER ? "userMessage" : "apiMessage",
    chatflowid: chatflowId,
    content,
    sourceDocuments: orNull(message.sourceDocuments.map(renderPassage)),
    usedTools: null,
    fileAnnotations: null,
    agentReasoning: null,
    fileUploads: orNull(message.uploads.map(({ name, mediaType }) => ({ name, mime: mediaType }))),
    artifacts: null,
    action: null,
    chatType: "EXTERNAL",
    chatId,
    memoryType: memoryType || null,
    sessionId,
    createdDate: renderDate(message.createTime),
    leadEmail: leadEmail || null,
    followUpPrompts: orNull([...message.followUpPrompts]),
    executionId: null,
    ...(message.failure !== "" && { error: message.failure }),
    ...(withFeedback && { feedback: rating ? renderRating(rating, chatflowId) : null }),
  };
}

function orNull<T>(list: T[]): T[] | null {
  return list.length > 0 ? list : null;
}

/** A rating's id here says of which flow's it is: whoever changes one later names nothing else. */
export function renderRating(
  { id, messageId, chatId, value, comment, createTime }: Rating,
  chatflowId: string,
): JsonObject {
  return {
    id: `${chatflowId}.${id}`,
    chatflowid: chatflowId,
    chatId,
    messageId,
    rating: value === RatingValue.THUMBS_UP ? "THUMBS_UP" : "THUMBS_DOWN",
    content: comment,
    createdDate: renderDate(createTime),
  };
}

export function renderLead({ id, chatflowId, chatId, name, email, phone, createTime }: Lead): JsonObject {
  return { id, chatflowid: chatflowId, chatId, name, email, phone, createdDate: renderDate(createTime) };
}

export function renderUpsert({ added, deleted, updated, skipped, addedDocuments }: UpsertResult): JsonObject {
  return {
    numAdded: added,
    numDeleted: deleted,
    numUpdated: updated,
    numSkipped: skipped,
    addedDocs: addedDocuments.map(renderPassage),
  };
}
