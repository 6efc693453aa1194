/**
 * The time by which the server decides: leases, deadlines, retries, retention. The system's clock may be set while
 * the server runs; were it asked each time, an hour forwards would let every deadline pass at once and sweep what
 * is a second old, and an hour backwards would leave dead leases alive. So time here comes from the clock that only
 * counts, and follows the system's at a bounded pace.
 *
 * What others check by their own clocks (tokens, signed links) asks the system's, `wallClock`.
 */

/** A difference below this is the resolution of the two clocks and is let be. */
const TOLERANCE_US = 100_000;

/**
 * How much faster or slower than real time it may run to meet the system's clock: it moves at half to one and a half
 * times the pace. A lease is renewed three times in its life, so it holds at either; an hour is made up in two.
 */
const PACE = 0.5;

/** Clocks in milliseconds: one that may be set, and one that only counts. */
export interface Clocks {
  readonly wall: () => number;
  readonly counting: () => number;
}

const SYSTEM: Clocks = { wall: () => Date.now(), counting: () => performance.now() };

/** Answers a clock of whole microseconds since the epoch. It never goes back and never jumps. */
export function createClock({ wall, counting }: Clocks = SYSTEM): () => number {
  let us = wall() * 1000;
  let countedMs = counting();
  return () => {
    const nowMs = counting();
    const elapsed = (nowMs - countedMs) * 1000;
    countedMs = nowMs;
    const behind = wall() * 1000 - (us + elapsed);
    const most = elapsed * PACE;
    us += elapsed + (Math.abs(behind) < TOLERANCE_US ? 0 : Math.min(Math.max(behind, -most), most));
    return Math.round(us);
  };
}

/** Microseconds since the epoch by the system's clock, which may be set at any time. */
export function wallClock(): number {
  return Date.now() * 1000;
}

/** This process's clock. */
export const now: () => number = createClock();
