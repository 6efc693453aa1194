/** The runner over a real store and an engine that does what each test tells it to. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import type { Prediction } from "../../src/domain/prediction.ts";
import type { NewDelivery } from "../../src/domain/webhook.ts";
import type { Engine, Job, JobResult } from "../../src/engine/engine.ts";
import type { Egress, EgressRequest } from "../../src/services/egress.ts";
import { createHints } from "../../src/services/hints.ts";
import type { AcceptedInput } from "../../src/services/input.ts";
import { createRunner, PREPARING_MAX, type Runner, UNWRITTEN_MAX } from "../../src/services/runner.ts";
import type { InsertResult, Store } from "../../src/store/store.ts";
import { aDelivery, aPrediction, CANCELLATION, SUCCESS, tempStore } from "../store/temp-store.ts";

const SECOND = 1_000_000;

interface Bench {
  readonly store: Store;
  readonly runner: Runner;
  /** Jobs that the engine was given, and their ends. */
  readonly jobs: { readonly job: Job; readonly end: PromiseWithResolvers<JobResult> }[];
  /** Pictures that are being fetched. */
  readonly fetches: PromiseWithResolvers<never>[];
  /** Microseconds by which the server's clock is ahead. */
  ahead: number;
  /** Jobs that the engine has room for. */
  room: number;
  /** Writes a new one as a creation does. */
  write(prediction: Prediction, deliveries?: readonly NewDelivery[]): Promise<InsertResult>;
  /** Puts one into the store as another process does. */
  add(given?: Partial<Prediction>): Promise<Prediction>;
  read(prediction: Prediction): Promise<Prediction | undefined>;
}

async function bench({
  store: override = (store: Store) => store,
  leaseMs = 60_000,
  queueMax = 1000,
} = {}): Promise<Bench> {
  const store = override(await tempStore({ queueMax }));
  const jobs: Bench["jobs"] = [];
  const fetches: Bench["fetches"] = [];
  const engine = {
    run(job: Job) {
      const end = Promise.withResolvers<JobResult>();
      job.signal.addEventListener("abort", () => end.reject(new Error("aborted")));
      jobs.push({ job, end });
      return end.promise;
    },
    room: () => self.room,
    liveWorkers: () => 1,
    onRoom: () => () => undefined,
  } as unknown as Engine;
  const egress = {
    fetch: ({ signal }: EgressRequest) => {
      const fetched = Promise.withResolvers<never>();
      signal.addEventListener("abort", () => fetched.reject(new Error("aborted")));
      fetches.push(fetched);
      return fetched.promise;
    },
  } as unknown as Egress;
  const ignore = () => undefined;
  const now = () => Date.now() * 1000 + self.ahead;
  const runner = createRunner({
    input: { store, engine, egress, maxPictureBytes: 1 },
    flows: {
      run: () => Promise.reject(new Error("no flow")),
      canceledTurn: () => Promise.reject(new Error("no flow")),
    },
    hints: createHints(),
    now,
    leaseMs,
    runMaxMs: 1_800_000,
    deliveriesFor: () => [],
    onDeliveries: ignore,
    onSettled: ignore,
    onLeft: ignore,
    log: { info: ignore, warn: ignore, error: ignore },
  });
  const self: Bench = {
    store,
    runner,
    jobs,
    fetches,
    ahead: 0,
    room: 10_000,
    write: (prediction, deliveries = []) => runner.write({ prediction, deliveries, images: [] }),
    async add(given) {
      const prediction = aPrediction({ createdAt: now(), updatedAt: now(), ...given });
      await store.predictions.insert({ prediction, lease: null, deliveries: [], images: [] });
      runner.wake();
      return prediction;
    },
    read: ({ principal, id }) => store.predictions.get(principal, id),
  };
  onTestFinished(() => runner.close());
  return self;
}

const HERE: AcceptedInput = { payload: { json: {}, tensors: {} }, picture: null };
const NAMED: AcceptedInput = {
  payload: { json: { image: "https://slow.example/a.png" }, tensors: {} },
  picture: null,
};

/** A store that answers each claim, which is committed by then, when `until` resolves. */
function withClaims(until: () => Promise<void>) {
  return (store: Store): Store => ({
    ...store,
    predictions: {
      ...store.predictions,
      claim: async (args) => {
        const claims = await store.predictions.claim(args);
        await until();
        return claims;
      },
    },
  });
}

const RESULT: JobResult = { output: SUCCESS.output, executionTime: 1 };

test("what a claim under way brings at the stop is finished, not failed by the engine's end", async () => {
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const self = await bench({
    store: withClaims(() => held),
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
  self.runner.start();
  await expect.poll(() => self.runner.canRunUnwritten(HERE)).toBe(true);
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
  self.runner.start();
  await expect.poll(() => self.runner.canRunUnwritten(HERE)).toBe(true);
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
    store: withClaims(() => {
      const answer = Promise.withResolvers<void>();
      held.push(answer);
      return answer.promise;
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

/** Running, with nothing in its store; `claims` counts what it claims from here on. */
async function idle(options: { readonly queueMax?: number; readonly leaseMs?: number } = {}) {
  let claims = 0;
  const self = await bench({ store: withClaims(async () => void claims++), ...options });
  self.runner.start();
  // It has looked for what an earlier one left.
  await expect.poll(() => claims).toBe(1);
  claims = 0;
  return { ...self, self, claims: () => claims };
}

test("a new one that nothing waits before runs without a claim once it is written, under a lease", async () => {
  const { self, claims } = await idle({ leaseMs: 300 });
  const prediction = aPrediction();
  expect(await self.write(prediction)).toEqual({ kind: "inserted" });
  expect(await self.read(prediction)).toMatchObject({ status: "started", revision: 2, attempt: 1 });
  expect(self.runner.stored()).toBe(0);
  await expect.poll(() => self.jobs.length).toBe(1);
  // The lease is renewed: the runner looks once a second for what it may claim.
  await delay(1500);
  self.jobs[0]?.end.resolve(RESULT);
  await expect.poll(async () => (await self.read(prediction))?.status).toBe("succeeded");
  expect(await self.read(prediction)).toMatchObject({ revision: 3, attempt: 1 });
  expect(claims()).toBe(0);
});

test("where there is no room, or a webhook is told of each state, a new one waits for its claim", async () => {
  const { self, claims } = await idle();
  self.room = 0;
  const [waiting, behind, told] = [aPrediction(), aPrediction(), aPrediction()];
  await self.write(waiting);
  expect(await self.read(waiting)).toMatchObject({ status: "pending", revision: 1 });
  self.room = 10;
  await self.write(behind);
  await expect.poll(() => self.jobs.length).toBe(2);
  expect(claims()).toBeGreaterThan(0);
  const before = claims();
  await self.write(told, [aDelivery(told)]);
  await expect.poll(() => self.jobs.length).toBe(3);
  expect(claims()).toBeGreaterThan(before);
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

test("one that is canceled between its write and its run is not settled again", async () => {
  const { self, store } = await idle();
  const prediction = aPrediction();
  await self.write(prediction);
  const read = await self.read(prediction);
  if (!read) throw new Error("it is not there");
  const next: Prediction = { ...read, ...CANCELLATION, revision: 3 };
  const guard = { kind: "revision", revision: 2 } as const;
  expect(await store.predictions.transition({ next, guard, deliveries: [] })).toBe(true);
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
