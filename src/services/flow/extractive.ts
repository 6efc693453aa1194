/**
 * Answers offline, with what the passages say: the sentences that fit the question best, as they stand, in the order of
 * their document, passage by passage.
 */

import type { Embedder } from "./embedder.ts";
import type { AttachedDocument, Generator, GeneratorRequest, SeenPicture } from "./generator.ts";
import { contentWords } from "./search-text.ts";
import { type Sentence, sentencesOf } from "./sentences.ts";

const NO_MATCH = "I found nothing about that in my documents.";
const NOTHING_SEEN = "nothing that the model knows";

/** Sentences that are compared with the question: what a worker embeds in a quarter of a second. */
const CANDIDATES_MAX = 96;
/** A sentence that is embedded is cut here; the model reads no further. */
const EMBEDDED_LENGTH_MAX = 1000;
/** What a shared word counts beside the likeness in meaning, which is 0 to 1. */
const WORDS_WEIGHT = 0.5;
/** What the place of its passage takes from a sentence: passages come the best first. */
const RANK_PENALTY = 0.05;

interface Candidate extends Sentence {
  /** Of its passage; documents that came with the question go first. */
  readonly rank: number;
}

type Request = GeneratorRequest<"extractive">;

export function createExtractive(embedder: Pick<Embedder, "embed">): Generator<"extractive"> {
  async function scores(request: Request, candidates: readonly Candidate[]): Promise<readonly number[]> {
    const byWords = wordScores(request.searched, candidates);
    const likeness = await likenesses(request, candidates);
    return candidates.map(
      ({ rank }, index) =>
        (likeness[index] ?? 0) + WORDS_WEIGHT * (byWords[index] ?? 0) - RANK_PENALTY * rank,
    );
  }

  /** Cosines; [] without a model. */
  async function likenesses(
    { embeddingModel, searched, signal, deadlineAt }: Request,
    candidates: readonly Candidate[],
  ): Promise<readonly number[]> {
    if (embeddingModel === undefined) return [];
    const texts = [searched, ...candidates.map(({ text }) => text)].map((text) =>
      text.slice(0, EMBEDDED_LENGTH_MAX).toWellFormed(),
    );
    const [question, ...vectors] = await embedder.embed(embeddingModel, texts, { signal, deadlineAt });
    return vectors.map((vector) => vector.reduce((sum, value, at) => sum + value * (question?.[at] ?? 0), 0));
  }

  return {
    async generate(request, say) {
      const { definition, pictures, passages, documents } = request;
      const seen = pictures.map(seenSentence);
      const candidates = candidatesOf([...documents.map(textOf), ...passages.map(textOf)]);
      const chosen = best(candidates, await scores(request, candidates), definition.sentences);
      const found = joined(chosen);
      const parts = [...seen.map((text) => ({ text, before: "\n" })), ...found];
      if (parts.length === 0) say(definition.noMatch || NO_MATCH);
      for (const [index, { text, before }] of parts.entries()) say(index === 0 ? text : before + text);
      return { usage: undefined, stopReason: undefined };
    },
  };
}

const textOf = ({ text }: AttachedDocument | { readonly text: string }): string => text;

function seenSentence({ name, labels }: SeenPicture): string {
  return `${name}: ${labels.length === 0 ? NOTHING_SEEN : labels.join(", ")}`;
}

/** Without repetitions, which passages that overlap have. */
function candidatesOf(texts: readonly string[]): readonly Candidate[] {
  const seen = new Set<string>();
  const candidates: Candidate[] = [];
  for (const [rank, text] of texts.entries()) {
    for (const sentence of sentencesOf(text)) {
      if (seen.has(sentence.text) || !/[\p{L}\p{N}]/u.test(sentence.text)) continue;
      seen.add(sentence.text);
      candidates.push({ ...sentence, rank });
    }
  }
  return candidates.slice(0, CANDIDATES_MAX);
}

/** Shares of the question's words that a sentence has, rare ones among the sentences counting more: 0 to 1. */
function wordScores(searched: string, candidates: readonly Candidate[]): readonly number[] {
  const wanted = [...new Set(contentWords(searched).map(stem))];
  const words = candidates.map(({ text }) => new Set(contentWords(text).map(stem)));
  const weights = wanted.map((word) => {
    const holders = words.filter((each) => each.has(word)).length;
    return Math.log(1 + candidates.length / (1 + holders));
  });
  const whole = weights.reduce((sum, weight) => sum + weight, 0) || 1;
  return words.map(
    (each) =>
      weights.reduce((sum, weight, at) => (each.has(wanted[at] ?? "") ? sum + weight : sum), 0) / whole,
  );
}

/** Enough for `model` and `models`, `limit` and `limited` to be one word. */
function stem(word: string): string {
  return word.length > 4 ? word.replace(/(?:ings?|ed|es|s|e)$/, "") : word;
}

function best(
  candidates: readonly Candidate[],
  scores: readonly number[],
  count: number,
): readonly Candidate[] {
  const order = candidates.map((_, index) => index).sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0));
  const chosen = new Set(order.slice(0, count));
  return candidates.filter((_, index) => chosen.has(index));
}

/** Sentences of one passage stand in one paragraph; blocks stand on lines of their own. */
function joined(chosen: readonly Candidate[]): readonly { readonly text: string; readonly before: string }[] {
  return chosen.map(({ text, isBlock, rank }, index) => {
    const previous = chosen[index - 1];
    const isApart = previous && previous.rank !== rank;
    const isLine = isBlock || previous?.isBlock;
    return { text, before: isApart ? "\n\n" : isLine ? "\n" : " " };
  });
}
