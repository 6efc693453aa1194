import { expect, test } from "vitest";
import { AHEAD_MS, mayGoAhead } from "../../src/engine/ahead.ts";

test("batches of 1 to 20 ms go ahead, and none whose time is not known", () => {
  expect(AHEAD_MS).toEqual({ min: 1, max: 20 });
  const times = [undefined, 0, 0.999, 1, 5, 20, 20.001, 60_000];
  expect(times.filter((ms) => mayGoAhead(ms))).toEqual([1, 5, 20]);
});
