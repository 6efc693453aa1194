/** How long a job would wait, by how long batches took. */
import { expect, test } from "vitest";
import { Pace } from "../../src/engine/pace.ts";

/** A pace by a clock of its own, and a batch of so many milliseconds in it. */
function scene() {
  let at = 0;
  const pace = new Pace(() => at);
  return {
    pace,
    pass: (ms: number) => {
      at += ms;
    },
    batch(key: string, ms: number, isDone = true) {
      const batch = pace.give(key);
      batch.begin();
      at += ms;
      batch.end(isDone ? ms : undefined);
    },
  };
}

test("nothing is expected of a version that has not run", () => {
  const { pace } = scene();
  expect(pace.outlook("a", 5, [], 1)).toEqual({ waitMs: 0, runMs: 0 });
});

test("full batches of its own go before it, shared out among the workers", () => {
  const { pace, batch } = scene();
  batch("a", 10);
  expect(pace.outlook("a", 4, [], 1)).toEqual({ waitMs: 40, runMs: 10 });
  expect(pace.outlook("a", 4, [], 2)).toEqual({ waitMs: 20, runMs: 10 });
});

test("what runs counts with what is left of it, and not at all where a worker is free", () => {
  const { pace, batch, pass } = scene();
  batch("a", 10);
  pace.give("a").begin();
  pass(4);
  expect(pace.outlook("a", 0, [], 1).waitMs).toBe(6);
  expect(pace.outlook("a", 0, [], 2).waitMs).toBe(0);
  pass(100);
  expect(pace.outlook("a", 0, [], 1).waitMs).toBe(0);
});

test("what a worker was given ahead counts whole until its turn, and its time runs from there", () => {
  const { pace, batch, pass } = scene();
  batch("a", 10);
  const first = pace.give("a");
  first.begin();
  const second = pace.give("a");
  const lost = pace.give("a");
  pass(4);
  expect(pace.outlook("a", 0, [], 1).waitMs).toBe(26);
  lost.end(undefined);
  expect(pace.outlook("a", 0, [], 1).waitMs).toBe(16);
  pass(6);
  first.end(10);
  second.begin();
  pass(10);
  second.end(10);
  expect(pace.outlook("a", 0, [], 1)).toEqual({ waitMs: 0, runMs: 10 });
});

test("other versions have a turn before each of its batches, as long as they have any", () => {
  const { pace, batch } = scene();
  batch("a", 10);
  batch("b", 100);
  const others = [{ key: "b", batches: 2 }];
  expect(pace.outlook("a", 0, others, 1).waitMs).toBe(100);
  expect(pace.outlook("a", 5, others, 1).waitMs).toBe(50 + 200);
});

test("the newest batches count most, and one whose worker died counts nothing", () => {
  const { pace, batch } = scene();
  batch("a", 10);
  batch("a", 20);
  expect(pace.outlook("a", 0, [], 1).runMs).toBeCloseTo(12);
  batch("a", 60_000, false);
  expect(pace.outlook("a", 0, [], 1).runMs).toBeCloseTo(12);
  for (let i = 0; i < 30; i++) batch("a", 20);
  expect(pace.outlook("a", 0, [], 1).runMs).toBeCloseTo(20, 1);
  pace.forget("a");
  expect(pace.outlook("a", 3, [], 1)).toEqual({ waitMs: 0, runMs: 0 });
});
