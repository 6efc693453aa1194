/**
 * A chatflow: a declared pipeline of memory, retriever, picture step and generator that answers questions. Each change
 * of it is a new version; an answer is a prediction of the model `chatflow/<id>`. Times are microseconds since the
 * Unix epoch.
 */
import type { JsonObject } from "./payload.ts";

export const RETRIEVER_MODEL_DEFAULT = "auspex/minilm";

/** What a definition means where it says nothing. */
export const CHATFLOW_DEFAULTS = {
  /** Messages of memory. */
  window: 10,
  /** Passages. */
  topK: 4,
  /** Characters of a passage; a tenth of it is shared with the next one. */
  chunkSize: 1000,
  /** Of a picture. */
  labels: 3,
  sentences: 3,
  maxTokens: 1024,
  timeoutMs: 60_000,
  idleTimeoutMs: 15_000,
  retries: 2,
} as const;

export type RetrievalMode = "hybrid" | "vector" | "keyword";

/** Complete: defaults are filled in when a definition is accepted. */
export interface ChatflowDefinition {
  readonly memory: MemoryDefinition | null;
  readonly retriever: RetrieverDefinition | null;
  readonly picture: PictureStepDefinition | null;
  readonly generator: GeneratorDefinition;
  readonly overridable: readonly Overridable[];
  /** For chat windows, as it came. */
  readonly chatbot: JsonObject;
  readonly public: boolean;
  /** [] for those of the server's CORS_ORIGINS. */
  readonly allowedOrigins: readonly string[];
  /** "" for a text of ours, as in every text below. */
  readonly originRefusal: string;
  readonly rateLimit: ChatRateLimit | null;
  readonly followUpPrompts: readonly string[];
}

export interface MemoryDefinition {
  /** Messages. */
  readonly window: number;
}

export interface RetrieverDefinition {
  /** `owner/name` */
  readonly model: string;
  readonly mode: RetrievalMode;
  readonly topK: number;
  /** Least cosine; null for the default threshold. */
  readonly minScore: number | null;
  /** Characters. */
  readonly chunkSize: number;
  readonly chunkOverlap: number;
  readonly returnSources: boolean;
}

export interface PictureStepDefinition {
  /** `owner/name` */
  readonly model: string;
  readonly topK: number;
}

export type GeneratorDefinition =
  | { readonly kind: "extractive"; readonly sentences: number; readonly noMatch: string }
  | {
      readonly kind: "openai";
      readonly baseUrl: string;
      readonly model: string;
      /** "" for no key. */
      readonly apiKeyEnv: string;
      readonly systemPrompt: string;
      /** null for the endpoint's default. */
      readonly temperature: number | null;
      readonly maxTokens: number;
      readonly timeoutMs: number;
      readonly idleTimeoutMs: number;
      readonly retries: number;
    };

export interface ChatRateLimit {
  readonly questions: number;
  readonly periodMs: number;
  readonly refusal: string;
}

/** What a question may override where its flow allows it. */
export const OVERRIDABLE = [
  "systemPrompt",
  "topK",
  "minScore",
  "sentences",
  "temperature",
  "maxTokens",
  "promptValues",
] as const;
export type Overridable = (typeof OVERRIDABLE)[number];

export interface Chatflow {
  /** UUIDv7, or the name of the file that it is loaded from. */
  readonly id: string;
  readonly principal: string;
  readonly name: string;
  readonly version: number;
  readonly definition: ChatflowDefinition;
  /** Oldest first. */
  readonly keys: readonly ChatflowKey[];
  readonly fromFile: boolean;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface ChatflowKey {
  readonly id: string;
  readonly name: string;
  readonly createdAt: number;
}

export type ChatRole = "user" | "api";

/** A message as a generator is told of it. */
export interface SaidMessage {
  readonly role: ChatRole;
  readonly content: string;
}

/** What one chat may hold of files: more is an archive, and anybody who may ask may fill it. */
export const CHAT_FILES = { count: 100, bytes: 100 * 1024 ** 2 } as const;

export interface ChatFileRef {
  readonly name: string;
  readonly mediaType: string;
}

/** A piece of a document. */
export interface Passage {
  readonly text: string;
  /** `source` is the document's name. */
  readonly metadata: JsonObject;
}

export interface ScoredPassage extends Passage {
  /** The row's number. */
  readonly id: number;
  /** Cosine; null where it was not compared. */
  readonly score: number | null;
}

export interface ChatMessage {
  /** UUID. */
  readonly id: string;
  readonly chatflowId: string;
  readonly role: ChatRole;
  readonly content: string;
  readonly chatId: string;
  readonly sessionId: string;
  readonly predictionId: string;
  /** "" for a complete answer. */
  readonly failure: string;
  readonly sourceDocuments: readonly (Passage & { readonly score: number | null })[];
  readonly uploads: readonly ChatFileRef[];
  readonly leadEmail: string;
  readonly memoryType: string;
  readonly followUpPrompts: readonly string[];
  readonly createdAt: number;
}

/** A question and its answer, written in the transaction that settles their prediction. */
export type ChatTurn = readonly [question: ChatMessage, answer: ChatMessage];

export type RatingValue = "up" | "down";

export interface Rating {
  readonly id: string;
  readonly chatflowId: string;
  readonly messageId: string;
  readonly chatId: string;
  readonly value: RatingValue;
  readonly comment: string;
  readonly createdAt: number;
}

export interface Lead {
  readonly id: string;
  readonly chatflowId: string;
  readonly chatId: string;
  readonly name: string;
  readonly email: string;
  readonly phone: string;
  readonly createdAt: number;
}

export interface Upsert {
  readonly id: string;
  readonly chatflowId: string;
  readonly principal: string;
  readonly added: number;
  readonly deleted: number;
  readonly skipped: number;
  /** The first of the new ones. */
  readonly addedPassages: readonly Passage[];
  readonly createdAt: number;
}
