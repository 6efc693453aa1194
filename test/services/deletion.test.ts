/** The worker of deletions over a real store. */
import { expect, onTestFinished, test } from "vitest";
import type { Deletion } from "../../src/domain/dataset.ts";
import { AuspexError } from "../../src/domain/error.ts";
import { createDeletionWorker } from "../../src/services/deletion.ts";
import type { Store } from "../../src/store/store.ts";
import { until } from "../harness.ts";
import { newId, tempStore } from "../store/temp-store.ts";

const silent = { info() {}, warn() {}, error() {} };

function worker(store: Store, retryMs = 10) {
  const stopping = new AbortController();
  const deleteModel = async () => {};
  const deletions = createDeletionWorker({
    store,
    deleteModel,
    stopping: stopping.signal,
    log: silent,
    retryMs,
  });
  onTestFinished(async () => {
    stopping.abort();
    await deletions.idle();
  });
  return deletions;
}

/** A deleted dataset of that many examples. */
async function deletedDataset(store: Store, examples: number): Promise<Deletion> {
  const next = { principal: "alice", name: "x", type: "image", labels: [], createdAt: 1 } as const;
  const { dataset, begun } = await store.imports.create(next, { kind: "url", url: "https://zips.example/" });
  const rows = Array.from({ length: examples }, (_, index) => ({
    label: `label ${index % 3}`,
    name: "x",
    blob: index.toString(16).padStart(64, "0"),
    mediaType: "image/jpeg",
    width: 1,
    height: 1,
    sizeBytes: 1,
  }));
  await store.imports.insert({ begun, examples: rows, now: 2 });
  const end = { kind: "taken_up", duplicates: 0, skipped: { count: 0, first: [] } } as const;
  await store.imports.end({ begun, end, now: 3 });
  const args = { principal: "alice", id: dataset.id, deletionId: newId(), now: 4 };
  const reply = await store.datasets.delete(args);
  if (reply.kind !== "deleted") throw new Error(reply.kind);
  return reply.deletion;
}

const now = (store: Store, { id }: Deletion) => store.deletions.get("alice", id);

test("what an earlier process left is carried out, and its progress only rises", async () => {
  const store = await tempStore();
  const queued = await deletedDataset(store, 1300);
  const running = await deletedDataset(store, 10);
  await store.deletions.record(running, { state: "running", progress: 0.5, failure: "" });
  const seen: number[] = [];
  const recording: Store["deletions"] = {
    ...store.deletions,
    record: async (deletion, next) => {
      if (deletion.id === queued.id) seen.push(next.progress);
      await store.deletions.record(deletion, next);
    },
  };
  worker({ ...store, deletions: recording }).wake();
  await until(async () => (await store.deletions.unfinished(1)).length === 0);
  for (const deletion of [queued, running]) {
    expect(await now(store, deletion)).toMatchObject({ state: "succeeded", progress: 1, failure: "" });
  }
  expect(seen.length).toBeGreaterThanOrEqual(4);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
});

test("more of them than are looked up at a time are all carried out, in their order", async () => {
  const store = await tempStore();
  const deletions: Deletion[] = [];
  for (let i = 0; i < 101; i++) deletions.push(await deletedDataset(store, 1));
  const purged: number[] = [];
  const recording: Store["deletions"] = {
    ...store.deletions,
    purgeDataset: (id, limit) => {
      purged.push(id);
      return store.deletions.purgeDataset(id, limit);
    },
  };
  worker({ ...store, deletions: recording }).wake();
  await until(async () => (await store.deletions.unfinished(1)).length === 0);
  expect(purged).toEqual(deletions.map(({ deleted }) => Number(deleted)));
});

test("what fails five times is given up, visibly", async () => {
  const store = await tempStore();
  const deletion = await deletedDataset(store, 1);
  let tries = 0;
  const failing: Store["deletions"] = {
    ...store.deletions,
    purgeDataset: async () => {
      tries++;
      throw new AuspexError("unavailable", "the disk is full");
    },
  };
  worker({ ...store, deletions: failing }, 1).wake();
  await until(async () => (await store.deletions.unfinished(1)).length === 0);
  expect(await now(store, deletion)).toMatchObject({ state: "failed", failure: "the disk is full" });
  expect(tries).toBe(5);
});

test("what fails is tried again; a stop leaves it to the next start", async () => {
  const store = await tempStore();
  const deletion = await deletedDataset(store, 1);
  let tries = 0;
  const failing: Store["deletions"] = {
    ...store.deletions,
    purgeDataset: async (...args) => {
      if (++tries === 1) throw new Error("no luck");
      return store.deletions.purgeDataset(...args);
    },
  };
  worker({ ...store, deletions: failing }).wake();
  await until(async () => (await now(store, deletion))?.state === "succeeded");
  expect(tries).toBe(2);

  const next = await deletedDataset(store, 1);
  const stopped = new AbortController();
  stopped.abort();
  const late = createDeletionWorker({
    store,
    deleteModel: async () => {},
    stopping: stopped.signal,
    log: silent,
  });
  late.wake();
  await late.idle();
  expect(await now(store, next)).toMatchObject({ state: "queued" });
});
