import { describe, expect, test } from "vitest";
import type { EgressResponse } from "../../src/services/egress.ts";
import { judge, type Verdict } from "../../src/services/webhook-attempt.ts";
import {
  GIVE_UP_AFTER,
  isStale,
  JITTER,
  RETRY_AFTER_MAX,
  RETRY_DELAYS,
  stateAfter,
} from "../../src/services/webhook-schedule.ts";

const CREATED = 1_700_000_000_000_000;
const failed = (retryAfterMs?: number): Verdict & { kind: "failed" } => ({
  kind: "failed",
  reason: "the endpoint answered 500",
  down: true,
  retryAfterMs,
});
const at = (attempts: number, now = CREATED, random = 0) => ({ attempts, createdAt: CREATED, now, random });

describe("after an attempt", () => {
  test("a delivered event is done", () => {
    expect(stateAfter({ kind: "delivered", status: 204 }, at(2))).toEqual({ kind: "delivered", attempts: 3 });
  });

  test("a refused one is given up", () => {
    expect(stateAfter({ kind: "refused", reason: "gone" }, at(0))).toEqual({
      kind: "abandoned",
      attempts: 1,
      reason: "gone",
    });
  });

  test.each(RETRY_DELAYS.map((delay, attempts) => [attempts + 1, delay] as const))(
    "failure %d: the next attempt after %d µs, up to a fifth more",
    (attempts, delay) => {
      const soonest = stateAfter(failed(), at(attempts - 1, CREATED, 0));
      expect(soonest).toEqual({ kind: "due", attempts, nextAt: CREATED + delay });
      const latest = stateAfter(failed(), at(attempts - 1, CREATED, 1));
      expect(latest).toEqual({ kind: "due", attempts, nextAt: CREATED + delay * (1 + JITTER) });
    },
  );

  test("the waits rise and end within three days", () => {
    expect([...RETRY_DELAYS].sort((a, b) => a - b)).toEqual(RETRY_DELAYS);
    const total = RETRY_DELAYS.reduce((sum, delay) => sum + delay, 0);
    expect(GIVE_UP_AFTER).toBe(3 * 24 * 3600 * 1e6);
    expect(total).toBeLessThanOrEqual(GIVE_UP_AFTER);
    expect(total).toBeGreaterThan(GIVE_UP_AFTER * 0.95);
  });

  test("the last attempt is made after three days at the latest, and then it is over", () => {
    const end = CREATED + GIVE_UP_AFTER;
    expect(stateAfter(failed(), at(5, end - 1))).toEqual({ kind: "due", attempts: 6, nextAt: end });
    const reason = "given up after 6 attempts: the endpoint answered 500";
    expect(stateAfter(failed(), at(5, end))).toEqual({ kind: "abandoned", attempts: 6, reason });
    expect(stateAfter(failed(), at(RETRY_DELAYS.length))).toMatchObject({ kind: "abandoned" });
    expect(isStale({ createdAt: CREATED }, end - 1)).toBe(false);
    expect(isStale({ createdAt: CREATED }, end)).toBe(true);
  });

  test("Retry-After makes a wait longer, never shorter, and at most a day", () => {
    const nextAt = (attempts: number, retryAfterMs: number) =>
      stateAfter(failed(retryAfterMs), at(attempts)) as { nextAt: number };
    expect(nextAt(0, 3_600_000).nextAt).toBe(CREATED + 3600e6);
    expect(nextAt(0, 1).nextAt).toBe(CREATED + RETRY_DELAYS[0]);
    expect(nextAt(5, 60_000).nextAt).toBe(CREATED + RETRY_DELAYS[5]);
    expect(nextAt(0, RETRY_AFTER_MAX / 1000).nextAt).toBe(CREATED + RETRY_AFTER_MAX);
    expect(nextAt(0, RETRY_AFTER_MAX / 1000 + 1).nextAt).toBe(CREATED + RETRY_AFTER_MAX);
    expect(nextAt(0, Number.POSITIVE_INFINITY).nextAt).toBe(CREATED + RETRY_AFTER_MAX);
  });
});

describe("F13 an answer means", () => {
  const answer = (status: number, headers: EgressResponse["headers"] = {}) =>
    judge({ status, headers, body: new Uint8Array() }, Date.parse("Fri, 01 Mar 2030 12:00:00 GMT"));

  test.each([200, 201, 204, 299])("%d: delivered", (status) => {
    expect(answer(status)).toEqual({ kind: "delivered", status });
  });

  test("410: given up", () => {
    expect(answer(410)).toEqual({ kind: "refused", reason: "the endpoint answered 410, it is gone" });
  });

  test.each([
    [301, false, "the endpoint answered 301; redirects are not followed"],
    [308, false, "the endpoint answered 308; redirects are not followed"],
    [400, false, "the endpoint answered 400"],
    [404, false, "the endpoint answered 404"],
    [429, true, "the endpoint answered 429"],
    [500, true, "the endpoint answered 500"],
    [503, true, "the endpoint answered 503"],
  ])("%d: tried again; the endpoint is down: %s", (status, down, reason) => {
    expect(answer(status, { location: "http://127.0.0.1/" })).toEqual({
      kind: "failed",
      reason,
      down,
      retryAfterMs: undefined,
    });
  });

  test.each([
    ["120", 120_000],
    ["Fri, 01 Mar 2030 12:05:00 GMT", 300_000],
    ["Fri, 01 Mar 2030 11:00:00 GMT", undefined],
    ["0", undefined],
    ["-5", undefined],
    ["soon", undefined],
    ["", undefined],
    ["9".repeat(400), Number.POSITIVE_INFINITY],
  ])("Retry-After: %s", (value, retryAfterMs) => {
    for (const status of [429, 503]) {
      expect(answer(status, { "retry-after": value })).toMatchObject({ retryAfterMs });
    }
    expect(answer(500, { "retry-after": value })).toMatchObject({ retryAfterMs: undefined });
  });
});
