/** What the runner claims, and what it makes of it. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { PREPARING_MAX, UNWRITTEN_MAX } from "../../src/services/runner.ts";
import { aPrediction } from "../store/temp-store.ts";
import { answering, bench, HERE, NAMED, RESULT } from "./runner-bench.ts";

const SECOND = 1_000_000;

test("what a claim under way brings at the stop is finished, not failed by the engine's end", async () => {
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const self = await bench({
    store: answering({ claims: () => held }),
  });
  const prediction = await self.add();
  const closed = self.runner.drain(60_000).then(() => self.runner.close());
  release();
  await expect.poll(() => self.jobs.length).toBe(1);
  expect(await Promise.race([closed, delay(50, "open")])).toBe("open");
  self.jobs[0]?.end.resolve(RESULT);
  await closed;
  expect(await self.read(prediction)).toMatchObject({ status: "succeeded", attempt: 1 });
});

test("a deadline that passes while a worker's death is written ends on a later revision than that", async () => {
  const self = await bench();
  const prediction = await self.add();
  await expect.poll(() => self.jobs.length).toBe(1);
  const died = self.jobs[0]?.job.onWorkerDeath();
  self.jobs[0]?.end.reject(new Error("too late"));
  await died;
  await expect.poll(async () => (await self.read(prediction))?.status).toBe("failed");
  expect(await self.read(prediction)).toMatchObject({ revision: 4, attempt: 2, deaths: 1 });
});

test("after a standstill longer than a lease, what runs here is not claimed as lost", async () => {
  const self = await bench();
  const first = await self.add();
  await expect.poll(() => self.jobs.length).toBe(1);
  self.ahead = 61 * SECOND;
  await self.add();
  await expect.poll(() => self.jobs.length).toBe(2);
  self.jobs[0]?.end.resolve(RESULT);
  await expect.poll(async () => (await self.read(first))?.status).toBe("succeeded");
  expect(await self.read(first)).toMatchObject({ attempt: 1 });
});

test("a prediction that a server left behind runs again, however long that server was down", async () => {
  const self = await bench();
  const startedAt = Date.now() * 1000 - 7200 * SECOND;
  const prediction = aPrediction({ status: "started", startedAt, attempt: 1, revision: 2 });
  const lease = { token: "lost", expiresAt: 0 };
  await self.store.predictions.insert({ prediction, lease, deliveries: [], images: [] });
  self.runner.wake();
  await expect.poll(() => self.jobs.length).toBe(1);
  self.jobs[0]?.end.resolve(RESULT);
  await expect.poll(async () => (await self.read(prediction))?.status).toBe("succeeded");
  expect(await self.read(prediction)).toMatchObject({ attempt: 2, startedAt });
});

test("a result that cannot be written fails its prediction instead of running again for ever", async () => {
  const self = await bench({
    store: (store) => ({
      ...store,
      predictions: {
        ...store.predictions,
        transition: async (args) => {
          if (args.next.status === "succeeded") throw new Error("string or blob too big");
          return store.predictions.transition(args);
        },
      },
    }),
  });
  const prediction = await self.add();
  await expect.poll(() => self.jobs.length).toBe(1);
  self.jobs[0]?.end.resolve(RESULT);
  await expect.poll(async () => (await self.read(prediction))?.status).toBe("failed");
  expect((await self.read(prediction))?.error?.code).toBe("internal");
});

test("pictures that are slow to come do not let the whole queue be claimed", async () => {
  const self = await bench();
  const input = { json: { image: "https://slow.example/a.png" }, tensors: {} };
  await Promise.all(Array.from({ length: PREPARING_MAX + 50 }, () => self.add({ input })));
  await expect.poll(() => self.fetches.length).toBe(PREPARING_MAX);
  await delay(50);
  expect(self.fetches.length).toBe(PREPARING_MAX);
  expect(self.runner.canRunUnwritten(HERE)).toBe(false);
  self.fetches[0]?.reject(new Error("no such picture"));
  await expect.poll(() => self.fetches.length).toBe(PREPARING_MAX + 1);
  for (const fetched of self.fetches) fetched.reject(new Error("no such picture"));
});

test("predictions run unwritten far past the engine's room, but not to fetch pictures", async () => {
  const self = await bench();
  await self.runner.start();
  for (const [room, here, named] of [
    [1, true, true],
    [0, true, false],
    [1 - UNWRITTEN_MAX, true, false],
    [-UNWRITTEN_MAX, false, false],
  ] as const) {
    self.room = room;
    expect([self.runner.canRunUnwritten(HERE), self.runner.canRunUnwritten(NAMED)]).toEqual([here, named]);
  }
});

test("a full engine and nothing stored: what comes goes on unwritten, and what is then stored gets its room", async () => {
  const self = await bench();
  await self.runner.start();
  self.room = 0;
  const runs = [0, 1].map(() => self.runner.runUnwritten(aPrediction(), HERE, async () => []));
  await expect.poll(() => self.jobs.length).toBe(2);
  expect(self.runner.stored()).toBe(0);
  // It looks once a second for what nobody told it of.
  await delay(1500);
  expect(self.runner.canRunUnwritten(HERE)).toBe(true);
  const stored = await self.add();
  await expect.poll(() => self.jobs.length).toBe(3);
  await expect.poll(() => self.runner.canRunUnwritten(HERE)).toBe(true);
  for (const { end } of self.jobs) end.resolve(RESULT);
  await Promise.all(runs.map(({ settled }) => settled));
  await expect.poll(async () => (await self.read(stored))?.status).toBe("succeeded");
});

test("while a claim is under way behind a full one, nothing overtakes what waits", async () => {
  const held: PromiseWithResolvers<void>[] = [];
  const self = await bench({
    store: answering({
      claims: () => {
        const answer = Promise.withResolvers<void>();
        held.push(answer);
        return answer.promise;
      },
    }),
  });
  self.room = 1;
  await Promise.all([self.add(), self.add(), self.add()]);
  await expect.poll(() => held.length).toBe(1);
  held[0]?.resolve();
  await expect.poll(() => held.length).toBe(2);
  expect(self.runner.canRunUnwritten(HERE)).toBe(false);
  self.room = 10;
  held[1]?.resolve();
  await expect.poll(() => held.length).toBe(3);
  held[2]?.resolve();
  await expect.poll(() => self.runner.canRunUnwritten(HERE)).toBe(true);
});
