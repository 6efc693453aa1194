/** A question to the passages that may answer it. */
import type { RetrieverDefinition, ScoredPassage } from "../../domain/chatflow.ts";
import type { PassageStore } from "../../store/chatflow-store.ts";
import type { Embedder } from "./embedder.ts";

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

/**
 * Where a flow names no threshold: below this cosine, what is found has nothing to do with the question. For
 * auspex/minilm: of the bench's questions for development no right passage is below it, and of 40 questions on other
 * matters nothing reaches it for 34. At 0.3 it is nothing for all 40, and every tenth right passage is lost.
 */
export const MIN_SCORE_DEFAULT = 0.25;

export function createRetrieval({
  embedder,
  passages,
}: {
  readonly embedder: Embedder;
  readonly passages: Pick<PassageStore, "search">;
}): Retrieval {
  return {
    async search({ chatflowId, chatId, retriever, question, signal, deadlineAt }) {
      const { model, mode, topK } = retriever;
      if (question.trim() === "") return [];
      const [vector] =
        mode === "keyword" ? [] : await embedder.embed(model, [question], { signal, deadlineAt });
      const minScore = retriever.minScore ?? MIN_SCORE_DEFAULT;
      return passages.search({ chatflowId, chatId, mode, text: question, vector, limit: topK, minScore });
    },
  };
}
