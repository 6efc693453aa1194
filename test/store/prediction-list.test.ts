import { expect, test } from "vitest";
import type { Prediction } from "../../src/domain/prediction.ts";
import type { ListQuery, Store } from "../../src/store/store.ts";
import { aPrediction, CANCELLATION, FAILURE, insert, SUCCESS, tempStore } from "./temp-store.ts";

const ALL: ListQuery = {
  principal: "alice",
  model: undefined,
  status: undefined,
  before: undefined,
  after: undefined,
  limit: 100,
};

async function ids(store: Store, query: Partial<ListQuery>): Promise<string[]> {
  return (await store.predictions.list({ ...ALL, ...query })).map(({ id }) => id);
}

test("lists are newest first, and pages join without gap or overlap both ways", async () => {
  const store = await tempStore();
  const rows = Array.from({ length: 10 }, () => aPrediction());
  for (const row of rows) await insert(store, row);
  await insert(store, aPrediction({ principal: "bob" }));
  const newestFirst = rows.map(({ id }) => id).reverse();
  expect(await ids(store, {})).toEqual(newestFirst);
  expect(await ids(store, { limit: 0 })).toEqual([]);

  for (const limit of [1, 3, 10, 11]) {
    const down: string[] = [];
    for (;;) {
      const last = down.at(-1) as Prediction["id"] | undefined;
      const page = await ids(store, { before: last, limit });
      if (page.length === 0) break;
      down.push(...page);
    }
    expect(down).toEqual(newestFirst);

    const up: string[] = [newestFirst.at(-1) ?? ""];
    for (;;) {
      const page = await ids(store, { after: up[0] as Prediction["id"], limit });
      if (page.length === 0) break;
      up.unshift(...page);
    }
    expect(up).toEqual(newestFirst);
  }
});

test("every combination of model, status and edge finds what a filter over all rows would", async () => {
  const store = await tempStore({ queueMax: 1000 });
  const states = [{}, SUCCESS, FAILURE, CANCELLATION] as const;
  const rows: Prediction[] = [];
  for (let n = 0; n < 48; n++) {
    const row = aPrediction({
      ...states[n % 4],
      model: n % 3 === 0 ? "a/x" : "b/y",
      principal: n % 5 === 0 ? "bob" : "alice",
    });
    rows.push(row);
    await insert(store, row);
  }
  const [claimed] = await store.predictions.claim({ limit: 1, now: 5, leaseExpiresAt: 9 });
  const stored = rows.map((row) => (row.id === claimed?.prediction.id ? claimed.prediction : row));
  const edge = stored[24]?.id;
  for (const principal of ["alice", "bob", "nobody"])
    for (const model of [undefined, "a/x", "b/y"])
      for (const status of [undefined, "pending", "started", "succeeded", "failed", "canceled"] as const)
        for (const [before, after] of [[], [edge], [undefined, edge]]) {
          const expected = stored.filter(
            (row) =>
              row.principal === principal &&
              (model === undefined || row.model === model) &&
              (status === undefined || row.status === status) &&
              (before === undefined || row.id < before) &&
              (after === undefined || row.id > after),
          );
          expect(await ids(store, { principal, model, status, before, after })).toEqual(
            expected.map(({ id }) => id).reverse(),
          );
        }
});

test("a summary has all but the payloads and the webhook", async () => {
  const store = await tempStore();
  const prediction = aPrediction({
    ...FAILURE,
    requestId: "r",
    requestHash: "h",
    webhook: { url: "https://x.example/", secret: "s", format: "auspex" },
  });
  await insert(store, prediction);
  const { input, output, requestHash, webhook, ...summary } = prediction;
  expect([input, output, requestHash, webhook]).not.toContain(undefined);
  expect(await store.predictions.list(ALL)).toEqual([summary]);
});

test("predictions are counted by model, of one principal", async () => {
  const store = await tempStore();
  for (const model of ["a/x", "b/y", "a/x"]) await insert(store, aPrediction({ model }));
  await insert(store, aPrediction({ model: "a/x", principal: "bob" }));
  expect(await store.predictions.countByModel("alice")).toEqual(
    new Map([
      ["a/x", 2],
      ["b/y", 1],
    ]),
  );
  expect(await store.predictions.countByModel("nobody")).toEqual(new Map());
});
