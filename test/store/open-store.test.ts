import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import { aPrediction, insert, SUCCESS, tempFolder, tempStore } from "./temp-store.ts";

test("what was written is there after closing and opening, and is counted", async () => {
  const dataDir = join(tempFolder(), "made", "for it");
  const first = await openStore({ dataDir, queueMax: 10 });
  expect(first.description).toBe(`sqlite ${join(dataDir, "auspex.db")}`);
  const pending = aPrediction();
  const done = aPrediction(SUCCESS);
  await insert(first, pending);
  await insert(first, done);
  await insert(first, aPrediction());
  await first.predictions.claim({ limit: 1, now: 1, leaseExpiresAt: 2 });
  await first.close();
  // All of it is in the one file by then.
  expect(existsSync(join(dataDir, "auspex.db-wal"))).toBe(false);

  const second = await tempStore({ dataDir });
  expect(second.predictions.unfinished()).toBe(2);
  expect(await second.predictions.get("alice", done.id)).toEqual(done);
});

test("a server that starts need not wait for the leases of the one before it", async () => {
  const dataDir = tempFolder();
  const first = await openStore({ dataDir, queueMax: 10 });
  await insert(first, aPrediction());
  const [before] = await first.predictions.claim({ limit: 1, now: 1, leaseExpiresAt: 10_000_000 });
  await first.close();
  const second = await tempStore({ dataDir });
  const [after] = await second.predictions.claim({ limit: 1, now: 2, leaseExpiresAt: 10_000_000 });
  expect(after?.prediction).toMatchObject({ id: before?.prediction.id, attempt: 2 });
});

test("closing finishes what was asked for and refuses what comes after", async () => {
  const dataDir = tempFolder();
  const store = await openStore({ dataDir, queueMax: 10 });
  const predictions = Array.from({ length: 5 }, () => aPrediction());
  const written = predictions.map((prediction) => insert(store, prediction));
  await Promise.all([store.close(), store.close()]);
  expect(await Promise.all(written)).toEqual(Array(5).fill({ kind: "inserted" }));

  const closed = { code: "unavailable", message: "the store is closed" };
  await expect(insert(store, aPrediction())).rejects.toMatchObject(closed);
  await expect(store.predictions.nextClaimAt()).rejects.toMatchObject(closed);
  await expect(store.aliases.list("alice")).rejects.toMatchObject(closed);
  await store.close();
  const again = await tempStore({ dataDir });
  expect(again.predictions.unfinished()).toBe(5);
});

test("a file that is no database is refused, and the folder is let go", async () => {
  const dataDir = tempFolder();
  writeFileSync(join(dataDir, "auspex.db"), "certainly not a database, for all its length ".repeat(100));
  for (const _ of [1, 2]) {
    await expect(openStore({ dataDir, queueMax: 10 })).rejects.toThrow("not a database");
  }
});
