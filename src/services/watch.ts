/**
 * Watch streams: the current state first, then every change, whole each time, until the terminal one. A reader that
 * is slower than the changes misses intermediate ones; one that lost its stream resumes after the revision it saw last.
 */
import { AuspexError } from "../domain/error.ts";
import { anySignal } from "./any-signal.ts";
import type { CallContext } from "./call.ts";
import type { Hints } from "./hints.ts";

export interface WatchOptions {
  readonly hints: Hints;
  /** Streams at once, of whatever kind. */
  readonly watchesMax: number;
  /** Aborted when the server begins to stop: ends watches, which can be resumed. */
  readonly stopping: AbortSignal;
}

export interface Watched<T> {
  readonly id: string;
  /** Whose it is: who watches the same under the same name sees the same. */
  readonly principal: string;
  readonly afterRevision: bigint | number;
  /** Its state as committed. */
  readonly read: () => Promise<T>;
  readonly isEnded: (state: T) => boolean;
}

export interface Watches {
  /** Rejects with `resource_exhausted` when there are too many, `unavailable` when the server stops. */
  watch<T extends { readonly revision: number }>(watched: Watched<T>, call: CallContext): AsyncIterable<T>;
  /** Streams now. */
  streams(): number;
}

export function createWatches({ hints, watchesMax, stopping }: WatchOptions): Watches {
  let watches = 0;
  const readOnce = shareReads();
  return {
    streams: () => watches,
    async *watch({ id, principal, afterRevision, read, isEnded }, call) {
      if (watches >= watchesMax) {
        throw new AuspexError("resource_exhausted", `the server holds ${watches} watch streams already`, {
          retryAfterMs: 1000,
        });
      }
      watches++;
      const changes = hints.subscribe(id);
      const { signal, release } = anySignal(call.signal, stopping);
      let seen = afterRevision;
      try {
        for (;;) {
          const state = await readOnce(`${id} ${principal}`, read);
          if (state.revision > seen) {
            seen = state.revision;
            yield state;
          }
          if (isEnded(state) || call.signal.aborted) return;
          if (stopping.aborted) {
            throw new AuspexError(
              "unavailable",
              `the server is shutting down; resume after revision ${seen}`,
            );
          }
          await changes.next(signal);
        }
      } finally {
        watches--;
        release();
        changes.close();
      }
    },
  };
}

/**
 * Those who are told of one change read it together: once, and get one object, so that what is made of it can be made
 * once as well.
 *
 * Shared is what is read before the next tick, and nobody is told of a commit there that the first of them could have
 * missed: whoever tells has heard of it from another thread, for which the event loop has to turn.
 */
function shareReads(): <T>(key: string, read: () => Promise<T>) => Promise<T> {
  const reads = new Map<string, Promise<unknown>>();
  return <T>(key: string, read: () => Promise<T>) => {
    const known = reads.get(key);
    // A key names one thing, and that has one type.
    if (known) return known as Promise<T>;
    const state = read();
    reads.set(key, state);
    process.nextTick(() => reads.delete(key));
    return state;
  };
}
