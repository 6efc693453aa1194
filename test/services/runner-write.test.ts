/** What is new: run as it is written where nothing waits before it. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Prediction } from "../../src/domain/prediction.ts";
import { aDelivery, aPrediction, CANCELLATION } from "../store/temp-store.ts";
import { answering, type Bench, bench, HERE, RESULT } from "./runner-bench.ts";

const SECOND = 1_000_000;

/** Running, with nothing in its store; `claims` counts what it claims from here on, each answered after `until`. */
async function idle({ until = async () => undefined, ...options }: IdleOptions = {}) {
  let claims = 0;
  let isIdle = false;
  const claimed = async (): Promise<void> => {
    if (!isIdle) return;
    claims += 1;
    await until();
  };
  const self = await bench({ store: answering({ claims: claimed }), ...options });
  await self.runner.start();
  isIdle = true;
  return { ...self, self, claims: () => claims };
}

interface IdleOptions {
  readonly until?: () => Promise<void>;
  readonly queueMax?: number;
  readonly leaseMs?: number;
}

test("a new one that nothing waits before runs without a claim once it is written, under a lease", async () => {
  const { self, claims } = await idle({ leaseMs: 900 });
  const prediction = aPrediction();
  expect(await self.write(prediction)).toEqual({ kind: "inserted" });
  expect(await self.read(prediction)).toMatchObject({ status: "started", revision: 2, attempt: 1 });
  expect(self.runner.stored()).toBe(0);
  await expect.poll(() => self.jobs.length).toBe(1);
  // The lease is renewed: the runner looks once a second for what it may claim.
  await delay(2000);
  self.jobs[0]?.end.resolve(RESULT);
  await expect.poll(async () => (await self.read(prediction))?.status).toBe("succeeded");
  expect(await self.read(prediction)).toMatchObject({ revision: 3, attempt: 1 });
  expect(claims()).toBe(0);
});

test("where there is no room a new one waits for its claim, and none that comes later goes before it", async () => {
  const { self } = await idle();
  self.room = 0;
  const waiting = aPrediction({ version: 1 });
  const inserting = self.write(waiting);
  self.room = 10;
  await Promise.all([inserting, self.write(aPrediction({ version: 2 }))]);
  await expect.poll(() => self.jobs.map(({ job }) => job.version)).toEqual([1, 2]);
});

test("while the first claim after a full engine is under way, nothing overtakes what waits", async () => {
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const { self, claims } = await idle({ until: () => held });
  self.room = 0;
  for (const version of [1, 2, 3]) await self.write(aPrediction({ version }));
  self.room = 1;
  self.runner.wake();
  await expect.poll(() => claims()).toBe(1);
  self.room = 10;
  const last = aPrediction({ version: 4 });
  await self.write(last);
  expect(await self.read(last)).toMatchObject({ status: "pending" });
  release();
  await expect.poll(() => self.jobs.map(({ job }) => job.version)).toEqual([1, 2, 3, 4]);
});

test("at the start nothing overtakes what an earlier one left", async () => {
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const self = await bench({ store: answering({ claims: () => held }) });
  const prediction = aPrediction({ version: 1 });
  await self.store.predictions.insert({ prediction, lease: null, deliveries: [], images: [] });
  const started = self.runner.start();
  await self.write(aPrediction({ version: 2 }));
  release();
  await started;
  await expect.poll(() => self.jobs.map(({ job }) => job.version)).toEqual([1, 2]);
});

test("a start does not wait for a store that cannot be asked: it asks again later", async () => {
  const self = await bench();
  await self.store.close();
  await self.runner.start();
  expect(self.runner.canRunUnwritten(HERE)).toBe(false);
});

test("one whose states a webhook is told of waits for its claim, so that it is told of each", async () => {
  const { self, claims } = await idle();
  const told = aPrediction();
  await self.write(told, [aDelivery(told)]);
  await expect.poll(() => self.jobs.length).toBe(1);
  expect(claims()).toBeGreaterThan(0);
});

test("what is not written does not run: a repeated request, one more than the queue holds, a failed write", async () => {
  const { self, store } = await idle({ queueMax: 1 });
  const first = aPrediction({ requestId: "once" });
  await self.write(first);
  expect(await self.write(aPrediction({ requestId: "once" }))).toMatchObject({
    kind: "duplicate",
    existing: { id: first.id },
  });
  expect(await self.write(aPrediction())).toEqual({ kind: "full" });
  await expect.poll(() => self.jobs.length).toBe(1);
  self.jobs[0]?.end.resolve(RESULT);
  await expect.poll(async () => (await self.read(first))?.status).toBe("succeeded");
  await store.close();
  await expect(self.write(aPrediction())).rejects.toThrow();
  expect(self.jobs.length).toBe(1);
});

async function cancel({ store }: Bench, prediction: Prediction): Promise<void> {
  const next: Prediction = { ...prediction, ...CANCELLATION, revision: prediction.revision + 1 };
  const guard = { kind: "revision", revision: prediction.revision } as const;
  expect(await store.predictions.transition({ next, guard, deliveries: [] })).toBe(true);
}

test("one that is canceled between its write and its run does not run", async () => {
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const self = await bench({ store: answering({ inserts: () => held }) });
  await self.runner.start();
  const prediction = aPrediction();
  const written = self.write(prediction);
  await expect.poll(async () => (await self.read(prediction))?.status).toBe("started");
  await cancel(self, { ...prediction, revision: 2 });
  self.runner.abort(prediction.id);
  release();
  expect(await written).toEqual({ kind: "inserted" });
  await self.runner.drain(60_000);
  expect(self.jobs.length).toBe(0);
  expect(await self.read(prediction)).toMatchObject({ status: "canceled", revision: 3 });
});

test("one that was canceled without the runner's knowing is not settled again", async () => {
  const { self } = await idle();
  const prediction = aPrediction();
  await self.write(prediction);
  await cancel(self, { ...prediction, revision: 2 });
  await expect.poll(() => self.jobs.length).toBe(1);
  self.jobs[0]?.end.resolve(RESULT);
  await self.runner.drain(60_000);
  expect(await self.read(prediction)).toMatchObject({ status: "canceled", revision: 3 });
});

test("one that runs when its server stops is given back, for the next one to claim at once", async () => {
  const { self, store } = await idle();
  const prediction = aPrediction();
  await self.write(prediction);
  await expect.poll(() => self.jobs.length).toBe(1);
  await self.runner.close();
  const now = Date.now() * 1000 + SECOND;
  const claimed = await store.predictions.claim({ limit: 1, now, leaseExpiresAt: now + SECOND });
  expect(claimed).toMatchObject([{ prediction: { id: prediction.id, attempt: 2, revision: 3 } }]);
});
