import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createIdMinter, type PredictionId } from "../../src/domain/id.ts";
import { EMPTY_PAYLOAD } from "../../src/domain/payload.ts";
import type { Delivery, DeliveryState, NewDelivery } from "../../src/domain/webhook.ts";
import { createEgress, type OpenEgress } from "../../src/services/egress.ts";
import {
  createWebhookDispatcher,
  type WebhookDispatcher,
  type WebhookOptions,
} from "../../src/services/webhook.ts";
import { CIRCUIT_PAUSE, PARALLEL_PER_ENDPOINT } from "../../src/services/webhook-endpoint.ts";
import { GIVE_UP_AFTER, JITTER, RETRY_DELAYS } from "../../src/services/webhook-schedule.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { DeliveryStore, Store } from "../../src/store/store.ts";
import { type HttpListener, listen, type Received } from "./http-listener.ts";

const SECOND = 1_000_000;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const mint = createIdMinter((bytes) => crypto.getRandomValues(bytes));

/** Time that stands still until the test moves it: days of retries pass at once, and nothing depends on sleeping. */
function createClock() {
  let us = Date.now() * 1000;
  const sleepers = new Set<{ readonly until: number; readonly rise: () => void }>();
  return {
    now: () => us,
    sleep: (ms: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        const sleeper = {
          until: us + ms * 1000,
          rise: () => {
            sleepers.delete(sleeper);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal.addEventListener("abort", sleeper.rise, { once: true });
        if (signal.aborted) sleeper.rise();
      }),
    asleep: () => sleepers.size > 0,
    advanceTo: (time: number) => {
      us = Math.max(us, Math.ceil(time));
      for (const sleeper of [...sleepers]) if (sleeper.until <= us) sleeper.rise();
    },
  };
}

const closers: (() => Promise<unknown>)[] = [];
const predicted: PredictionId[] = [];
let dataDir: string;
let store: Store;
let egress: OpenEgress;
let clock: ReturnType<typeof createClock>;
const logged: {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}[] = [];
const logAs = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
  logged.push({ level, message, fields });
};
const log = { info: logAs("info"), warn: logAs("warn"), error: logAs("error") };

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "auspex-webhook-"));
  store = await openStore({ dataDir, queueMax: 10_000 });
});
afterAll(async () => {
  await store.close();
  await rm(dataDir, { recursive: true, force: true });
});
beforeEach(() => {
  egress = createEgress({ allow: ["127.0.0.1"] });
  closers.push(() => egress.close());
  clock = createClock();
  logged.length = 0;
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  // Nothing is left over for the next test's dispatcher.
  for (const id of predicted.splice(0)) {
    for (const delivery of await store.deliveries.list("local", id)) {
      await store.deliveries.record({
        id: delivery.id,
        state: { kind: "abandoned", attempts: 0, reason: "over" },
      });
    }
  }
});

async function listener(...args: Parameters<typeof listen>): Promise<HttpListener> {
  const started = await listen(...args);
  closers.push(() => started[Symbol.asyncDispose]());
  return started;
}

function start(options: Partial<WebhookOptions> = {}): WebhookDispatcher {
  const dispatcher = createWebhookDispatcher({
    deliveries: store.deliveries,
    egress,
    log,
    now: clock.now,
    wall: clock.now,
    sleep: clock.sleep,
    random: Math.random,
    ...options,
  });
  closers.push(() => dispatcher.close());
  dispatcher.start();
  return dispatcher;
}

function event(
  predictionId: string,
  revision: number,
  url: string,
  rest: Partial<NewDelivery> = {},
): NewDelivery {
  return {
    id: `msg_${predictionId}_${revision}`,
    predictionId,
    principal: "local",
    revision,
    url,
    secret: SECRET,
    format: "auspex",
    body: JSON.stringify({ id: predictionId, revision }),
    terminal: false,
    createdAt: clock.now(),
    ...rest,
  };
}

/** Stores a finished prediction, as deliveries belong to one, with events of these revisions. */
async function predict(
  url: string,
  revisions: readonly number[],
  rest: Partial<NewDelivery> = {},
): Promise<string> {
  const id = mint(clock.now() / 1000) as PredictionId;
  predicted.push(id);
  const at = clock.now();
  await store.predictions.insert({
    prediction: {
      id,
      principal: "local",
      model: "local/mlp",
      version: 1,
      status: "canceled",
      revision: 9,
      attempt: 0,
      deaths: 0,
      input: EMPTY_PAYLOAD,
      output: null,
      error: null,
      createdAt: at,
      updatedAt: at,
      startedAt: null,
      endedAt: at,
      setupTime: null,
      executionTime: null,
      deadlineAt: null,
      requestId: "",
      requestHash: "",
      webhook: null,
    },
    lease: null,
    deliveries: revisions.map((revision) => event(id, revision, url, rest)),
    images: [],
  });
  return id;
}

async function stateOf(predictionId: string, revision = 1): Promise<DeliveryState | undefined> {
  const all: Delivery[] = await store.deliveries.list("local", predictionId as PredictionId);
  return all.find((delivery) => delivery.revision === revision)?.state;
}

/** Waits until an event's state is of this kind after so many attempts. */
async function settled(predictionId: string, kind: DeliveryState["kind"], attempts: number, revision = 1) {
  await expect
    .poll(() => stateOf(predictionId, revision), { timeout: 10_000 })
    .toMatchObject({ kind, attempts });
  const state = await stateOf(predictionId, revision);
  if (!state) throw new Error("the event is gone");
  return state;
}

/** Moves the clock once the dispatcher has nothing to do and sleeps, so that it sees the move. */
async function advanceTo(dispatcher: WebhookDispatcher, time: number): Promise<void> {
  await expect.poll(() => dispatcher.stats().running === 0 && clock.asleep()).toBe(true);
  // It sleeps for whole milliseconds.
  clock.advanceTo(time + 1000);
}

function nextAt(state: DeliveryState): number {
  if (state.kind !== "due") throw new Error(`the event is not due but ${state.kind}`);
  return state.nextAt;
}

const idsOf = (received: readonly Received[]) => received.map(({ headers }) => headers["webhook-id"]);

describe("an event", () => {
  test("is posted as JSON, named and signed", async () => {
    const target = await listener();
    const dispatcher = start();
    const id = await predict(`${target.origin}/hook?key=1`, [1], {
      format: "wriftai",
      body: '{"status":"succeeded"}',
    });
    dispatcher.wake();
    await settled(id, "delivered", 1);
    const [got] = target.received;
    expect(got).toMatchObject({ method: "POST", path: "/hook?key=1", body: '{"status":"succeeded"}' });
    expect(got?.headers).toMatchObject({ "content-type": "application/json", "webhook-id": `msg_${id}_1` });
    expect(got?.headers["user-agent"]).toMatch(/^auspex\/\d/);
    expect(got?.headers["wriftai-webhook-signature"]).toMatch(/^t=\d+,v1=[0-9a-f]{64}$/);
    expect(new Webhook(SECRET).verify(got?.body ?? "", got?.headers as Record<string, string>)).toEqual({
      status: "succeeded",
    });
    expect(dispatcher.stats()).toMatchObject({ delivered: 1, failedAttempts: 0, running: 0 });
  });

  test("that was written before the start is delivered without a wake", async () => {
    const target = await listener();
    const id = await predict(target.origin, [1]);
    start();
    await settled(id, "delivered", 1);
  });

  test("is posted in the order of the prediction's revisions, one at a time", async () => {
    const held: (() => void)[] = [];
    const target = await listener((response) => held.push(() => response.end()));
    const id = await predict(target.origin, [1, 2, 3]);
    start();
    for (const revision of [1, 2, 3]) {
      await expect.poll(() => held.length).toBe(revision);
      expect(idsOf(target.received)).toEqual([1, 2, 3].slice(0, revision).map((r) => `msg_${id}_${r}`));
      held.at(-1)?.();
    }
    await settled(id, "delivered", 1, 3);
  });

  test("that failed gives way to a later one, which is not held back", async () => {
    const target = await listener((response, { body }) => {
      response.writeHead(JSON.parse(body).revision === 1 ? 500 : 200).end();
    });
    const dispatcher = start();
    const id = await predict(target.origin, [1]);
    dispatcher.wake();
    await settled(id, "due", 1);
    await store.deliveries.insert([event(id, 2, target.origin, { terminal: true })]);
    dispatcher.wake();
    await settled(id, "delivered", 1, 2);
    expect(await stateOf(id, 1)).toEqual({ kind: "abandoned", attempts: 1, reason: "superseded" });
    expect(target.received).toHaveLength(2);
  });
});

test("while nothing is to be done the store is left alone, however much runs or waits", async () => {
  const silent = await listener(() => {});
  const target = await listener((response) => response.writeHead(500).end());
  let asked = 0;
  const deliveries: DeliveryStore = {
    ...store.deliveries,
    takeDue: (args) => {
      asked += 1;
      return store.deliveries.takeDue(args);
    },
  };
  const waiting = await predict(target.origin, [1], { terminal: true });
  await predict(silent.origin, [1, 2], { terminal: true });
  const dispatcher = start({ deliveries });
  await settled(waiting, "due", 1);
  await expect.poll(() => clock.asleep() && dispatcher.stats().running === 1).toBe(true);
  const before = asked;
  expect(before).toBeLessThanOrEqual(4);
  // Asleep until the failed one is due again, not a moment less.
  clock.advanceTo(clock.now() + 4 * SECOND);
  expect(clock.asleep()).toBe(true);
  expect(asked).toBe(before);
});

describe("F12 an endpoint that fails", () => {
  test("F12 is tried again on schedule, with jitter and one id, until it is back", async () => {
    let status = 500;
    const target = await listener((response) => response.writeHead(status).end());
    const dispatcher = start();
    const id = await predict(target.origin, [1], { terminal: true });
    dispatcher.wake();
    const shares = new Set<number>();
    for (const [i, delay] of RETRY_DELAYS.slice(0, 6).entries()) {
      const state = await settled(id, "due", i + 1);
      const wait = nextAt(state) - clock.now();
      expect(wait).toBeGreaterThanOrEqual(delay);
      expect(wait).toBeLessThanOrEqual(delay * (1 + JITTER));
      shares.add(wait / delay);
      expect(target.received).toHaveLength(i + 1);
      if (i === 5) status = 200;
      await advanceTo(dispatcher, nextAt(state));
    }
    await settled(id, "delivered", 7);
    expect(shares.size).toBe(6);
    expect(new Set(idsOf(target.received))).toEqual(new Set([`msg_${id}_1`]));
    // Each attempt is signed anew, with its own time.
    expect(new Set(target.received.map(({ headers }) => headers["webhook-timestamp"])).size).toBe(7);
    expect(dispatcher.stats()).toMatchObject({ delivered: 1, failedAttempts: 6, abandoned: 0 });
  });

  test("F12 is given up after three days, visibly", async () => {
    const target = await listener((response) => response.writeHead(500).end());
    const dispatcher = start();
    const createdAt = clock.now();
    const id = await predict(`${target.origin}/path?secret`, [1], { terminal: true });
    dispatcher.wake();
    for (let attempts = 1; attempts <= RETRY_DELAYS.length; attempts += 1) {
      await advanceTo(dispatcher, nextAt(await settled(id, "due", attempts)));
    }
    const attempts = RETRY_DELAYS.length + 1;
    const reason = `given up after ${attempts} attempts: the endpoint answered 500`;
    expect(await settled(id, "abandoned", attempts)).toEqual({ kind: "abandoned", attempts, reason });
    expect(target.received).toHaveLength(attempts);
    expect(clock.now() - createdAt).toBeGreaterThan(GIVE_UP_AFTER * 0.95);
    expect(clock.now() - createdAt).toBeLessThanOrEqual(GIVE_UP_AFTER + 1000);
    expect(logged.at(-1)).toEqual({
      level: "warn",
      message: "a webhook event was given up",
      fields: { id: `msg_${id}_1`, predictionId: id, endpoint: target.origin, attempts, reason },
    });
    expect(dispatcher.stats()).toMatchObject({ abandoned: 1 });
  });

  test("F12 opens its circuit: nothing but a probe is sent, and all is delivered on its return", async () => {
    let status = 500;
    const target = await listener((response) => response.writeHead(status).end());
    const dispatcher = start();
    const ids: string[] = [];
    for (let i = 0; i < 20; i += 1) ids.push(await predict(target.origin, [1], { terminal: true }));
    dispatcher.wake();
    const quiet = () => expect.poll(() => dispatcher.stats().running).toBe(0);
    await expect.poll(() => dispatcher.stats().openCircuits).toBe(1);
    await quiet();
    const before = target.received.length;
    expect(before).toBeLessThanOrEqual(PARALLEL_PER_ENDPOINT);
    // The pause is over: one probe, though the others are due as well.
    await advanceTo(dispatcher, clock.now() + CIRCUIT_PAUSE + SECOND);
    await expect.poll(() => target.received.length).toBe(before + 1);
    await quiet();
    expect(target.received).toHaveLength(before + 1);
    expect(dispatcher.stats().openCircuits).toBe(1);

    status = 200;
    await expect
      .poll(
        () => {
          clock.advanceTo(clock.now() + 30 * SECOND);
          return dispatcher.stats().delivered;
        },
        { timeout: 20_000 },
      )
      .toBe(20);
    expect(new Set(idsOf(target.received))).toEqual(new Set(ids.map((id) => `msg_${id}_1`)));
    expect(dispatcher.stats()).toMatchObject({ abandoned: 0, openCircuits: 0, running: 0 });
  });

  test("F12 a silent endpoint takes so many slots at most, and holds nobody else back", async () => {
    let open = 0;
    let openMost = 0;
    const silent = await listener((response) => {
      open += 1;
      openMost = Math.max(openMost, open);
      response.on("close", () => {
        open -= 1;
      });
    });
    const healthy = await listener();
    const dispatcher = start({ attemptTimeoutMs: 500 });
    for (let i = 0; i < 100; i += 1) await predict(silent.origin, [1], { terminal: true });
    const id = await predict(healthy.origin, [1], { terminal: true });
    dispatcher.wake();
    await settled(id, "delivered", 1);
    expect(open).toBe(PARALLEL_PER_ENDPOINT);
    await expect.poll(() => dispatcher.stats().openCircuits).toBe(1);
    expect(openMost).toBe(PARALLEL_PER_ENDPOINT);
    await expect.poll(() => logged[0]?.fields.reason).toMatch(/did not answer in full within 500 ms$/);
  });

  test("F12 events too old to wait for a closed circuit are given up, tried or not", async () => {
    const target = await listener((response) => response.writeHead(500).end());
    const dispatcher = start();
    const createdAt = clock.now() - GIVE_UP_AFTER;
    const ids = [];
    for (let i = 0; i < 20; i += 1)
      ids.push(await predict(target.origin, [1], { terminal: true, createdAt }));
    dispatcher.wake();
    await expect
      .poll(() => {
        clock.advanceTo(clock.now() + SECOND);
        return dispatcher.stats().abandoned;
      })
      .toBe(20);
    expect(target.received.length).toBeLessThan(20);
    for (const id of ids) {
      const state = await stateOf(id);
      expect(state).toMatchObject({
        kind: "abandoned",
        reason: expect.stringMatching(/given up after [01] attempts?/),
      });
    }
  });
});

describe("F13 an endpoint that answers", () => {
  test("F13 410: given up at once", async () => {
    const target = await listener((response) => response.writeHead(410).end());
    const id = await predict(target.origin, [1], { terminal: true });
    start();
    expect(await settled(id, "abandoned", 1)).toMatchObject({
      reason: "the endpoint answered 410, it is gone",
    });
    expect(target.received).toHaveLength(1);
  });

  test("F13 301: a failure, not followed", async () => {
    const elsewhere = await listener();
    const target = await listener((response) =>
      response.writeHead(301, { location: elsewhere.origin }).end(),
    );
    const dispatcher = start();
    const id = await predict(target.origin, [1], { terminal: true });
    dispatcher.wake();
    await settled(id, "due", 1);
    expect(logged.at(-1)?.fields.reason).toBe("the endpoint answered 301; redirects are not followed");
    expect(elsewhere.connections()).toBe(0);
  });

  test.each([429, 503])(
    "F13 %d with Retry-After: left alone until then, other events too",
    async (status) => {
      let answer = status;
      const target = await listener((response) =>
        response.writeHead(answer, { "retry-after": "3600" }).end(),
      );
      const dispatcher = start();
      const first = await predict(target.origin, [1], { terminal: true });
      dispatcher.wake();
      expect(nextAt(await settled(first, "due", 1))).toBe(clock.now() + 3600 * SECOND);
      const second = await predict(target.origin, [1], { terminal: true });
      dispatcher.wake();
      await expect
        .poll(async () => nextAt((await stateOf(second)) as DeliveryState))
        .toBeGreaterThan(clock.now());
      expect(target.received).toHaveLength(1);
      answer = 200;
      await advanceTo(dispatcher, clock.now() + 3660 * SECOND);
      await settled(first, "delivered", 2);
      await settled(second, "delivered", 1);
    },
  );

  test("F13 slowly, byte by byte: cut at the timeout, and tried again", async () => {
    const drips: NodeJS.Timeout[] = [];
    const target = await listener((response) => {
      response.writeHead(200);
      drips.push(setInterval(() => response.write("x"), 10));
    });
    const dispatcher = start({ attemptTimeoutMs: 200 });
    const id = await predict(target.origin, [1], { terminal: true });
    dispatcher.wake();
    await settled(id, "due", 1);
    for (const drip of drips) clearInterval(drip);
    expect(logged.at(-1)?.fields.reason).toMatch(/did not answer in full within 200 ms$/);
  });

  test("F13 with a huge body: delivered, and little of it read", async () => {
    let sent = 0;
    const target = await listener((response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const pump = () => {
        while (!response.destroyed && sent < 2 ** 30) {
          sent += chunk.length;
          if (!response.write(chunk)) return void response.once("drain", pump);
        }
      };
      pump();
    });
    const dispatcher = start();
    const id = await predict(target.origin, [1], { terminal: true });
    dispatcher.wake();
    await settled(id, "delivered", 1);
    expect(sent).toBeLessThan(32 * 2 ** 20);
  });
});

test("F15 an address that is not allowed is given up at once, and nothing is sent to it", async () => {
  const trap = await listener(undefined, { host: "::1" });
  const dispatcher = start();
  for (const url of [trap.origin, `http://0.0.0.0:${trap.port}/`, "http://169.254.169.254/latest"]) {
    const id = await predict(url, [1], { terminal: true });
    dispatcher.wake();
    expect(await settled(id, "abandoned", 1)).toMatchObject({
      reason: expect.stringMatching(/not a public address/),
    });
  }
  expect(trap.connections()).toBe(0);
  expect(logged.map(({ level }) => level)).toEqual(["warn", "warn", "warn"]);
});

describe("F14 delivered at least once, under one id", () => {
  test("F14 when the server dies between the post and its record", async () => {
    const target = await listener();
    const dying: DeliveryStore = { ...store.deliveries, record: () => new Promise(() => {}) };
    const dead = createWebhookDispatcher({
      deliveries: dying,
      egress,
      log,
      now: clock.now,
      wall: clock.now,
      sleep: clock.sleep,
      random: Math.random,
    });
    dead.start();
    const id = await predict(target.origin, [1], { terminal: true });
    dead.wake();
    await expect.poll(() => target.received.length).toBe(1);
    await store.close();
    store = await openStore({ dataDir, queueMax: 10_000 });
    start();
    await settled(id, "delivered", 1);
    expect(idsOf(target.received)).toEqual([`msg_${id}_1`, `msg_${id}_1`]);
  });

  test("F14 when it is stopped while the endpoint is silent", async () => {
    let silent = true;
    const target = await listener((response) => {
      if (!silent) response.end();
    });
    const dispatcher = start();
    const id = await predict(target.origin, [1], { terminal: true });
    dispatcher.wake();
    await expect.poll(() => target.received.length).toBe(1);
    let closed = false;
    void dispatcher.close().then(() => {
      closed = true;
    });
    await expect
      .poll(() => {
        clock.advanceTo(clock.now() + SECOND);
        return closed;
      })
      .toBe(true);
    expect(await stateOf(id)).toMatchObject({ kind: "due", attempts: 0 });
    silent = false;
    await store.close();
    store = await openStore({ dataDir, queueMax: 10_000 });
    start();
    await settled(id, "delivered", 1);
    expect(idsOf(target.received)).toEqual([`msg_${id}_1`, `msg_${id}_1`]);
  });

  test("a running attempt that ends within the grace is recorded before close is done", async () => {
    const held: (() => void)[] = [];
    const target = await listener((response) => held.push(() => response.end()));
    const dispatcher = start();
    const id = await predict(target.origin, [1], { terminal: true });
    dispatcher.wake();
    await expect.poll(() => held.length).toBe(1);
    const closed = dispatcher.close();
    held[0]?.();
    await closed;
    expect(await stateOf(id)).toEqual({ kind: "delivered", attempts: 1 });
  });
});

describe("a store in trouble", () => {
  test("an attempt whose record fails is recorded later, not made again", async () => {
    const target = await listener();
    let failures = 3;
    const deliveries: DeliveryStore = {
      ...store.deliveries,
      record: async (args) => {
        if (failures-- > 0) throw new Error("disk full");
        await store.deliveries.record(args);
      },
    };
    const dispatcher = start({ deliveries });
    const id = await predict(target.origin, [1], { terminal: true });
    dispatcher.wake();
    await expect
      .poll(() => {
        clock.advanceTo(clock.now() + SECOND);
        return stateOf(id);
      })
      .toEqual({ kind: "delivered", attempts: 1 });
    expect(target.received).toHaveLength(1);
    expect(logged.filter(({ level }) => level === "error")).toHaveLength(3);
  });

  test("deliveries that cannot be taken are taken later", async () => {
    const target = await listener();
    let failures = 3;
    const deliveries: DeliveryStore = {
      ...store.deliveries,
      takeDue: async (args) => {
        if (failures-- > 0) throw new Error("disk gone");
        return store.deliveries.takeDue(args);
      },
    };
    const id = await predict(target.origin, [1], { terminal: true });
    start({ deliveries });
    await expect
      .poll(() => {
        clock.advanceTo(clock.now() + SECOND);
        return stateOf(id);
      })
      .toEqual({ kind: "delivered", attempts: 1 });
    expect(logged.filter(({ level }) => level === "error")).toHaveLength(3);
  });
});

test("a burst of events to one endpoint flows through its slots, each delivered once", async () => {
  let open = 0;
  let openMost = 0;
  const target = await listener((response) => {
    open += 1;
    openMost = Math.max(openMost, open);
    setImmediate(() => {
      open -= 1;
      response.end();
    });
  });
  const ids = await Promise.all(Array.from({ length: 300 }, () => predict(target.origin, [1, 2, 3])));
  const dispatcher = createWebhookDispatcher({
    deliveries: store.deliveries,
    egress,
    log,
    random: Math.random,
    now: () => Date.now() * 1000,
    wall: () => Date.now() * 1000,
  });
  closers.push(() => dispatcher.close());
  dispatcher.start();
  await expect.poll(() => dispatcher.stats().delivered, { timeout: 30_000 }).toBe(900);
  expect(openMost).toBeLessThanOrEqual(PARALLEL_PER_ENDPOINT);
  expect(target.received).toHaveLength(900);
  for (const id of ids) {
    const mine = idsOf(target.received).filter((name) => name?.includes(id));
    expect(mine).toEqual([1, 2, 3].map((revision) => `msg_${id}_${revision}`));
  }
});
