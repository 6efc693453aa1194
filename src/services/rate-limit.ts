/** How many predictions a principal may create per second, on all transports together. */
import { AuspexError } from "../domain/error.ts";
import type { RateLimitState } from "./services.ts";

export interface RateLimiter {
  /** Takes one creation, or throws `resource_exhausted` with the time to wait. undefined: there is no limit. */
  take(principal: string): RateLimitState | undefined;
  /** Where a principal stands; takes nothing. */
  state(principal: string): RateLimitState | undefined;
}

export interface RateLimiterOptions {
  /** undefined: no limit. */
  readonly perSecond: number | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What is left at a moment, in thousandths of a creation: a whole number, so that no rounding adds up. */
interface Bucket {
  readonly level: number;
  readonly atMs: number;
}

const CREATION = 1000;
/** Time in which an empty bucket fills up: a burst of one second's worth is let through. */
const FILL_MS = 1000;

/**
 * A token bucket per principal, in constant time. A bucket that was left alone for `FILL_MS` is full, which is as
 * good as none: such ones are dropped, so that only principals of the last second cost memory.
 */
export function createRateLimiter({ perSecond, now }: RateLimiterOptions): RateLimiter {
  if (perSecond === undefined) return { take: () => undefined, state: () => undefined };
  const full = perSecond * CREATION;
  /** perSecond creations a second are as many thousandths a millisecond. */
  const perMs = perSecond;
  /** In the order of their last use: each is put at the end again. */
  const buckets = new Map<string, Bucket>();
  /** Whose bucket is at the end. */
  let newest: string | undefined;

  const bucketAt = (principal: string, atMs: number): Bucket => {
    const last = buckets.get(principal);
    if (!last) return { level: full, atMs };
    // A clock that was set back must not take anything away.
    const elapsedMs = Math.max(0, atMs - last.atMs);
    return { level: Math.min(full, last.level + elapsedMs * perMs), atMs };
  };
  const stateOf = ({ level, atMs }: Bucket): RateLimitState => ({
    limit: perSecond,
    remaining: Math.floor(level / CREATION),
    resetAt: Math.ceil((atMs + (full - level) / perMs) / 1000),
  });
  const dropFull = (nowMs: number) => {
    // Two a call: more leave than can come.
    for (let i = 0; i < 2; i += 1) {
      const [oldest] = buckets;
      if (!oldest || nowMs - oldest[1].atMs < FILL_MS) return;
      buckets.delete(oldest[0]);
    }
  };

  return {
    state: (principal) => stateOf(bucketAt(principal, now())),
    take: (principal) => {
      const nowMs = now();
      dropFull(nowMs);
      const bucket = bucketAt(principal, nowMs);
      if (bucket.level < CREATION) {
        throw new AuspexError(
          "resource_exhausted",
          `more than ${perSecond} predictions created in a second`,
          {
            retryAfterMs: Math.ceil((CREATION - bucket.level) / perMs),
          },
        );
      }
      const taken = { level: bucket.level - CREATION, atMs: nowMs };
      // The one at the end stays there: a Map in which much is deleted makes itself a new table each time.
      if (principal !== newest) buckets.delete(principal);
      newest = principal;
      buckets.set(principal, taken);
      return stateOf(taken);
    },
  };
}
