/** Hints: nothing that waits for one may stay behind when it was told. */
import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { anySignal } from "../../src/services/any-signal.ts";
import { createHints } from "../../src/services/hints.ts";

test("waiting again and again leaves no listener on the signal", async () => {
  const hints = createHints();
  const { signal } = new AbortController();
  const changes = hints.subscribe("x");
  for (let i = 0; i < 5; i += 1) {
    const next = changes.next(signal);
    hints.emit("x");
    await next;
  }
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});

test("a hint before the wait, and an abort during it, both end the wait", async () => {
  const hints = createHints();
  const stop = new AbortController();
  const changes = hints.subscribe("x");
  hints.emit("x");
  await changes.next(stop.signal);
  const next = changes.next(stop.signal);
  stop.abort();
  await next;
  await changes.next(stop.signal);
});

test("a released signal leaves nothing on those that it was made of", () => {
  const lasting = new AbortController();
  const { signal, release } = anySignal(lasting.signal, new AbortController().signal);
  release();
  expect(getEventListeners(lasting.signal, "abort")).toHaveLength(0);
  lasting.abort();
  expect(signal.aborted).toBe(false);
  expect(anySignal(lasting.signal).signal.aborted).toBe(true);
});
