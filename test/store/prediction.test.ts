import { expect, test } from "vitest";
import type { Prediction } from "../../src/domain/prediction.ts";
import {
  aDelivery,
  anImage,
  aPrediction,
  CANCELLATION,
  FAILURE,
  insert,
  newId,
  SUCCESS,
  tempStore,
} from "./temp-store.ts";

test("a prediction comes back as it was written, whatever its status", async () => {
  const store = await tempStore();
  const tensors = {
    x: { dtype: "float32", shape: [1, 2], data: new Uint8Array(8).fill(7) },
    __proto__x: { dtype: "bool", shape: [], data: new Uint8Array([1]) },
  } as const;
  const written: Prediction[] = [
    aPrediction(),
    aPrediction({ status: "started", startedAt: 2_000, attempt: 1 }),
    aPrediction({ ...FAILURE, deaths: 2 }),
    aPrediction(CANCELLATION),
    aPrediction({
      ...SUCCESS,
      input: { json: { text: "Grüße", nested: [{ deep: null }] }, tensors },
      output: { json: {}, tensors },
      startedAt: 2_000,
      setupTime: 5,
      executionTime: 6,
      deadlineAt: 1_700_000_000_000_000,
      requestId: "r-1",
      requestHash: "ab",
      webhook: { url: "https://hooks.example/", secret: "s", format: "wriftai" },
    }),
  ];
  for (const prediction of written) {
    const lease = prediction.status === "started" ? { token: "t", expiresAt: 3_000 } : null;
    expect(await insert(store, prediction, { lease })).toEqual({ kind: "inserted" });
    expect(await store.predictions.get("alice", prediction.id)).toEqual(prediction);
  }
});

test("another principal's prediction is an unknown one", async () => {
  const store = await tempStore();
  const prediction = aPrediction();
  await insert(store, prediction);
  expect(await store.predictions.get("bob", prediction.id)).toBeUndefined();
  expect(await store.predictions.get("alice", newId())).toBeUndefined();
});

test("a row, its deliveries and its images are written together or not at all", async () => {
  const store = await tempStore();
  const first = aPrediction();
  const image = anImage({ predictionId: first.id });
  await insert(store, first, { deliveries: [aDelivery(first)], images: [image] });
  expect(await store.images.get("alice", image.id)).toEqual(image);
  expect(await store.deliveries.list("alice", first.id)).toHaveLength(1);

  // Its image's id is taken, after the row and its delivery went in.
  const second = aPrediction();
  await expect(
    insert(store, second, {
      deliveries: [aDelivery(second)],
      images: [{ ...image, predictionId: second.id }],
    }),
  ).rejects.toThrow("an operation of the store failed");
  expect(await store.predictions.get("alice", second.id)).toBeUndefined();
  expect(await store.deliveries.list("alice", second.id)).toEqual([]);
  expect(store.predictions.unfinished()).toBe(1);
});

test("an id is never written twice", async () => {
  const store = await tempStore();
  const prediction = aPrediction();
  await insert(store, prediction);
  await expect(insert(store, { ...prediction, model: "x/y" })).rejects.toThrow();
  expect(await store.predictions.get("alice", prediction.id)).toEqual(prediction);
});

test("a request id is its principal's, and its repetition gets the first prediction (I4)", async () => {
  const store = await tempStore();
  const first = aPrediction({ requestId: "r", requestHash: "h1" });
  await insert(store, first, { deliveries: [aDelivery(first)] });
  const again = aPrediction({ requestId: "r", requestHash: "h2" });
  expect(await insert(store, again, { deliveries: [aDelivery(again)] })).toEqual({
    kind: "duplicate",
    existing: first,
  });
  expect(await store.predictions.get("alice", again.id)).toBeUndefined();
  expect(await store.deliveries.list("alice", again.id)).toEqual([]);
  const others = [aPrediction({ requestId: "r", principal: "bob" }), aPrediction(), aPrediction()];
  for (const other of others) expect(await insert(store, other)).toEqual({ kind: "inserted" });
});

test("of equal requests at once, one is written", async () => {
  const store = await tempStore();
  const candidates = Array.from({ length: 20 }, () => aPrediction({ requestId: "r" }));
  const results = await Promise.all(candidates.map((prediction) => insert(store, prediction)));
  const [winner] = candidates;
  expect(results[0]).toEqual({ kind: "inserted" });
  expect(results.slice(1)).toEqual(Array(19).fill({ kind: "duplicate", existing: winner }));
  expect(store.predictions.unfinished()).toBe(1);
});

test("the queue takes exactly as many unfinished predictions as it holds", async () => {
  const store = await tempStore({ queueMax: 3 });
  const [first] = [aPrediction({ requestId: "r" })];
  const results = await Promise.all([
    insert(store, first),
    insert(store, aPrediction()),
    insert(store, aPrediction()),
    insert(store, aPrediction()),
  ]);
  expect(results.map(({ kind }) => kind)).toEqual(["inserted", "inserted", "inserted", "full"]);
  expect(store.predictions.unfinished()).toBe(3);

  // A finished one takes no place, and a repeated request has its place already.
  expect(await insert(store, aPrediction(SUCCESS))).toEqual({ kind: "inserted" });
  expect(await insert(store, aPrediction({ requestId: "r" }))).toEqual({
    kind: "duplicate",
    existing: first,
  });
  expect(await insert(store, aPrediction())).toEqual({ kind: "full" });

  const guard = { kind: "revision", revision: 1 } as const;
  await store.predictions.transition({ next: { ...first, ...FAILURE, revision: 2 }, guard, deliveries: [] });
  expect(store.predictions.unfinished()).toBe(2);
  expect(await insert(store, aPrediction())).toEqual({ kind: "inserted" });
  expect(await insert(store, aPrediction())).toEqual({ kind: "full" });
});

test("only the lease's holder settles, once, with its deliveries (I2, I5)", async () => {
  const store = await tempStore();
  const prediction = aPrediction();
  await insert(store, prediction);
  const [claimed] = await store.predictions.claim({ limit: 1, now: 2_000, leaseExpiresAt: 12_000 });
  if (!claimed) throw new Error("nothing was claimed");
  const next = { ...claimed.prediction, ...SUCCESS, revision: 3, executionTime: 40 };
  const deliveries = [aDelivery(next, { terminal: true })];
  const settle = (token: string) =>
    store.predictions.transition({ next, guard: { kind: "lease", token }, deliveries });

  expect(await settle("another")).toBe(false);
  expect(await store.deliveries.list("alice", prediction.id)).toEqual([]);
  const { token } = claimed.lease;
  expect(await Promise.all([settle(token), settle(token), settle(token)])).toEqual([true, false, false]);
  expect(await store.predictions.get("alice", prediction.id)).toEqual(next);
  expect(await store.deliveries.list("alice", prediction.id)).toHaveLength(1);
  expect(store.predictions.unfinished()).toBe(0);
});

test("of a cancel and a settle at once, the first wins", async () => {
  const store = await tempStore();
  for (const cancelFirst of [true, false]) {
    const prediction = aPrediction();
    await insert(store, prediction);
    const [claimed] = await store.predictions.claim({ limit: 1, now: 2_000, leaseExpiresAt: 12_000 });
    if (!claimed) throw new Error("nothing was claimed");
    const { revision } = claimed.prediction;
    const cancel = () =>
      store.predictions.transition({
        next: { ...claimed.prediction, ...CANCELLATION, revision: revision + 1 },
        guard: { kind: "revision", revision },
        deliveries: [],
      });
    const settle = () =>
      store.predictions.transition({
        next: { ...claimed.prediction, ...SUCCESS, revision: revision + 1 },
        guard: { kind: "lease", token: claimed.lease.token },
        deliveries: [],
      });
    const order = cancelFirst ? [cancel, settle] : [settle, cancel];
    expect(await Promise.all(order.map((each) => each()))).toEqual([true, false]);
    const stored = await store.predictions.get("alice", prediction.id);
    expect(stored?.status).toBe(cancelFirst ? "canceled" : "succeeded");
  }
  expect(store.predictions.unfinished()).toBe(0);
});

test("a transition that does not end it keeps the lease", async () => {
  const store = await tempStore();
  await insert(store, aPrediction());
  const [claimed] = await store.predictions.claim({ limit: 1, now: 2_000, leaseExpiresAt: 12_000 });
  if (!claimed) throw new Error("nothing was claimed");
  const guard = { kind: "lease", token: claimed.lease.token } as const;
  const died = { ...claimed.prediction, revision: 3, attempt: 2, deaths: 1 };
  expect(await store.predictions.transition({ next: died, guard, deliveries: [] })).toBe(true);
  expect(await store.predictions.nextClaimAt()).toBe(12_000);
  const ended = { ...died, ...SUCCESS, revision: 4 };
  expect(await store.predictions.transition({ next: ended, guard, deliveries: [] })).toBe(true);
});

test("a revision that has passed changes nothing", async () => {
  const store = await tempStore();
  const prediction = aPrediction();
  await insert(store, prediction);
  await store.predictions.claim({ limit: 1, now: 2_000, leaseExpiresAt: 12_000 });
  const next = { ...prediction, ...CANCELLATION, revision: 2 };
  const transition = (revision: number) =>
    store.predictions.transition({ next, guard: { kind: "revision", revision }, deliveries: [] });
  expect(await transition(1)).toBe(false);
  expect(await transition(2)).toBe(true);
  expect(await transition(2)).toBe(false);
});

test("retention deletes what ended before, with all that is its own, and waits for webhooks", async () => {
  const store = await tempStore();
  const ended = (endedAt: number, given: Partial<Prediction> = {}) =>
    aPrediction({ ...CANCELLATION, endedAt, ...given });
  const old = ended(100);
  const owed = ended(100);
  const young = ended(200);
  const running = aPrediction();
  const image = anImage({ predictionId: old.id });
  const upload = anImage();
  await store.images.insert(upload);
  await insert(store, old, { deliveries: [aDelivery(old)], images: [image] });
  await insert(store, owed, { deliveries: [aDelivery(owed)] });
  await insert(store, young);
  await insert(store, running);
  await store.deliveries.record({
    id: `msg_${old.id}_1`,
    state: { kind: "abandoned", attempts: 9, reason: "gone" },
  });

  expect(await store.predictions.deleteEnded({ endedBefore: 200, limit: 10 })).toBe(1);
  expect(await store.predictions.get("alice", old.id)).toBeUndefined();
  expect(await store.deliveries.list("alice", old.id)).toEqual([]);
  expect(await store.images.get("alice", image.id)).toBeUndefined();
  expect(await store.images.get("alice", upload.id)).toEqual(upload);
  for (const kept of [owed, young, running]) {
    expect(await store.predictions.get("alice", kept.id)).toEqual(kept);
  }
  await store.deliveries.record({ id: `msg_${owed.id}_1`, state: { kind: "delivered", attempts: 1 } });
  expect(await store.predictions.deleteEnded({ endedBefore: 201, limit: 1 })).toBe(1);
  expect(await store.predictions.get("alice", owed.id)).toBeUndefined();
  expect(await store.predictions.deleteEnded({ endedBefore: 201, limit: 1 })).toBe(1);
  expect(await store.predictions.deleteEnded({ endedBefore: 201, limit: 1 })).toBe(0);
  expect(store.predictions.unfinished()).toBe(1);
});
