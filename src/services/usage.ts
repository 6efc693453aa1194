/**
 * How many predictions each principal has created in the current calendar month (UTC), and the most that it may.
 * They are counted in memory and written about once a second: a server that is killed forgets those of the last one.
 */
import { AuspexError } from "../domain/error.ts";
import type { EngineLog } from "../engine/engine.ts";
import type { AccountStore, Usage as UsageRecord } from "../store/account.ts";

export interface Usage {
  /**
   * Counts one creation. Answers its month, for `giveBack`. Rejects with `resource_exhausted` when the principal
   * has used its quota.
   */
  take(principal: string): Promise<number>;
  /** Takes back one that came to nothing. */
  giveBack(principal: string, month: number): void;
  read(principal: string): Promise<UsageState>;
  /** Writes what was counted, and no more from then on. */
  close(): Promise<void>;
}

/** First moments of a calendar month and of the next, microseconds since the epoch. */
interface Month {
  readonly month: number;
  readonly nextMonth: number;
}

export interface UsageState extends Month {
  readonly used: number;
  /** undefined without a quota. */
  readonly max: number | undefined;
}

export interface UsageOptions {
  readonly store: AccountStore;
  /** Per month and principal; undefined for none. */
  readonly quota: number | undefined;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly log: EngineLog;
}

const FLUSH_MS = 1000;

interface Counter {
  readonly principal: string;
  readonly month: number;
  /** What the store had when counting began; undefined until somebody needs to know. */
  before: number | undefined;
  counted: number;
  /** Of what was counted. */
  written: number;
}

export function createUsage({ store, quota, now, log }: UsageOptions): Usage {
  const counters = new Map<string, Counter>();
  let current = monthAt(now());
  /** Reads and writes of the store come one after the other, so that what is read tells what is written. */
  let last: Promise<unknown> = Promise.resolve();

  /** Looking into the calendar costs a microsecond. */
  function thisMonth(): Month {
    const us = now();
    if (us < current.month || us >= current.nextMonth) current = monthAt(us);
    return current;
  }

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  }

  function counterOf(principal: string, month: number): Counter {
    const key = `${month} ${principal}`;
    const known = counters.get(key);
    if (known) return known;
    const counter = { principal, month, before: undefined, counted: 0, written: 0 };
    counters.set(key, counter);
    return counter;
  }

  function load(counter: Counter): Promise<void> {
    return inTurn(async () => {
      counter.before ??= (await store.usage(counter.principal, counter.month)) - counter.written;
    });
  }

  async function flush(): Promise<void> {
    const changed: [Counter, UsageRecord][] = [];
    for (const [key, counter] of counters) {
      const { principal, month, counted, written } = counter;
      if (counted !== written) changed.push([counter, { principal, month, predictions: counted - written }]);
      // Nobody has come for a while; the store knows it all.
      else counters.delete(key);
    }
    if (changed.length === 0) return;
    await store.addUsage(changed.map(([, usage]) => usage));
    for (const [counter, { predictions }] of changed) counter.written += predictions;
  }

  const write = () =>
    inTurn(flush).catch((error: unknown) => log.error({ err: error }, "usage could not be written"));
  const timer = setInterval(write, FLUSH_MS);
  timer.unref();

  return {
    async take(principal) {
      const { month, nextMonth } = thisMonth();
      if (quota === undefined) {
        counterOf(principal, month).counted++;
        return month;
      }
      for (;;) {
        // Asked for again after each wait, in which it may have been dropped.
        const counter = counterOf(principal, month);
        if (counter.before === undefined) {
          await load(counter);
        } else if (counter.before + counter.counted < quota) {
          counter.counted++;
          return month;
        } else {
          const end = new Date(nextMonth / 1000).toISOString();
          throw new AuspexError(
            "resource_exhausted",
            `the quota of ${quota} predictions a month is used up until ${end}`,
            { retryAfterMs: (nextMonth - now()) / 1000 },
          );
        }
      }
    },

    giveBack(principal, month) {
      counterOf(principal, month).counted--;
    },

    async read(principal) {
      const { month, nextMonth } = thisMonth();
      for (;;) {
        const counter = counterOf(principal, month);
        const { before, counted } = counter;
        if (before !== undefined) return { used: before + counted, max: quota, month, nextMonth };
        await load(counter);
      }
    },

    async close() {
      clearInterval(timer);
      await write();
    },
  };
}

function monthAt(us: number): Month {
  const date = new Date(us / 1000);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  return { month: Date.UTC(year, month) * 1000, nextMonth: Date.UTC(year, month + 1) * 1000 };
}
