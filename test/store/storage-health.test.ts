/** The watch over the disk at its edges: a real disk, and a reserve that is just met or just not. */
import { rmSync, statfsSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import { type StorageWatchOptions, watchStorage } from "../../src/store/storage-health.ts";
import { until } from "../harness.ts";
import { tempFolder, tempStore } from "./temp-store.ts";

const MIB = 1024 ** 2;

async function watched(given: Partial<StorageWatchOptions>) {
  const options = { folder: tempFolder(), reserve: 0, tryDatabase: async () => {}, intervalMs: 20, ...given };
  const watch = await watchStorage(options);
  onTestFinished(() => watch.close());
  return watch;
}

test("DISK_RESERVE: with as much room all is well, with less nothing more is taken", async () => {
  const folder = tempFolder();
  const { bavail, bsize } = statfsSync(folder);
  // Others write on this disk as well.
  const free = bavail * bsize;
  expect((await watched({ folder, reserve: free - 1024 * MIB })).reason()).toBe("");
  expect((await watched({ folder, reserve: free + 1024 * MIB })).reason()).toMatch(
    /has less than \d+ MiB free/,
  );
  expect((await watched({ folder, reserve: 0 })).reason()).toBe("");
});

test("a failed write counts until the folder and the database take one again, and each change is told once", async () => {
  let works = false;
  const watch = await watched({
    tryDatabase: async () => {
      if (!works) throw new Error("the test says so");
    },
  });
  const told: string[] = [];
  watch.onChange(() => told.push(watch.reason()));
  watch.failed("database or disk is full");
  watch.failed("disk I/O error");
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(watch.reason()).toBe("the storage takes no writes: database or disk is full");
  works = true;
  await until(() => watch.reason() === "");
  expect(told).toEqual(["the storage takes no writes: database or disk is full", ""]);
});

test("a folder that is gone is no storage", async () => {
  const folder = tempFolder();
  const watch = await watched({ folder });
  rmSync(folder, { recursive: true });
  watch.failed("a write failed");
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(watch.reason()).not.toBe("");
});

test("the store tells of a write that failed before its caller hears of it", async () => {
  const dataDir = tempFolder();
  const store = await tempStore({ dataDir });
  expect(store.health.reason()).toBe("");
  // Blobs are written aside first; where that cannot be, none can.
  rmSync(`${dataDir}/blobs/tmp`, { recursive: true });
  const reason = await store.blobs.put(new Uint8Array(10)).then(
    () => expect.fail("it was written"),
    () => store.health.reason(),
  );
  expect(reason).toMatch(/the storage takes no writes/);
  await until(() => store.health.reason() === "");
  await store.close();
  await (await openStore({ dataDir, queueMax: 10 })).close();
});
