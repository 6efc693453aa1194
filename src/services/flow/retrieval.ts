/** A question to the passages that may answer it. */
import type { RetrieverDefinition, ScoredPassage } from "../../domain/chatflow.ts";

export interface RetrievalQuery {
  readonly chatflowId: string;
  /** "" for the flow's own documents alone. */
  readonly chatId: string;
  readonly retriever: RetrieverDefinition;
  readonly question: string;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly deadlineAt: number;
}

export interface Retrieval {
  /** The best first; [] when nothing fits. */
  search(query: RetrievalQuery): Promise<readonly ScoredPassage[]>;
}
