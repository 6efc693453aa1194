/** Whether a create that waits is let in, by what the engine expects and by what its caller has said. */
import { expect, test } from "vitest";
import { AuspexError } from "../../src/domain/error.ts";
import type { EngineStats } from "../../src/engine/engine.ts";
import { createAdmission } from "../../src/services/admission.ts";

const MLP = { owner: "bench", name: "mlp", version: 1 };
const NOW = 1_000_000;
const STATS: EngineStats = {
  workers: 1,
  liveWorkers: 1,
  queued: 9,
  running: 1,
  batches: 0,
  items: 0,
  tensors: 0,
  workerDeaths: 0,
};

interface Scene {
  readonly waitMs: number;
  readonly runMs?: number;
  readonly queueMaxMs?: number;
  readonly stored?: number;
}

/** Answers the refusal, or undefined. */
function admit({ waitMs, runMs = 5, queueMaxMs, stored = 0 }: Scene, holdMs: number, leftMs?: number) {
  const admission = createAdmission({
    engine: { outlook: () => ({ waitMs, runMs }), stats: () => STATS },
    stored: () => stored,
    queueMaxMs,
    now: () => NOW,
  });
  try {
    admission(MLP, holdMs, { deadlineAt: leftMs === undefined ? undefined : NOW + leftMs });
    return undefined;
  } catch (error) {
    return AuspexError.from(error);
  }
}

test("QUEUE_DELAY: what would queue for as long is taken, what would for longer is refused", () => {
  expect(admit({ waitMs: 100, queueMaxMs: 100 }, 10_000)).toBeUndefined();
  const refusal = admit({ waitMs: 130, queueMaxMs: 100 }, 10_000);
  expect(refusal?.code).toBe("resource_exhausted");
  expect(refusal?.retryAfterMs).toBe(30);
});

test("without QUEUE_DELAY and without a deadline everything is taken", () => {
  expect(admit({ waitMs: 1e9 }, 10_000)).toBeUndefined();
});

test("a call is refused when what it takes does not fit twice before its deadline", () => {
  expect(admit({ waitMs: 45 }, 10_000, 100)).toBeUndefined();
  const refusal = admit({ waitMs: 46 }, 10_000, 100);
  expect(refusal?.code).toBe("resource_exhausted");
  expect(refusal?.message).toContain("the call's deadline leaves 100 ms");
});

test("where the wait ends before the deadline the prediction is answered as it then is, however long the queue", () => {
  expect(admit({ waitMs: 1e9 }, 99, 100)).toBeUndefined();
  expect(admit({ waitMs: 1e9 }, 100, 100)?.code).toBe("resource_exhausted");
});

test("a call that finds a free worker is tried, whatever its deadline", () => {
  expect(admit({ waitMs: 0, runMs: 500, queueMaxMs: 1 }, 10_000, 100)).toBeUndefined();
});

test("what waits in the store counts as what waits in the engine does", () => {
  // Ten in the engine take 10 ms; ninety more in the store make it a hundred.
  expect(admit({ waitMs: 10, stored: 90, queueMaxMs: 100 }, 10_000)).toBeUndefined();
  expect(admit({ waitMs: 10, stored: 91, queueMaxMs: 100 }, 10_000)?.code).toBe("resource_exhausted");
});

test("callers are told to come back soon, and not at once", () => {
  expect(admit({ waitMs: 101, queueMaxMs: 100 }, 10_000)?.retryAfterMs).toBe(10);
  expect(admit({ waitMs: 1e9, queueMaxMs: 100 }, 10_000)?.retryAfterMs).toBe(10_000);
});
