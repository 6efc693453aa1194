/** Who writes an answer. */
import type { GeneratorDefinition, Passage, SaidMessage } from "../../domain/chatflow.ts";

/** What a picture shows. */
export interface SeenPicture {
  /** File name. */
  readonly name: string;
  /** The most probable first. */
  readonly labels: readonly string[];
}

export interface AttachedDocument {
  readonly name: string;
  readonly text: string;
}

export interface GeneratorRequest<K extends GeneratorDefinition["kind"] = GeneratorDefinition["kind"]> {
  readonly definition: Extract<GeneratorDefinition, { readonly kind: K }>;
  readonly question: string;
  /** What the passages were searched for: the question, with the one before it where it says nothing by itself. */
  readonly searched: string;
  /** Remembered, oldest first. */
  readonly said: readonly SaidMessage[];
  /** Whether passages were looked for. */
  readonly hasRetriever: boolean;
  /** The best first. */
  readonly passages: readonly Passage[];
  /** To be read in full. */
  readonly documents: readonly AttachedDocument[];
  readonly pictures: readonly SeenPicture[];
  /** Values for the places of the prompt. */
  readonly promptValues: Readonly<Record<string, string>>;
  /** The text-embedding model of the retriever; undefined where it has none, or goes by words alone. */
  readonly embeddingModel: string | undefined;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly deadlineAt: number;
}

/** Tokens, as a language model counts them. */
export interface TokenCount {
  readonly prompt: number;
  readonly completion: number;
}

export interface Generated {
  readonly usage: TokenCount | undefined;
  /** Why it stopped before it came to its end, e.g. `length`; undefined otherwise. */
  readonly stopReason: string | undefined;
}

export interface Generator<K extends GeneratorDefinition["kind"]> {
  /** Says the answer piece by piece. What was said until it rejects stays said. */
  generate(request: GeneratorRequest<K>, say: (piece: string) => void): Promise<Generated>;
}
