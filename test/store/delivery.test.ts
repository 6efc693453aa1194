import { expect, test } from "vitest";
import type { Prediction } from "../../src/domain/prediction.ts";
import type { Delivery, DeliveryState } from "../../src/domain/webhook.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aDelivery, aPrediction, insert, tempFolder, tempStore } from "./temp-store.ts";

/** A prediction with events of the given revisions, each due from its own time on. */
async function withEvents(store: Store, dueAt: Readonly<Record<number, number>>): Promise<Prediction> {
  const prediction = aPrediction();
  const deliveries = Object.entries(dueAt).map(([revision, createdAt]) =>
    aDelivery(prediction, { revision: Number(revision), createdAt }),
  );
  await insert(store, prediction, { deliveries });
  return prediction;
}

function message(prediction: Prediction, revision: number): string {
  return `msg_${prediction.id}_${revision}`;
}

async function take(store: Store, now: number, limit = 10): Promise<string[]> {
  return (await store.deliveries.takeDue({ now, limit })).map(({ id }) => id);
}

async function states(store: Store, { id }: Prediction): Promise<DeliveryState[]> {
  return (await store.deliveries.list("alice", id)).map(({ state }) => state);
}

const failed = (attempts: number, nextAt: number): DeliveryState => ({ kind: "due", attempts, nextAt });
const delivered: DeliveryState = { kind: "delivered", attempts: 1 };

test("a delivery is due at once, taken as it was written, and seen by its principal alone", async () => {
  const store = await tempStore();
  const prediction = aPrediction();
  const event = aDelivery(prediction, { secret: "s", format: "wriftai", terminal: true });
  await insert(store, prediction, { deliveries: [event] });
  const expected: Delivery = { ...event, state: failed(0, 1_000) };
  expect(await store.deliveries.nextDueAt()).toBe(1_000);
  expect(await store.deliveries.takeDue({ now: 999, limit: 10 })).toEqual([]);
  expect(await store.deliveries.takeDue({ now: 1_000, limit: 10 })).toEqual([expected]);
  expect(await store.deliveries.list("alice", prediction.id)).toEqual([expected]);
  expect(await store.deliveries.list("bob", prediction.id)).toEqual([]);
});

test("what is under way is not taken again until it is recorded", async () => {
  const store = await tempStore();
  const prediction = await withEvents(store, { 1: 10 });
  const takes = await Promise.all([take(store, 10), take(store, 10), take(store, 10)]);
  expect(takes.flat()).toEqual([message(prediction, 1)]);
  await store.deliveries.record({ id: message(prediction, 1), state: failed(1, 500) });
  expect(await store.deliveries.nextDueAt()).toBe(500);
  expect(await take(store, 499)).toEqual([]);
  expect(await take(store, 500)).toEqual([message(prediction, 1)]);
  await store.deliveries.record({ id: message(prediction, 1), state: delivered });
  expect(await states(store, prediction)).toEqual([delivered]);
  expect(await store.deliveries.nextDueAt()).toBeUndefined();
  expect(await take(store, 9_999)).toEqual([]);
});

test("one that was taken and never recorded is due again after two minutes", async () => {
  const store = await tempStore();
  const prediction = await withEvents(store, { 1: 10, 2: 20 });
  expect(await take(store, 30)).toEqual([message(prediction, 1)]);
  const lostAt = 30 + 120_000_000;
  expect(await store.deliveries.nextDueAt()).toBe(lostAt);
  expect(await take(store, lostAt - 1)).toEqual([]);
  expect(await take(store, lostAt)).toEqual([message(prediction, 1)]);
});

test("a server that starts takes at once what an earlier one left under way", async () => {
  const dataDir = tempFolder();
  const first = await openStore({ dataDir, queueMax: 10 });
  const prediction = await withEvents(first, { 1: 10 });
  expect(await take(first, 10)).toEqual([message(prediction, 1)]);
  await first.close();
  const second = await tempStore({ dataDir });
  expect(await take(second, 11)).toEqual([message(prediction, 1)]);
});

test("the events of a prediction go one by one, by revision, and others' do not wait for them", async () => {
  const store = await tempStore();
  // Its later event became due first, by a clock that was set back.
  const one = await withEvents(store, { 1: 30, 2: 10 });
  const other = await withEvents(store, { 1: 20 });
  expect(await take(store, 15)).toEqual([]);
  expect(await take(store, 40)).toEqual([message(other, 1), message(one, 1)]);
  // Nothing is due before the one that is under way is recorded: no busy waiting.
  expect(await store.deliveries.nextDueAt()).toBe(40 + 120_000_000);
  expect(await take(store, 50)).toEqual([]);
  await store.deliveries.record({ id: message(one, 1), state: delivered });
  expect(await store.deliveries.nextDueAt()).toBe(10);
  expect(await take(store, 50)).toEqual([message(one, 2)]);
});

test("one that failed gives way to a later one that is due, and only then", async () => {
  const store = await tempStore();
  const prediction = await withEvents(store, { 1: 10, 2: 1_000 });
  expect(await take(store, 10)).toEqual([message(prediction, 1)]);
  await store.deliveries.record({ id: message(prediction, 1), state: failed(1, 100) });
  // The later one is not due yet: the earlier one is tried again.
  expect(await take(store, 999)).toEqual([message(prediction, 1)]);
  // It is under way: the later one waits, although it is due now.
  expect(await take(store, 1_000)).toEqual([]);
  await store.deliveries.record({ id: message(prediction, 1), state: failed(2, 5_000) });
  expect(await take(store, 1_000)).toEqual([message(prediction, 2)]);
  expect(await states(store, prediction)).toEqual([
    { kind: "abandoned", attempts: 2, reason: "superseded" },
    failed(0, 1_000),
  ]);
  // What is abandoned stays so.
  await store.deliveries.record({ id: message(prediction, 1), state: delivered });
  expect((await states(store, prediction))[0]?.kind).toBe("abandoned");
});

test("one that failed and is due itself gives way as well, and all before it", async () => {
  const store = await tempStore();
  const prediction = await withEvents(store, { 1: 10, 2: 20, 3: 2_000 });
  for (const revision of [1, 2]) {
    expect(await take(store, 20 + revision)).toEqual([message(prediction, revision)]);
    await store.deliveries.record({ id: message(prediction, revision), state: failed(1, 1_000) });
  }
  expect(await take(store, 3_000)).toEqual([message(prediction, 3)]);
  expect((await states(store, prediction)).map(({ kind }) => kind)).toEqual([
    "abandoned",
    "abandoned",
    "due",
  ]);
});

test("a terminal event is never superseded", async () => {
  const store = await tempStore();
  const prediction = aPrediction();
  const deliveries = [aDelivery(prediction, { terminal: true }), aDelivery(prediction, { revision: 2 })];
  await insert(store, prediction, { deliveries });
  expect(await take(store, 1_000)).toEqual([message(prediction, 1)]);
  await store.deliveries.record({ id: message(prediction, 1), state: failed(1, 2_000) });
  expect(await take(store, 2_000)).toEqual([message(prediction, 1)]);
});

test("a take is bounded and begins with what is due longest", async () => {
  const store = await tempStore();
  const predictions = [];
  for (const dueAt of [30, 10, 20]) predictions.push(await withEvents(store, { 1: dueAt }));
  const [thirty, ten, twenty] = predictions.map((prediction) => message(prediction, 1));
  expect(await take(store, 100, 2)).toEqual([ten, twenty]);
  expect(await take(store, 100, 2)).toEqual([thirty]);
});

test("an event that exists is left alone when it is written again", async () => {
  const store = await tempStore();
  const prediction = await withEvents(store, { 1: 10 });
  await store.deliveries.record({ id: message(prediction, 1), state: delivered });
  await store.deliveries.insert([
    aDelivery(prediction),
    aDelivery(prediction, { revision: 2, createdAt: 20 }),
  ]);
  await store.deliveries.insert([]);
  expect(await states(store, prediction)).toEqual([delivered, failed(0, 20)]);
});
