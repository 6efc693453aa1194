/**
 * What the retriever is compared with: minisearch as it comes. Its ranking is BM25+ (k 1.2, b 0.7, δ 0.5); words are
 * split at spaces and punctuation, lower-cased and not stemmed, and any of the question's words is enough.
 */
import MiniSearch from "minisearch";
import type { FoundPassage } from "./flow.ts";

/** @returns the passages that a question finds, the best first, `limit` at most */
export function createBaseline(
  passages: readonly FoundPassage[],
  limit: number,
): (question: string) => readonly FoundPassage[] {
  const index = new MiniSearch({ fields: ["text"] });
  index.addAll(passages.map(({ text }, id) => ({ id, text })));
  return (question) =>
    index
      .search(question)
      .slice(0, limit)
      .flatMap(({ id }) => passages[id] ?? []);
}
