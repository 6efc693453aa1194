import { expect, test } from "vitest";
import { createClock } from "../../src/domain/clock.ts";

const HOUR_MS = 3_600_000;

/** Clocks that the test sets; `pass` lets time go by. */
function clocks() {
  const at = { wallMs: 1_700_000_000_000, countedMs: 0 };
  const now = createClock({ wall: () => at.wallMs, counting: () => at.countedMs });
  return {
    now,
    pass(ms: number) {
      at.wallMs += ms;
      at.countedMs += ms;
    },
    set(byMs: number) {
      at.wallMs += byMs;
    },
    /** Microseconds by which it is behind the system's clock. */
    behind: () => at.wallMs * 1000 - now(),
  };
}

test("goes with the clock that counts, in microseconds", () => {
  const { now, pass } = clocks();
  const began = now();
  expect(began).toBe(1_700_000_000_000_000);
  pass(1.5);
  expect(now() - began).toBe(1500);
});

test("F11 never jumps, and never goes back, when the system's clock is set", () => {
  for (const jump of [HOUR_MS, -HOUR_MS]) {
    const { now, pass, set } = clocks();
    let last = now();
    set(jump);
    expect(now()).toBe(last);
    for (let i = 0; i < 1000; i++) {
      pass(10);
      const next = now();
      expect(next - last).toBe(jump > 0 ? 15_000 : 5_000);
      last = next;
    }
  }
});

test("F11 meets the system's clock again: an hour in two", () => {
  for (const jump of [HOUR_MS, -HOUR_MS]) {
    const { pass, set, behind } = clocks();
    set(jump);
    for (let passed = 0; passed < 2 * HOUR_MS - 60_000; passed += 1000) {
      pass(1000);
      behind();
    }
    expect(Math.abs(behind())).toBeGreaterThan(1_000_000);
    for (let i = 0; i < 120; i++) {
      pass(1000);
      behind();
    }
    expect(Math.abs(behind())).toBeLessThan(100_000);
  }
});

test("small differences between the two clocks are let be: it does not tremble", () => {
  const { now, pass, set } = clocks();
  const began = now();
  for (let i = 0; i < 100; i++) {
    set(i % 2 === 0 ? 99 : -99);
    pass(1);
    expect(now() - began).toBe((i + 1) * 1000);
  }
});
