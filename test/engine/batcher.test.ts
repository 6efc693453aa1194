import { describe, expect, it } from "vitest";
import { Batcher, type BatchItem } from "../../src/engine/batcher.ts";
import { uniform } from "../models/mlp.ts";

interface Item extends BatchItem {
  readonly id: number;
}

let nextId = 0;
function item(key: string, options: Partial<Item> = {}): Item {
  return { id: nextId++, key, weight: 1, alone: false, ...options };
}

const upTo =
  (maximum: number, delayMs = 0) =>
  () => ({ maximum, delayMs });

describe("Batcher", () => {
  it("takes all that waits, up to the maximum, in order", () => {
    const batcher = new Batcher<Item>();
    const items = Array.from({ length: 5 }, () => item("a"));
    for (const one of items) batcher.add(one);
    expect(batcher.take(upTo(4))?.items).toEqual(items.slice(0, 4));
    expect(batcher.take(upTo(4))?.items).toEqual(items.slice(4));
    expect(batcher.take(upTo(4))).toBeUndefined();
    expect(batcher.size).toBe(0);
  });

  it("counts rows, and lets a first item through that is larger than the maximum", () => {
    const batcher = new Batcher<Item>();
    const [large, small, exact] = [
      item("a", { weight: 9 }),
      item("a", { weight: 1 }),
      item("a", { weight: 3 }),
    ];
    const over = item("a", { weight: 1 });
    for (const one of [large, small, exact, over]) batcher.add(one);
    expect(batcher.take(upTo(4))?.items).toEqual([large]);
    expect(batcher.take(upTo(4))?.items).toEqual([small, exact]);
    expect(batcher.take(upTo(4))?.items).toEqual([over]);
  });

  it("never mixes versions, and serves them in turn", () => {
    const batcher = new Batcher<Item>();
    for (const key of ["a", "a", "a", "b", "c"]) batcher.add(item(key));
    const keys = Array.from({ length: 5 }, () => batcher.take(upTo(1))?.key);
    expect(keys).toEqual(["a", "b", "c", "a", "a"]);
  });

  it("passes over versions that the worker cannot run", () => {
    const batcher = new Batcher<Item>();
    for (const key of ["a", "b"]) batcher.add(item(key));
    expect(batcher.take((key) => (key === "b" ? { maximum: 8, delayMs: 0 } : undefined))?.key).toBe("b");
    expect(batcher.take((key) => (key === "b" ? { maximum: 8, delayMs: 0 } : undefined))).toBeUndefined();
    expect(batcher.size).toBe(1);
  });

  it("runs those alone that must be, before the others", () => {
    const batcher = new Batcher<Item>();
    const [first, second] = [item("a", { alone: true }), item("a", { alone: true })];
    for (const one of [item("a"), first, item("a"), second]) batcher.add(one);
    expect(batcher.take(upTo(8))?.items).toEqual([first]);
    expect(batcher.take(upTo(8))?.items).toEqual([second]);
    expect(batcher.take(upTo(8))?.items).toHaveLength(2);
  });

  it("shares what waits among the free workers", () => {
    const batcher = new Batcher<Item>();
    for (let i = 0; i < 5; i++) batcher.add(item("a"));
    expect(batcher.take(upTo(8), 2)?.items).toHaveLength(3);
    expect(batcher.take(upTo(8), 1)?.items).toHaveLength(2);
  });

  describe("with a delay", () => {
    let now = 0;
    const late = upTo(4, 10);

    it("holds items back until the eldest has waited for it, and not after", () => {
      now = 1000;
      const batcher = new Batcher<Item>(() => now);
      expect(batcher.dueIn(late)).toBeUndefined();
      const items = [item("a"), item("a")];
      for (const one of items) {
        batcher.add(one);
        now += 4;
      }
      expect(batcher.take(late)).toBeUndefined();
      expect(batcher.dueIn(late)).toBe(2);
      now = 1009.9;
      expect(batcher.take(late)).toBeUndefined();
      now = 1010;
      expect(batcher.take(late, 2)?.items).toEqual(items);
      expect(batcher.dueIn(late)).toBeUndefined();
    });

    it("lets a full batch go at once, by weight, and holds the rest back", () => {
      now = 0;
      const batcher = new Batcher<Item>(() => now);
      const items = [item("a", { weight: 3 }), item("a", { weight: 1 }), item("a")];
      for (const one of items) batcher.add(one);
      expect(batcher.take(late, 2)?.items).toEqual(items.slice(0, 2));
      expect(batcher.take(late)).toBeUndefined();
      expect(batcher.dueIn(late)).toBe(10);
      expect(batcher.remove(items[2] ?? item("a"))).toBe(true);
      expect(batcher.dueIn(late)).toBeUndefined();
    });

    it("counts anew from the eldest that is left when one before it leaves", () => {
      now = 0;
      const batcher = new Batcher<Item>(() => now);
      const first = item("a", { weight: 3 });
      batcher.add(first);
      now = 6;
      batcher.add(item("a"));
      batcher.remove(first);
      now = 10;
      expect(batcher.take(late)).toBeUndefined();
      expect(batcher.dueIn(late)).toBe(6);
    });

    it("holds back neither what must run alone nor what is larger than the maximum nor another version", () => {
      now = 0;
      const batcher = new Batcher<Item>(() => now);
      const [alone, large, other] = [item("a", { alone: true }), item("b", { weight: 9 }), item("c")];
      const held = item("d");
      for (const one of [held, alone, large, other]) batcher.add(one);
      const limits = (key: string) => ({ maximum: 4, delayMs: key === "c" ? 0 : 10 });
      expect(batcher.dueIn(limits)).toBe(0);
      const taken = [1, 2, 3].map(() => batcher.take(limits)?.items[0]);
      expect(taken).toEqual([alone, large, other]);
      expect(batcher.take(limits)).toBeUndefined();
      expect(batcher.size).toBe(1);
      // A batch of one is always full.
      expect(batcher.take(upTo(1, 10))?.items).toEqual([held]);
    });
  });

  it("F18 loses and wedges nothing over 100,000 items of which any may be canceled at any time", () => {
    const batcher = new Batcher<Item>();
    const random = uniform(18);
    const waiting = new Map<number, Item>();
    // Counted, for 300,000 expectations take seconds.
    let [taken, removed, wrong] = [0, 0, 0];
    for (let added = 0; added < 100_000; added++) {
      const one = item(`m${Math.floor(random() * 4)}`, { alone: random() < 0.05 });
      batcher.add(one);
      waiting.set(one.id, one);
      if (random() < 0.5) {
        const ids = waiting.keys();
        for (let skip = Math.floor(random() * 8); skip > 0; skip--) ids.next();
        const victim = waiting.get(ids.next().value ?? -1);
        if (victim) {
          if (!batcher.remove(victim) || batcher.remove(victim)) wrong += 1;
          waiting.delete(victim.id);
          removed += 1;
        }
      }
      if (random() < 0.1) {
        const batch = batcher.take(upTo(32));
        for (const got of batch?.items ?? []) {
          if (got.key !== batch?.key || !waiting.delete(got.id)) wrong += 1;
          taken += 1;
        }
      }
    }
    for (let batch = batcher.take(upTo(32)); batch; batch = batcher.take(upTo(32))) {
      for (const got of batch.items) if (!waiting.delete(got.id)) wrong += 1;
      taken += batch.items.length;
    }
    expect(wrong).toBe(0);
    expect(waiting.size).toBe(0);
    expect(batcher.size).toBe(0);
    expect(taken + removed).toBe(100_000);
  });
});
