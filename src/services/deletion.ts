/** Carries out deletions behind the calls that asked for them, one after the other; a restart goes on with them. */
import { setTimeout as sleep } from "node:timers/promises";
import type { DatasetId, Deletion } from "../domain/dataset.ts";
import { AuspexError } from "../domain/error.ts";
import type { EngineLog } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";

/** Examples deleted in one transaction: keeps it short, so that creations behind it do not wait. */
const CHUNK = 500;
/** Deletions looked up at a time, on the main thread: these take 0.6 ms, 20,000 took 100, and nothing bounds how many there are. */
const PAGE = 100;
/** With the default wait, what fails is tried again after 1, 2, 4 and 8 s. */
const ATTEMPTS_MAX = 5;
const RETRY_MS = 1000;

export interface DeletionOptions {
  readonly store: Store;
  /** Deletes what a trained model has, its versions included. */
  readonly deleteModel: (name: string) => Promise<void>;
  /** Aborted when the server stops; what is unfinished goes on with the next start. */
  readonly stopping: AbortSignal;
  readonly log: EngineLog;
  /** Milliseconds before the second attempt; each wait is twice the one before. */
  readonly retryMs?: number;
}

export interface DeletionWorker {
  /** There may be something to delete. */
  wake(): void;
  /** Resolves when nothing is at work any more, once stopping. */
  idle(): Promise<void>;
}

export function createDeletionWorker(options: DeletionOptions): DeletionWorker {
  const { store, deleteModel, stopping, log, retryMs = RETRY_MS } = options;
  let woken = false;
  let working: Promise<void> | undefined;

  async function deleteDataset(deletion: Deletion): Promise<void> {
    const id = Number(deletion.deleted) as DatasetId;
    const total = await store.deletions.countExamples(id);
    for (let deleted = 0; !stopping.aborted && !(await store.deletions.purgeDataset(id, CHUNK)); ) {
      deleted += CHUNK;
      // What an earlier run deleted is not counted again: it never goes back.
      const progress = deletion.progress + (1 - deletion.progress) * Math.min(1, deleted / total);
      await store.deletions.record(deletion, { state: "running", progress, failure: "" });
    }
  }

  async function carryOut(deletion: Deletion): Promise<void> {
    const { progress } = deletion;
    await store.deletions.record(deletion, { state: "running", progress, failure: "" });
    switch (deletion.kind) {
      case "dataset":
        await deleteDataset(deletion);
        break;
      case "model":
        await deleteModel(deletion.deleted);
        break;
      default:
        deletion.kind satisfies never;
    }
    if (stopping.aborted) return;
    await store.deletions.record(deletion, { state: "succeeded", progress: 1, failure: "" });
  }

  async function persist(deletion: Deletion): Promise<void> {
    for (let attempt = 1; !stopping.aborted; attempt++) {
      try {
        return await carryOut(deletion);
      } catch (error) {
        log.error({ err: error, deletion: deletion.id, attempt }, "a deletion failed");
        if (attempt === ATTEMPTS_MAX) {
          const failure = AuspexError.from(error).message;
          return store.deletions.record(deletion, { state: "failed", progress: deletion.progress, failure });
        }
        await sleep(retryMs * 2 ** (attempt - 1), undefined, { signal: stopping });
      }
    }
  }

  async function work(): Promise<void> {
    while (woken && !stopping.aborted) {
      woken = false;
      const next = () => store.deletions.unfinished(PAGE);
      for (let page = await next(); page.length > 0 && !stopping.aborted; page = await next()) {
        for (const deletion of page) await persist(deletion);
      }
    }
  }

  return {
    wake() {
      woken = true;
      working ??= work()
        .catch((error: unknown) => {
          if (!stopping.aborted) log.error({ err: error }, "deletions could not be carried out");
        })
        .finally(() => {
          working = undefined;
          if (woken && !stopping.aborted) this.wake();
        });
    },
    idle: async () => working,
  };
}
