import { describe, expect, test } from "vitest";
import {
  CIRCUIT_FAILURES,
  CIRCUIT_PAUSE,
  CIRCUIT_PAUSE_MAX,
  createEndpoints,
  ENDPOINTS_MAX,
  type Endpoints,
  PARALLEL_PER_ENDPOINT,
} from "../../src/services/webhook-endpoint.ts";

const T = 1_700_000_000_000_000;
const SECOND = 1_000_000;
const KEY = "acme https://hooks.example";
const UP = { kind: "up" } as const;
const DOWN = { kind: "down", reason: "it answered 500", retryAfterMs: undefined } as const;

function fail(endpoints: Endpoints, now: number): void {
  expect(endpoints.admit(KEY, now)).toEqual({ kind: "go" });
  endpoints.done(KEY, DOWN, now, 1000);
}

describe("slots", () => {
  test("an endpoint is given so many attempts at once, others their own", () => {
    const endpoints = createEndpoints();
    for (let i = 0; i < PARALLEL_PER_ENDPOINT; i += 1) expect(endpoints.admit(KEY, T).kind).toBe("go");
    expect(endpoints.admit(KEY, T).kind).toBe("busy");
    expect(endpoints.admit("acme https://other.example", T).kind).toBe("go");
    expect(endpoints.admit("umbra https://hooks.example", T).kind).toBe("go");
    endpoints.done(KEY, UP, T, 1000);
    expect(endpoints.admit(KEY, T).kind).toBe("go");
  });

  test("those who wait form a line as fast as the endpoint is, and look again within a minute", () => {
    const endpoints = createEndpoints();
    const latency = 8 * SECOND;
    // One runs on, as an endpoint at rest is forgotten.
    endpoints.admit(KEY, T);
    for (let i = 0; i < 100; i += 1) {
      endpoints.admit(KEY, T);
      endpoints.done(KEY, UP, T, latency);
    }
    for (let i = 1; i < PARALLEL_PER_ENDPOINT; i += 1) endpoints.admit(KEY, T);
    const turns = Array.from({ length: 100 }, () => endpoints.admit(KEY, T)).map((admission) =>
      admission.kind === "busy" ? admission.until - T : Number.NaN,
    );
    for (const [place, turn] of turns.entries()) {
      expect(turn / SECOND).toBeCloseTo(Math.min(place + 1, 60), 3);
    }
  });
});

describe("F12 the circuit", () => {
  test("opens after so many failures in a row, not before", () => {
    const endpoints = createEndpoints();
    for (let i = 0; i < CIRCUIT_FAILURES - 1; i += 1) fail(endpoints, T);
    endpoints.admit(KEY, T);
    endpoints.done(KEY, UP, T, 1000);
    for (let i = 0; i < CIRCUIT_FAILURES; i += 1) fail(endpoints, T);
    expect(endpoints.open(T)).toBe(1);
    expect(endpoints.admit(KEY, T)).toMatchObject({ kind: "down", reason: "it answered 500" });
    expect(endpoints.admit("umbra https://hooks.example", T).kind).toBe("go");
  });

  test("lets one probe through when its time is over; an answer closes it", () => {
    const endpoints = createEndpoints();
    for (let i = 0; i < CIRCUIT_FAILURES; i += 1) fail(endpoints, T);
    expect(endpoints.admit(KEY, T + CIRCUIT_PAUSE - 1).kind).toBe("down");
    const later = T + CIRCUIT_PAUSE;
    expect(endpoints.admit(KEY, later).kind).toBe("go");
    expect(endpoints.admit(KEY, later)).toMatchObject({ kind: "down" });
    endpoints.done(KEY, UP, later, 1000);
    for (let i = 0; i < PARALLEL_PER_ENDPOINT; i += 1) expect(endpoints.admit(KEY, later).kind).toBe("go");
    expect(endpoints.open(later)).toBe(0);
  });

  test("a probe that fails doubles the pause, up to its limit; late failures do not", () => {
    const endpoints = createEndpoints();
    for (let i = 0; i < PARALLEL_PER_ENDPOINT; i += 1) endpoints.admit(KEY, T);
    for (let i = 0; i < PARALLEL_PER_ENDPOINT; i += 1) endpoints.done(KEY, DOWN, T, 1000);
    let now = T;
    for (let pause = CIRCUIT_PAUSE; pause <= 4 * CIRCUIT_PAUSE_MAX; pause *= 2) {
      const expected = Math.min(pause, CIRCUIT_PAUSE_MAX);
      expect(endpoints.admit(KEY, now + expected - 1).kind).toBe("down");
      now += expected;
      fail(endpoints, now);
    }
  });

  test("Retry-After closes it to all, for an hour at most", () => {
    const endpoints = createEndpoints();
    const ask = (now: number, retryAfterMs: number) => {
      expect(endpoints.admit(KEY, now).kind).toBe("go");
      endpoints.done(KEY, { ...DOWN, retryAfterMs }, now, 1000);
    };
    ask(T, 7000);
    expect(endpoints.admit(KEY, T + 7 * SECOND - 1).kind).toBe("down");
    ask(T + 7 * SECOND, 86_400_000);
    expect(endpoints.admit(KEY, T + 3607 * SECOND - 1).kind).toBe("down");
    expect(endpoints.admit(KEY, T + 3607 * SECOND).kind).toBe("go");
  });

  test("an interrupted probe leaves it as it was", () => {
    const endpoints = createEndpoints();
    for (let i = 0; i < CIRCUIT_FAILURES; i += 1) fail(endpoints, T);
    const later = T + CIRCUIT_PAUSE;
    endpoints.admit(KEY, later);
    endpoints.done(KEY, { kind: "unknown" }, later, 1000);
    expect(endpoints.admit(KEY, later).kind).toBe("go");
    expect(endpoints.admit(KEY, later).kind).toBe("down");
  });
});

describe("memory", () => {
  test("a healthy endpoint at rest is forgotten", () => {
    const endpoints = createEndpoints();
    for (let i = 0; i < 100; i += 1) {
      endpoints.admit(`acme https://${i}.example`, T);
      endpoints.done(`acme https://${i}.example`, UP, T, 1000);
    }
    expect(endpoints.size).toBe(0);
  });

  test("of failing ones so many are remembered, busy ones always", () => {
    const endpoints = createEndpoints();
    endpoints.admit("busy", T);
    for (let i = 0; i < ENDPOINTS_MAX + 100; i += 1) {
      endpoints.admit(String(i), T);
      endpoints.done(String(i), DOWN, T, 1000);
    }
    expect(endpoints.size).toBe(ENDPOINTS_MAX);
    endpoints.done("busy", DOWN, T, 1000);
    expect(endpoints.size).toBe(ENDPOINTS_MAX);
  });
});
