/**
 * Text for the sentence encoder: pieces of its vocabulary, found as SentencePiece's unigram model does, by the
 * split with the greatest sum of scores (Kudo, "Subword Regularization", 2018).
 */
import { readFile } from "node:fs/promises";
import type { HostTensor } from "../../src/engine/worker/runtime.ts";

export const SENTENCES: readonly string[] = [
  "How many zebras are there in the picture?",
  "The quick brown fox jumps over the lazy dog.",
  "A prediction is created, durable, watched, and finished exactly once.",
  "No.",
  "Where do I go to get my money back when the thing that I bought last week is already broken?",
];

/** Pieces with their scores by id; the first ones are reserved. */
export type Vocabulary = readonly (readonly [piece: string, score: number])[];

const RESERVED = 6;
const UNKNOWN = 0;
/** What a character costs that no piece has: worse than any piece. */
const UNKNOWN_SCORE = -100;
/** Stands for a space in pieces, and before the first word. */
const SPACE = "\u2581";

export async function readVocabulary(path: string): Promise<Vocabulary> {
  return JSON.parse(await readFile(path, "utf8")) as Vocabulary;
}

/** The ids of the pieces. */
export function tokenize(text: string, vocabulary: Vocabulary): readonly number[] {
  const ids = new Map(vocabulary.slice(RESERVED).map(([piece], i) => [piece, i + RESERVED]));
  const longest = Math.max(...vocabulary.map(([piece]) => piece.length));
  const symbols = `${SPACE}${text.normalize("NFKC").trim().replaceAll(/\s+/g, SPACE)}`;
  // The best way to every position, by its last piece.
  const best: { score: number; from: number; id: number }[] = [{ score: 0, from: 0, id: UNKNOWN }];
  for (let end = 1; end <= symbols.length; end++) {
    let way = { score: Number.NEGATIVE_INFINITY, from: end - 1, id: UNKNOWN };
    for (let from = Math.max(0, end - longest); from < end; from++) {
      const id = ids.get(symbols.slice(from, end));
      if (id === undefined && from < end - 1) continue;
      const own = id === undefined ? UNKNOWN_SCORE : (vocabulary[id]?.[1] ?? UNKNOWN_SCORE);
      const score = (best[from]?.score ?? 0) + own;
      if (score > way.score) way = { score, from, id: id ?? UNKNOWN };
    }
    best.push(way);
  }
  const found: number[] = [];
  for (let end = symbols.length; end > 0; ) {
    const way = best[end];
    if (!way) break;
    found.unshift(way.id);
    end = way.from;
  }
  return found;
}

/** What the encoder takes: the ids of all sentences, and of each its sentence and place in it. */
export function sentenceTensors(
  sentences: readonly string[],
  vocabulary: Vocabulary,
): { readonly indices: HostTensor; readonly values: HostTensor } {
  const values: number[] = [];
  const indices: number[] = [];
  for (const [row, text] of sentences.entries()) {
    for (const [place, id] of tokenize(text, vocabulary).entries()) {
      values.push(id);
      indices.push(row, place);
    }
  }
  return {
    indices: { dtype: "int32", shape: [values.length, 2], data: Int32Array.from(indices) },
    values: { dtype: "int32", shape: [values.length], data: Int32Array.from(values) },
  };
}
