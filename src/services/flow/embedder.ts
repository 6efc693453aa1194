/** Texts to vectors, by a model of the engine's. */
import { AuspexError } from "../../domain/error.ts";
import { type ModelVersion, parseModelRef } from "../../domain/model.ts";
import type { Engine } from "../../engine/engine.ts";
import { Turns } from "./turns.ts";

export interface EmbedOptions {
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch; undefined for none. */
  readonly deadlineAt: number | undefined;
}

export interface Embedder {
  /**
   * L2-normalised vectors, in the order of the texts, none of which is empty. Rejects with `failed_precondition` when
   * the model is not there or makes no embeddings, and as `Engine.run` does.
   *
   * @param model `owner/name`
   */
  embed(model: string, texts: readonly string[], options: EmbedOptions): Promise<readonly Float32Array[]>;
  /** The same, for many texts that nobody waits for: it lets what people wait for go first. */
  embedInTurn(
    model: string,
    texts: readonly string[],
    options: EmbedOptions,
  ): Promise<readonly Float32Array[]>;
}

/**
 * Texts of a job in turn, and their characters, of which a longer text may have more: some 0.15 s of a core, for which
 * a prediction or a question waits where there is but one worker.
 */
const TURN = { texts: 32, characters: 8000 } as const;

/** @param workers of the engine; where there are several, jobs in turn leave one of them free */
export function createEmbedder(engine: Pick<Engine, "models" | "run">, workers: number): Embedder {
  const atOnce = Math.max(1, workers - 1);
  const turns = new Turns({
    atOnce,
    // As many as the upserts under way have in hand.
    waiting: Number.POSITIVE_INFINITY,
    what: "texts",
  });

  async function embed(
    model: string,
    texts: readonly string[],
    { signal, deadlineAt }: EmbedOptions,
  ): Promise<readonly Float32Array[]> {
    if (texts.length === 0) return [];
    const { owner, name, version } = embeddingVersion(engine, model);
    const job = {
      owner,
      name,
      version,
      input: { json: { texts: [...texts] }, tensors: {}, files: {} },
      typedOutput: true,
      signal,
      deadlineAt,
      deaths: 0,
      onWorkerDeath: async (): Promise<void> => {
        job.deaths += 1;
      },
    };
    const { output } = await engine.run(job);
    const { embeddings } = output.tensors;
    const [rows = 0, width = 0] = embeddings?.shape ?? [];
    if (!embeddings || rows !== texts.length)
      throw new Error(`${model} answered ${rows} vectors for ${texts.length}`);
    // A copy: a part of a message lies at any address, and numbers must lie at multiples of their size.
    const numbers = new Float32Array(new Uint8Array(embeddings.data).buffer);
    return texts.map((_, row) => numbers.slice(row * width, (row + 1) * width));
  }

  return {
    embed,
    async embedInTurn(model, texts, options) {
      const vectors: Float32Array[] = [];
      const jobs = jobsOf(texts).map((indexes) =>
        turns.take(undefined, options.signal, async () => {
          const some = indexes.map((index) => texts[index] ?? "");
          const embedded = await embed(model, some, options);
          for (const [i, index] of indexes.entries()) vectors[index] = embedded[i] ?? new Float32Array();
        }),
      );
      await Promise.all(jobs);
      return vectors;
    },
  };
}

/** Indexes of the texts of each job; those of like length together, for a job's longest text sets its time. */
function jobsOf(texts: readonly string[]): readonly (readonly number[])[] {
  const lengthOf = (index: number): number => texts[index]?.length ?? 0;
  const jobs: number[][] = [];
  let characters = 0;
  for (const index of [...texts.keys()].sort((a, b) => lengthOf(a) - lengthOf(b))) {
    const job = jobs.at(-1);
    characters += lengthOf(index);
    if (job && job.length < TURN.texts && characters <= TURN.characters) job.push(index);
    else {
      jobs.push([index]);
      characters = lengthOf(index);
    }
  }
  return jobs;
}

function embeddingVersion({ models }: Pick<Engine, "models">, model: string): ModelVersion {
  const ref = parseModelRef(model);
  const found = ref && models.latest(ref.owner, ref.name);
  if (!found) throw new AuspexError("failed_precondition", `the retriever's model ${model} is not ready`);
  if (found.manifest?.task !== "text-embedding") {
    throw new AuspexError("failed_precondition", `the retriever's model ${model} makes no text embeddings`);
  }
  return found;
}
