/** What the extractor sees in a plan's pictures: taken from the cache, and looked at once where it is not there. */
import { AuspexError } from "../domain/error.ts";
import type { Engine } from "../engine/engine.ts";
import type { Extractor, FitExamples } from "../engine/trainer.ts";
import type { Store } from "../store/store.ts";
import type { PlannedPicture, TrainingPlan } from "./training-plan.ts";

/** Pictures looked at together, and embeddings written together: half a second's work, lost when the server dies. */
const EMBED_BATCH = 16;
/** Embeddings read at once: some 2 MB. */
const READ_BATCH = 512;

export interface EmbeddingContext {
  readonly store: Pick<Store, "blobs" | "embeddings">;
  readonly engine: Pick<Engine, "trainer">;
  readonly extractor: Extractor;
  readonly signal: AbortSignal;
  /** Told how many of the pictures that were not in the cache have been looked at. */
  readonly onProgress: (done: number, total: number) => Promise<void>;
}

/** `owner/name:version`, under which embeddings are kept. */
export function extractorKey({ owner, name, version }: Extractor): string {
  return `${owner}/${name}:${version}`;
}

/** Rejects with `failed_precondition` naming the example whose picture is gone or cannot be read. */
export async function embedPictures({ train, test }: TrainingPlan, context: EmbeddingContext): Promise<void> {
  const { store, signal } = context;
  const key = extractorKey(context.extractor);
  // In the plan's order, so that a training that was interrupted makes the same batches again.
  const pictures = new Map([...train, ...test].map((picture) => [picture.blob, picture]));
  const missing: PlannedPicture[] = [];
  for (const batch of chunks([...pictures.keys()], READ_BATCH)) {
    signal.throwIfAborted();
    for (const blob of await store.embeddings.missing(key, batch)) {
      const picture = pictures.get(blob);
      if (picture) missing.push(picture);
    }
  }
  let done = 0;
  for (const batch of chunks(missing, EMBED_BATCH)) {
    await store.embeddings.put(key, await embedBatch(batch, context));
    done += batch.length;
    await context.onProgress(done, missing.length);
  }
}

async function embedBatch(
  pictures: readonly PlannedPicture[],
  { store, engine, extractor, signal }: EmbeddingContext,
): Promise<Map<string, Float32Array>> {
  const images = await Promise.all(
    pictures.map(async ({ blob, name }) => {
      const bytes = await store.blobs.get(blob);
      if (!bytes) throw unusable(name, "is gone");
      return bytes;
    }),
  );
  const outcomes = await engine.trainer.embed(extractor, images, signal);
  const embeddings = new Map<string, Float32Array>();
  for (const [index, { blob, name }] of pictures.entries()) {
    const outcome = outcomes[index];
    if (!outcome?.ok) throw unusable(name, `cannot be read: ${outcome?.reason ?? "it was left out"}`);
    embeddings.set(blob, outcome.embedding);
  }
  return embeddings;
}

function unusable(name: string, why: string): AuspexError {
  return new AuspexError("failed_precondition", `The picture of example ${JSON.stringify(name)} ${why}.`);
}

/** The embeddings of these rows, which `embedPictures` has seen, and what is right for each. */
export async function fitExamples(
  rows: readonly PlannedPicture[],
  classes: number,
  { store, extractor, signal }: EmbeddingContext,
): Promise<{ readonly examples: FitExamples; readonly width: number }> {
  const key = extractorKey(extractor);
  const targets = new Uint8Array(rows.length * classes);
  let embeddings = new Float32Array();
  let width = 0;
  let row = 0;
  for (const batch of chunks(rows, READ_BATCH)) {
    signal.throwIfAborted();
    const found = await store.embeddings.get(
      key,
      batch.map(({ blob }) => blob),
    );
    for (const { blob, name, labels } of batch) {
      const embedding = found.get(blob);
      // Its example was deleted meanwhile, and the cache swept.
      if (!embedding) throw unusable(name, "is gone");
      if (width === 0) {
        width = embedding.length;
        embeddings = new Float32Array(rows.length * width);
      }
      embeddings.set(embedding, row * width);
      for (const label of labels) targets[row * classes + label] = 1;
      row += 1;
    }
  }
  return { examples: { embeddings, targets }, width };
}

function* chunks<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
