/**
 * How long a version's batches take of late, and from that how long a job that comes now would wait for its turn.
 *
 * It errs low rather than high: batches that were not full count as what full ones take, what is not known counts
 * nothing, and so does the way from here to a worker. Whoever refuses by it refuses what has no chance.
 */

import { FleetingSet, type SeatIn } from "../domain/fleeting.ts";

/** What waits of one version. */
export interface Waiting {
  readonly key: string;
  /** Batches that it makes, full ones but for the last. */
  readonly batches: number;
}

export interface Outlook {
  /** Milliseconds until its batch begins; 0 when a worker is free for it. */
  readonly waitMs: number;
  /** Milliseconds that its batch takes. */
  readonly runMs: number;
}

/** The share of the newest batch in the average: some ten of them make it. */
const NEWEST = 0.2;

interface Running {
  readonly key: string;
  readonly began: number;
}

/** A batch that a worker has been given. */
export interface PacedBatch {
  /** The worker has come to it. */
  begin(): void;
  /** It is over, begun or not. Without its milliseconds when its worker died, which says nothing of their time. */
  end(ranMs: number | undefined): void;
}

export class Pace {
  readonly #batchMs = new Map<string, number>();
  /** Given to a worker that is at another one. */
  readonly #given = new FleetingSet<{ readonly key: string }>();
  readonly #running = new FleetingSet<Running>();
  readonly #now: () => number;

  /** @param now milliseconds that never go back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  give(key: string): PacedBatch {
    const given = this.#given.add({ key });
    let running: SeatIn<Running> | undefined;
    return {
      begin: () => {
        this.#given.leave(given);
        running = this.#running.add({ key, began: this.#now() });
      },
      end: (ranMs) => {
        this.#given.leave(given);
        if (running) this.#running.leave(running);
        if (ranMs !== undefined) this.#learn(key, ranMs);
      },
    };
  }

  /** Milliseconds that a batch of the version takes; undefined when none has run. */
  batchMs(key: string): number | undefined {
    return this.#batchMs.get(key);
  }

  forget(key: string): void {
    this.#batchMs.delete(key);
  }

  /**
   * @param ahead full batches of its own version that go before it
   * @param others what waits of other versions: they have their turns in between
   */
  outlook(key: string, ahead: number, others: readonly Waiting[], workers: number): Outlook {
    const runMs = this.#batchMs.get(key) ?? 0;
    let before = ahead * runMs;
    for (const other of others) {
      before += Math.min(ahead + 1, other.batches) * (this.#batchMs.get(other.key) ?? 0);
    }
    for (const given of this.#given.values()) before += this.#batchMs.get(given.key) ?? 0;
    if (workers === 0 || (before === 0 && this.#running.size < workers)) return { waitMs: 0, runMs };
    const now = this.#now();
    for (const running of this.#running.values()) {
      before += Math.max(0, (this.#batchMs.get(running.key) ?? 0) - (now - running.began));
    }
    return { waitMs: before / workers, runMs };
  }

  #learn(key: string, ms: number): void {
    const known = this.#batchMs.get(key);
    this.#batchMs.set(key, known === undefined ? ms : known + NEWEST * (ms - known));
  }
}
