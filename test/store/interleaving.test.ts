/**
 * Many runners, cancelers and retrying clients at the same predictions at once, in an order that a seed decides, with
 * a clock that jumps over leases. Whatever the order, the invariants of the history hold.
 */
import { expect, test } from "vitest";
import type { PredictionId } from "../../src/domain/id.ts";
import { isTerminal, type Prediction } from "../../src/domain/prediction.ts";
import type { Claim, Store } from "../../src/store/store.ts";
import { aPrediction, CANCELLATION, insert, SUCCESS, tempStore } from "./temp-store.ts";

/** Numbers from 0 up to 1, the same for the same seed (xorshift32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

class History {
  readonly ids = new Map<string, PredictionId>();
  readonly newestToken = new Map<PredictionId, string>();
  readonly ends = new Map<PredictionId, Prediction>();
  readonly seen = new Map<PredictionId, Prediction>();

  /** I4: one request id is one prediction. */
  created(requestId: string, id: PredictionId): void {
    expect(this.ids.get(requestId) ?? id).toBe(id);
    this.ids.set(requestId, id);
  }

  claimed({ prediction, lease }: Claim): void {
    expect(this.ends.has(prediction.id)).toBe(false);
    const before = this.newestToken.get(prediction.id);
    expect(before === undefined || lease.token > before).toBe(true);
    this.newestToken.set(prediction.id, lease.token);
  }

  /** I2: it ends once. */
  ended(next: Prediction): void {
    expect(this.ends.has(next.id)).toBe(false);
    this.ends.set(next.id, next);
  }

  /** I3, I7: statuses and revisions only rise. */
  read(now: Prediction): void {
    const rank = { pending: 0, started: 1, succeeded: 2, failed: 2, canceled: 2 };
    const before = this.seen.get(now.id);
    if (before) {
      expect(rank[now.status]).toBeGreaterThanOrEqual(rank[before.status]);
      expect(now.revision).toBeGreaterThanOrEqual(before.revision);
      if (isTerminal(before.status)) expect(now).toEqual(before);
    }
    this.seen.set(now.id, now);
  }
}

async function actor(store: Store, history: History, random: () => number, clock: { now: number }) {
  const held: Claim[] = [];
  for (let step = 0; step < 40; step++) {
    clock.now += Math.floor(random() * 30);
    const requestId = `r-${Math.floor(random() * 25)}`;
    const known = history.ids.get(requestId);
    switch (Math.floor(random() * 5)) {
      case 0: {
        const prediction = aPrediction({ requestId });
        const result = await insert(store, prediction);
        expect(result.kind).not.toBe("full");
        history.created(requestId, result.kind === "duplicate" ? result.existing.id : prediction.id);
        break;
      }
      case 1: {
        const claims = await store.predictions.claim({
          limit: 1 + Math.floor(random() * 3),
          now: clock.now,
          leaseExpiresAt: clock.now + 100,
        });
        for (const each of claims) history.claimed(each);
        held.push(...claims);
        break;
      }
      case 2: {
        // Perhaps long after the lease ran out and somebody else took it.
        const [claim] = held.splice(Math.floor(random() * held.length), 1);
        if (claim) await settle(store, history, claim);
        break;
      }
      case 3: {
        const current = known && (await store.predictions.get("alice", known));
        if (current && !isTerminal(current.status)) await cancel(store, history, current);
        break;
      }
      default: {
        const current = known && (await store.predictions.get("alice", known));
        if (current) history.read(current);
      }
    }
  }
}

async function settle(store: Store, history: History, { prediction, lease }: Claim): Promise<void> {
  const next = { ...prediction, ...SUCCESS, revision: prediction.revision + 1 };
  const guard = { kind: "lease", token: lease.token } as const;
  if (!(await store.predictions.transition({ next, guard, deliveries: [] }))) return;
  // I5: under the newest lease only.
  expect(history.newestToken.get(prediction.id)).toBe(lease.token);
  history.ended(next);
}

async function cancel(store: Store, history: History, current: Prediction): Promise<void> {
  const next = { ...current, ...CANCELLATION, revision: current.revision + 1 };
  const guard = { kind: "revision", revision: current.revision } as const;
  if (await store.predictions.transition({ next, guard, deliveries: [] })) history.ended(next);
}

test.each([1, 2, 3, 4, 5])(
  "invariants I2, I3, I4 and I5 hold in the interleaving of seed %i",
  async (seed) => {
    const store = await tempStore();
    const history = new History();
    const random = seeded(seed * 7919);
    const clock = { now: 1_000 };
    await Promise.all(Array.from({ length: 12 }, () => actor(store, history, random, clock)));

    expect(history.ids.size).toBeGreaterThan(10);
    expect(history.ends.size).toBeGreaterThan(5);
    let unfinished = 0;
    for (const id of history.ids.values()) {
      const stored = await store.predictions.get("alice", id);
      if (!stored) throw new Error(`${id} is gone`);
      history.read(stored);
      if (isTerminal(stored.status)) expect(stored).toEqual(history.ends.get(id));
      else unfinished += 1;
    }
    expect(store.predictions.unfinished()).toBe(unfinished);
  },
);
