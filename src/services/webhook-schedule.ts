/** When a webhook event that could not be delivered is tried again, and when it is given up. */
import type { Delivery, DeliveryState } from "../domain/webhook.ts";
import type { Verdict } from "./webhook-attempt.ts";

const SECOND = 1_000_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/**
 * Waits after the first, second … failed attempt, in microseconds: quick at first, for a receiver that restarts,
 * then patient, for one that is down over a weekend. Together they stay just under GIVE_UP_AFTER.
 */
export const RETRY_DELAYS = [
  5 * SECOND,
  1 * MINUTE,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  18 * HOUR,
  22 * HOUR,
] as const;

/** Microseconds from an event's creation; the last attempt is made then at the latest. */
export const GIVE_UP_AFTER = 72 * HOUR;

/** An endpoint that asks for a longer pause is tried again after this, in microseconds. */
export const RETRY_AFTER_MAX = 24 * HOUR;

/** Share of a wait that is added at random, so that events that failed together do not come back together. */
export const JITTER = 0.2;

export interface FailedAttempt {
  /** Attempts that had been made before this one. */
  readonly attempts: number;
  readonly createdAt: number;
  /** Microseconds since the epoch. */
  readonly now: number;
  /** In [0, 1). */
  readonly random: number;
}

/** What becomes of a delivery after an attempt. */
export function stateAfter(
  verdict: Exclude<Verdict, { kind: "interrupted" }>,
  { attempts: before, createdAt, now, random }: FailedAttempt,
): DeliveryState {
  const attempts = before + 1;
  switch (verdict.kind) {
    case "delivered":
      return { kind: "delivered", attempts };
    case "refused":
      return { kind: "abandoned", attempts, reason: verdict.reason };
    case "failed": {
      const lastAt = createdAt + GIVE_UP_AFTER;
      const delay = RETRY_DELAYS[before];
      if (delay === undefined || now >= lastAt) {
        return { kind: "abandoned", attempts, reason: gaveUp(attempts, verdict.reason) };
      }
      const asked = Math.min((verdict.retryAfterMs ?? 0) * 1000, RETRY_AFTER_MAX);
      const wait = Math.max(Math.round(delay * (1 + JITTER * random)), asked);
      return { kind: "due", attempts, nextAt: Math.min(now + wait, lastAt) };
    }
    default:
      return verdict satisfies never;
  }
}

/** Whether an event is too old to wait any longer for its endpoint. */
export function isStale({ createdAt }: Pick<Delivery, "createdAt">, now: number): boolean {
  return now - createdAt >= GIVE_UP_AFTER;
}

export function gaveUp(attempts: number, reason: string): string {
  return `given up after ${attempts} attempt${attempts === 1 ? "" : "s"}: ${reason}`;
}
