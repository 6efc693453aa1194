/** How well questions find their passages. */
import type { FoundPassage } from "./flow.ts";
import { type AnswerableQuestion, isRight } from "./questions.ts";

/** Passages that are looked at for a question. */
export const DEPTH = 10;
/** What a flow hands to its generator by default. */
export const TOP_K = 4;

export interface Find {
  readonly question: AnswerableQuestion;
  /** Of the first right passage, from 1; Infinity when none was found. */
  readonly rank: number;
  readonly found: readonly FoundPassage[];
}

export interface Figures {
  readonly questions: number;
  /** Questions with a right passage among the first 1 and 4. */
  readonly at1: number;
  readonly at4: number;
  /** Mean of 1 / rank, 0 where no right passage was found. */
  readonly mrr: number;
}

export function find(question: AnswerableQuestion, found: readonly FoundPassage[]): Find {
  const place = found.findIndex((passage) => isRight(question, passage));
  return { question, rank: place < 0 ? Number.POSITIVE_INFINITY : place + 1, found };
}

export function figuresOf(finds: readonly Find[]): Figures {
  const within = (k: number) => finds.filter(({ rank }) => rank <= k).length;
  const sum = finds.reduce((total, { rank }) => total + 1 / rank, 0);
  return { questions: finds.length, at1: within(1), at4: within(TOP_K), mrr: sum / finds.length };
}

/** Those whose right passage came latest, or not at all. */
export function worst(finds: readonly Find[], count: number): readonly Find[] {
  return finds
    .filter(({ rank }) => rank > 1)
    .sort((a, b) => b.rank - a.rank || a.question.id.localeCompare(b.question.id))
    .slice(0, count);
}
