import { expect, test } from "vitest";
import type { PredictionId } from "../../src/domain/id.ts";
import type { Store } from "../../src/store/store.ts";
import { aPrediction, CANCELLATION, FAILURE, insert, SUCCESS, tempStore } from "./temp-store.ts";

async function insertPending(store: Store, count: number): Promise<PredictionId[]> {
  const pending = Array.from({ length: count }, () => aPrediction());
  await Promise.all(pending.map((prediction) => insert(store, prediction)));
  return pending.map(({ id }) => id);
}

async function claimIds(
  store: Store,
  limit: number,
  now: number,
  leaseExpiresAt = now + 10,
): Promise<string[]> {
  const claims = await store.predictions.claim({ limit, now, leaseExpiresAt });
  return claims.map(({ prediction }) => prediction.id);
}

test("a claim takes the oldest, raises attempt and revision, and is committed", async () => {
  const store = await tempStore();
  const prediction = aPrediction({ requestId: "r", input: { json: { a: 1 }, tensors: {} } });
  await insert(store, prediction);
  await insertPending(store, 2);
  await insert(store, aPrediction(SUCCESS));
  const [claimed, ...more] = await store.predictions.claim({ limit: 1, now: 5_000, leaseExpiresAt: 15_000 });
  expect(more).toEqual([]);
  expect(claimed?.prediction).toEqual({
    ...prediction,
    status: "started",
    attempt: 1,
    revision: 2,
    startedAt: 5_000,
    updatedAt: 5_000,
  });
  expect(claimed?.lease.expiresAt).toBe(15_000);
  expect(await store.predictions.get("alice", prediction.id)).toEqual(claimed?.prediction);
  expect(store.predictions.unfinished()).toBe(3);
});

test("pending and expired ones are taken together, oldest first, each once", async () => {
  const store = await tempStore();
  const ids = await insertPending(store, 6);
  expect(await claimIds(store, 2, 100, 200)).toEqual(ids.slice(0, 2));
  expect(await claimIds(store, 3, 199)).toEqual(ids.slice(2, 5));
  // At 200 the first two leases have run out, at 209 those of the next three.
  expect(await claimIds(store, 10, 200, 1_000)).toEqual([ids[0], ids[1], ids[5]]);
  expect(await claimIds(store, 2, 209, 1_000)).toEqual([ids[2], ids[3]]);
  expect(await claimIds(store, 2, 209, 1_000)).toEqual([ids[4]]);
  expect(await claimIds(store, 2, 999, 1_000)).toEqual([]);
});

test("claims at once never take the same one", async () => {
  const store = await tempStore();
  const ids = await insertPending(store, 30);
  const claims = await Promise.all(Array.from({ length: 8 }, () => claimIds(store, 4, 100)));
  expect(claims.flat()).toEqual(ids);
});

test("a second attempt keeps startedAt, and its token is above the first one's, which has lost", async () => {
  const store = await tempStore();
  const [id] = await insertPending(store, 1);
  const [first] = await store.predictions.claim({ limit: 1, now: 100, leaseExpiresAt: 200 });
  const [second] = await store.predictions.claim({ limit: 1, now: 200, leaseExpiresAt: 300 });
  if (!first || !second || !id) throw new Error("a claim is missing");
  expect(second.prediction).toMatchObject({ id, attempt: 2, revision: 3, startedAt: 100, updatedAt: 200 });
  expect(second.lease.token > first.lease.token).toBe(true);

  const settle = (token: string) =>
    store.predictions.transition({
      next: { ...second.prediction, ...SUCCESS, revision: 4 },
      guard: { kind: "lease", token },
      deliveries: [],
    });
  expect(await settle(first.lease.token)).toBe(false);
  expect(
    await store.predictions.renew({ leases: [{ id, token: first.lease.token }], expiresAt: 900 }),
  ).toEqual([id]);
  expect(await settle(second.lease.token)).toBe(true);
});

test("renewing moves the expiry of what is still held and names what is not", async () => {
  const store = await tempStore();
  await insertPending(store, 3);
  const claims = await store.predictions.claim({ limit: 3, now: 100, leaseExpiresAt: 200 });
  const [kept, canceled, left] = claims;
  if (!kept || !canceled || !left) throw new Error("a claim is missing");
  await store.predictions.transition({
    next: { ...canceled.prediction, ...CANCELLATION, revision: 3 },
    guard: { kind: "revision", revision: 2 },
    deliveries: [],
  });
  const leases = [kept, canceled].map(({ prediction, lease }) => ({ id: prediction.id, token: lease.token }));
  expect(await store.predictions.renew({ leases, expiresAt: 500 })).toEqual([canceled.prediction.id]);
  expect(await claimIds(store, 3, 499, 600)).toEqual([left.prediction.id]);
  expect(await claimIds(store, 3, 500)).toEqual([kept.prediction.id]);
  expect(await store.predictions.renew({ leases: [], expiresAt: 500 })).toEqual([]);
});

test("a prediction that is inserted as started is claimable when its lease ends", async () => {
  const store = await tempStore();
  const prediction = aPrediction({ status: "started", attempt: 1, startedAt: 100 });
  await insert(store, prediction, { lease: { token: "mine", expiresAt: 300 } });
  expect(await store.predictions.nextClaimAt()).toBe(300);
  expect(await claimIds(store, 1, 299)).toEqual([]);
  const settled = { ...prediction, ...SUCCESS, revision: 2 };
  const guard = { kind: "lease", token: "mine" } as const;
  expect(await store.predictions.transition({ next: settled, guard, deliveries: [] })).toBe(true);
  expect(await claimIds(store, 1, 300)).toEqual([]);
});

test("nextClaimAt is now while something is pending, then the first expiry, then never", async () => {
  const store = await tempStore();
  expect(await store.predictions.nextClaimAt()).toBeUndefined();
  await insert(store, aPrediction(FAILURE));
  expect(await store.predictions.nextClaimAt()).toBeUndefined();
  await insertPending(store, 2);
  expect(await store.predictions.nextClaimAt()).toBe(0);
  await claimIds(store, 1, 100, 700);
  await claimIds(store, 1, 100, 600);
  expect(await store.predictions.nextClaimAt()).toBe(600);
});
