/** What is kept of an answer: the prediction's output, and the two messages of the chat. */
import type { ChatflowDefinition, ChatTurn, ScoredPassage } from "../../domain/chatflow.ts";
import type { JsonObject } from "../../domain/payload.ts";
import type { Prediction } from "../../domain/prediction.ts";
import { stableUuid } from "../stable-uuid.ts";
import type { Asked } from "./asked.ts";
import type { SeenPicture, TokenCount } from "./generator.ts";

const MEMORY_TYPE = "Buffer Window Memory";

/** As far as it has come. */
export interface MadeAnswer {
  readonly text: string;
  readonly sources: readonly ScoredPassage[];
  readonly pictures: readonly SeenPicture[];
  readonly usage: TokenCount | undefined;
  /** Why the language model stopped; undefined where it came to its end. */
  readonly stopReason: string | undefined;
}

export const NOTHING_SAID: MadeAnswer = {
  text: "",
  sources: [],
  pictures: [],
  usage: undefined,
  stopReason: undefined,
};

/** Derived, so that a second attempt writes no second message. */
export function answerMessageId(predictionId: string): string {
  return stableUuid("answer", predictionId);
}

/** The words are those of spec/studio.md, 2.3. */
export function outputOf(
  prediction: Prediction,
  asked: Asked,
  definition: ChatflowDefinition,
  { text, sources, pictures, usage, stopReason }: MadeAnswer,
): JsonObject {
  const { followUpPrompts } = definition;
  return {
    text,
    question: asked.question,
    chatId: asked.chatId,
    chatMessageId: answerMessageId(prediction.id),
    sessionId: asked.sessionId,
    ...(definition.memory && { memoryType: MEMORY_TYPE }),
    ...(sources.length > 0 && {
      sourceDocuments: sources.map(({ text: pageContent, metadata, score }) => ({
        pageContent,
        metadata,
        ...(score !== null && { score }),
      })),
    }),
    ...(pictures.length > 0 && {
      pictures: pictures.map(({ name, labels }) => ({ name, labels: [...labels] })),
    }),
    ...(followUpPrompts.length > 0 && { followUpPrompts: [...followUpPrompts] }),
    ...(usage && { usage: { promptTokens: usage.prompt, completionTokens: usage.completion } }),
    ...(stopReason !== undefined && { stopReason }),
  };
}

/**
 * @param definition undefined where the flow is gone
 * @param failure "" for a complete answer
 */
export function turnOf(
  prediction: Prediction,
  asked: Asked,
  definition: ChatflowDefinition | undefined,
  made: MadeAnswer,
  { failure, at }: { readonly failure: string; readonly at: number },
): ChatTurn {
  const common = {
    chatflowId: prediction.model.slice(prediction.model.indexOf("/") + 1),
    chatId: asked.chatId,
    sessionId: asked.sessionId,
    predictionId: prediction.id,
    leadEmail: asked.leadEmail,
    memoryType: definition?.memory ? MEMORY_TYPE : "",
  };
  return [
    {
      ...common,
      id: stableUuid("question", prediction.id),
      role: "user",
      content: asked.question,
      failure: "",
      sourceDocuments: [],
      uploads: asked.uploads.map(({ name, mediaType }) => ({ name, mediaType })),
      followUpPrompts: [],
      createdAt: prediction.createdAt,
    },
    {
      ...common,
      id: answerMessageId(prediction.id),
      role: "api",
      content: made.text,
      failure,
      sourceDocuments: made.sources.map(({ text, metadata, score }) => ({ text, metadata, score })),
      uploads: [],
      followUpPrompts: failure === "" ? (definition?.followUpPrompts ?? []) : [],
      createdAt: at,
    },
  ];
}
