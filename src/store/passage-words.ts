/**
 * Words as they go into FTS5's index and into its queries. Each has its scope's number before it, so that the words
 * of one scope are no words of another: what a search costs, and how rare a word counts, is the scope's own matter.
 * (The prefix ends with a consonant and holds no vowel, which leaves the stemmer's syllables as they are.)
 */
import type { JsonObject } from "../domain/payload.ts";

const WORD = /[\p{L}\p{N}\p{M}]+/gu;

/** Past this, a text is hardly a question. FTS5 looks each word up. */
const QUERY_WORDS_MAX = 32;

interface Worded {
  readonly text: string;
  readonly metadata: JsonObject;
}

export function indexedWords(scope: number, { text, metadata }: Worded): string {
  const heading = typeof metadata.heading === "string" ? metadata.heading : "";
  return wordsOf(`${heading} ${text}`)
    .map((word) => prefixed(scope, word))
    .join(" ");
}

/** The words of a question that are looked up, each once. */
export function queryWords(text: string): readonly string[] {
  const all = [...new Set(wordsOf(text.toLowerCase()))];
  const telling = all.filter((word) => !FUNCTION_WORDS.has(word));
  return (telling.length > 0 ? telling : all).slice(0, QUERY_WORDS_MAX);
}

/** An FTS5 query for any, or all, of the words in any of the scopes. There is at least one of each. */
export function matchOf(scopes: readonly number[], words: readonly string[], need: "any" | "all"): string {
  // Letters and digits alone: nothing in them is syntax.
  const join = need === "any" ? " OR " : " AND ";
  return scopes
    .map((scope) => `(${words.map((word) => `"${prefixed(scope, word)}"`).join(join)})`)
    .join(" OR ");
}

function wordsOf(text: string): string[] {
  return text.normalize("NFKC").match(WORD) ?? [];
}

function prefixed(scope: number, word: string): string {
  return `${scope}x${word}`;
}

/** English words that stand in most passages and tell nothing of what is asked; each would be looked up for nothing. */
const FUNCTION_WORDS: ReadonlySet<string> = new Set(
  (
    "a about above after again all also am an and any are as at be because been before being below between both but " +
    "by can could did do does doing down during each few for from further had has have having he her here hers him " +
    "his how i if in into is it its itself just me more most my no nor not of off on once only or other our ours out " +
    "over own same she should so some such than that the their theirs them then there these they this those through " +
    "to too under until up very was we were what when where which while who whom why will with would you your yours"
  ).split(" "),
);
