/** Deletes what has been finished for longer than the retention, and the blobs that nothing refers to. */
import type { EngineLog } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";

/** Rows deleted in one transaction: keeps it short, so that creations behind it do not wait. */
const BATCH = 500;
/** A passage is four rows, one of them in an index of words. */
const PASSAGE_BATCH = 100;
const INTERVAL_MAX_MS = 60_000;
/** A blob is put before its row commits; an unreferenced one this young may still get its row. */
const BLOB_AGE_MIN_MS = 3_600_000;

export interface RetentionOptions {
  readonly store: Store;
  readonly retentionMs: number;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly log: EngineLog;
}

/** Answers the stop. */
export function startRetention({ store, retentionMs, now, log }: RetentionOptions): () => Promise<void> {
  let stopped = false;
  let working = Promise.resolve();

  async function sweep(): Promise<void> {
    let deleted = 0;
    for (let count = BATCH; count === BATCH && !stopped; deleted += count) {
      count = await store.predictions.deleteEnded({ endedBefore: now() - retentionMs * 1000, limit: BATCH });
    }
    let deletions = 0;
    for (let count = BATCH; count === BATCH && !stopped; deletions += count) {
      count = await store.deletions.deleteEnded({ askedBefore: now() - retentionMs * 1000, limit: BATCH });
    }
    let passages = 0;
    for (let count = PASSAGE_BATCH; count === PASSAGE_BATCH && !stopped; passages += count) {
      count = await store.passages.purge(PASSAGE_BATCH);
    }
    const embeddings = stopped ? 0 : await store.embeddings.sweep();
    const blobs = stopped ? 0 : await store.blobs.sweep(BLOB_AGE_MIN_MS);
    if (deleted + deletions + passages + embeddings + blobs > 0) {
      const counts = { predictions: deleted, deletions, passages, embeddings, blobs };
      log.info(counts, "deleted what was past its retention, or what nothing refers to any more");
    }
  }

  const timer = setInterval(
    () => {
      working = working.then(() =>
        stopped
          ? undefined
          : sweep().catch((error: unknown) => log.error({ err: error }, "retention failed")),
      );
    },
    Math.min(INTERVAL_MAX_MS, Math.max(retentionMs / 10, 250)),
  );
  return () => {
    stopped = true;
    clearInterval(timer);
    return working;
  };
}
