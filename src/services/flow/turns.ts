/** Work that is done so many at a time, first come, first served, and one at a time of what belongs together. */
import { AuspexError } from "../../domain/error.ts";

export interface TurnLimits {
  readonly atOnce: number;
  /** That may wait; what comes then is refused. */
  readonly waiting: number;
  /** The same, of what belongs together, so that nobody takes all places. Unset: all. */
  readonly waitingTogether?: number;
  /** Of what there is too much, for the refusal. */
  readonly what: string;
}

interface Waiter {
  readonly key: unknown;
  readonly go: () => void;
}

const RETRY_AFTER_MS = 1000;

export class Turns {
  readonly #limits: TurnLimits;
  readonly #waiting: Waiter[] = [];
  readonly #busyKeys = new Set<unknown>();
  #running = 0;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  /**
   * Rejects as the work does, with `canceled` when the signal is aborted before its turn came, and with
   * `resource_exhausted` when too many wait.
   *
   * @param key of what belongs together; undefined for what does not
   */
  async take<T>(key: unknown, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#turn(key, signal);
    try {
      return await work();
    } finally {
      this.#running -= 1;
      this.#busyKeys.delete(key);
      this.#next();
    }
  }

  #turn(key: unknown, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal.aborted) {
      reject(canceled());
      return promise;
    }
    const leave = () => {
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      reject(canceled());
    };
    const waiter: Waiter = {
      key,
      go: () => {
        signal.removeEventListener("abort", leave);
        resolve();
      },
    };
    signal.addEventListener("abort", leave, { once: true });
    this.#waiting.push(waiter);
    this.#next();
    if (this.#isFull(key)) {
      this.#waiting.pop();
      signal.removeEventListener("abort", leave);
      const message = `too many ${this.#limits.what} are waiting; try again later`;
      reject(new AuspexError("resource_exhausted", message, { retryAfterMs: RETRY_AFTER_MS }));
    }
    return promise;
  }

  #isFull(key: unknown): boolean {
    const { waiting, waitingTogether = waiting } = this.#limits;
    if (this.#waiting.length > waiting) return true;
    return key !== undefined && this.#waiting.filter((other) => other.key === key).length > waitingTogether;
  }

  #next(): void {
    while (this.#running < this.#limits.atOnce) {
      const index = this.#waiting.findIndex(({ key }) => key === undefined || !this.#busyKeys.has(key));
      const [waiter] = index < 0 ? [] : this.#waiting.splice(index, 1);
      if (!waiter) return;
      this.#running += 1;
      if (waiter.key !== undefined) this.#busyKeys.add(waiter.key);
      waiter.go();
    }
  }
}

function canceled(): AuspexError {
  return new AuspexError("canceled", "the caller went away");
}
