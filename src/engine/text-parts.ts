/**
 * A job of many texts, run as several: so it takes several workers where they are free, lets others in between, and
 * no batch of it runs long.
 */
import type { JsonObject } from "../domain/payload.ts";
import type { Tensor } from "../domain/tensor.ts";
import type { Job, JobResult } from "./engine.ts";

export interface TextsInput {
  readonly kind: "texts";
  readonly texts: readonly string[];
  /** What each counts in a batch; at least 1. */
  readonly weights: readonly number[];
}

/**
 * Some 64 tokens of English: a question counts 1, a page some 8. What it takes to run a text grows with its tokens,
 * which main does not count.
 */
const CHARACTERS_PER_WEIGHT = 256;

/** Characters of a token, for a bound on what of a long text is run. */
const CHARACTERS_PER_TOKEN = 4;

/** @param maxTokens that the model takes of a text */
export function textsInput(texts: readonly string[], maxTokens: number): TextsInput {
  const weightOf = ({ length }: string): number =>
    Math.ceil(Math.min(length, maxTokens * CHARACTERS_PER_TOKEN) / CHARACTERS_PER_WEIGHT);
  return { kind: "texts", texts, weights: texts.map(weightOf) };
}

export function textsWeight({ weights }: TextsInput): number {
  return weights.reduce((sum, weight) => sum + weight, 0);
}

/** Parts of at most so much weight, or of one text. */
export function textParts({ texts, weights }: TextsInput, maximum: number): readonly TextsInput[] {
  const parts: { kind: "texts"; texts: string[]; weights: number[] }[] = [];
  let left = 0;
  for (const [i, text] of texts.entries()) {
    const weight = weights[i] ?? 1;
    if (parts.length === 0 || weight > left) {
      parts.push({ kind: "texts", texts: [], weights: [] });
      left = maximum;
    }
    parts.at(-1)?.texts.push(text);
    parts.at(-1)?.weights.push(weight);
    left -= weight;
  }
  return parts;
}

/**
 * Runs the parts of a job and joins what they give. The first that fails ends the others.
 *
 * @param atOnce parts that are under way: what keeps the workers busy, so that a question which arrives meanwhile
 * waits for these and not for all of them
 * @param run settles with the tensor `embeddings`
 */
export async function runTextParts(
  parts: readonly TextsInput[],
  atOnce: number,
  job: Job,
  run: (part: TextsInput, job: Job) => Promise<JobResult>,
): Promise<JobResult> {
  const stop = new AbortController();
  const signal = AbortSignal.any([job.signal, stop.signal]);
  let told: Promise<void> | undefined;
  // A worker takes several parts with it when it dies, and that is one death of the job.
  const onWorkerDeath = (): Promise<void> => {
    told ??= job.onWorkerDeath();
    return told;
  };
  let from = Number.POSITIVE_INFINITY;
  const timed = async (part: TextsInput): Promise<Tensor> => {
    const { output, executionTime } = await run(part, { ...job, signal, onWorkerDeath });
    from = Math.min(from, performance.now() - executionTime / 1000);
    const { embeddings } = output.tensors;
    if (!embeddings) throw new Error("a part of the texts was left without embeddings");
    return embeddings;
  };
  const tensors: Tensor[] = [];
  const waiting = parts.entries();
  const runNext = async (): Promise<void> => {
    for (const [i, part] of waiting) tensors[i] = await timed(part);
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, runNext));
    const tensor = joined(tensors);
    const output = job.typedOutput
      ? { json: {}, tensors: { embeddings: tensor } }
      : { json: jsonOf(tensor), tensors: {} };
    return { output, executionTime: Math.round((performance.now() - from) * 1000) };
  } finally {
    stop.abort();
  }
}

function joined(tensors: readonly Tensor[]): Tensor {
  const [first, ...others] = tensors;
  if (!first || others.length === 0)
    return first ?? { dtype: "float32", shape: [0, 0], data: new Uint8Array() };
  const rows = tensors.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
  const data = Buffer.concat(tensors.map((tensor) => tensor.data));
  return { dtype: "float32", shape: [rows, ...first.shape.slice(1)], data };
}

function jsonOf({ shape, data }: Tensor): JsonObject {
  const [rows = 0, width = 0] = shape;
  // A part of a message lies at any address; numbers must lie at multiples of their size.
  const numbers = new Float32Array(new Uint8Array(data).buffer);
  const embeddings = Array.from({ length: rows }, (_, row) =>
    Array.from(numbers.subarray(row * width, (row + 1) * width)),
  );
  return { embeddings };
}
