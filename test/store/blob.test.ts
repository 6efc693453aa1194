import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { anImage, tempFolder, tempStore } from "./temp-store.ts";

const HOUR_MS = 3_600_000;

function pathOf(dataDir: string, hash: string): string {
  return join(dataDir, "blobs", hash.slice(0, 2), hash);
}

/** As if it had been put two hours ago. */
function age(path: string): void {
  const then = new Date(Date.now() - 2 * HOUR_MS);
  utimesSync(path, then, then);
}

test("a blob stands under its hash, and equal bytes stand once", async () => {
  const dataDir = tempFolder();
  const { blobs } = await tempStore({ dataDir });
  const bytes = new TextEncoder().encode("a picture");
  const expected = createHash("sha256").update(bytes).digest("hex");
  expect(await Promise.all([blobs.put(bytes), blobs.put(bytes), blobs.put(bytes)])).toEqual(
    Array(3).fill(expected),
  );
  expect(readdirSync(join(dataDir, "blobs")).sort()).toEqual([expected.slice(0, 2), "tmp"].sort());
  expect(readdirSync(join(dataDir, "blobs", "tmp"))).toEqual([]);
  const found = await blobs.get(expected);
  expect(found && Buffer.compare(found, bytes)).toBe(0);
  expect(await blobs.put(new Uint8Array())).toBe(createHash("sha256").digest("hex"));
});

test("bytes are digested alike on this thread and, when they are many, on another", async () => {
  const { blobs } = await tempStore();
  for (const length of [1024 * 1024, 1024 * 1024 + 1]) {
    const bytes = Buffer.alloc(length, "auspex");
    expect(await blobs.put(bytes)).toBe(createHash("sha256").update(bytes).digest("hex"));
  }
});

test("what is no hash, or the hash of nothing here, is not found", async () => {
  const { blobs } = await tempStore();
  expect(await blobs.get("0".repeat(64))).toBeUndefined();
  expect(await blobs.get("../../lock.pid")).toBeUndefined();
});

test("a sweep deletes what no image refers to and what is old, and only that", async () => {
  const dataDir = tempFolder();
  const store = await tempStore({ dataDir });
  const put = (text: string) => store.blobs.put(new TextEncoder().encode(text));
  const used = await put("used");
  const young = await put("young");
  const again = await put("put again");
  const unused = await put("unused");
  await store.images.insert(
    anImage({
      state: { kind: "ready", blob: used, mediaType: "", width: 1, height: 1, sizeBytes: 4 },
    }),
  );
  for (const hash of [used, again, unused]) age(pathOf(dataDir, hash));
  // Its image row is still to come, and the blob was there already.
  await put("put again");
  expect(Date.now() - statSync(pathOf(dataDir, again)).mtimeMs).toBeLessThan(HOUR_MS);

  expect(await store.blobs.sweep(HOUR_MS)).toBe(1);
  expect([used, young, again, unused].map((hash) => existsSync(pathOf(dataDir, hash)))).toEqual([
    true,
    true,
    true,
    false,
  ]);
  expect(await store.blobs.sweep(HOUR_MS)).toBe(0);
  expect(await put("unused")).toBe(unused);
  expect(existsSync(pathOf(dataDir, unused))).toBe(true);
});

test("what an earlier server left half-written is gone after the start", async () => {
  const dataDir = tempFolder();
  const aside = join(dataDir, "blobs", "tmp");
  mkdirSync(aside, { recursive: true });
  writeFileSync(join(aside, "half"), "hal");
  await tempStore({ dataDir });
  expect(readdirSync(aside)).toEqual([]);
});

test("a blob that cannot be written is the storage's fault, and leaves nothing", async () => {
  const dataDir = tempFolder();
  const { blobs } = await tempStore({ dataDir });
  const bytes = new TextEncoder().encode("a picture");
  const hash = createHash("sha256").update(bytes).digest("hex");
  // A file where its folder would be.
  writeFileSync(join(dataDir, "blobs", hash.slice(0, 2)), "");
  await expect(blobs.put(bytes)).rejects.toMatchObject({ code: "unavailable" });
  expect(readdirSync(join(dataDir, "blobs", "tmp"))).toEqual([]);
});

test("a staged file is empty, and gone once it was used", async () => {
  const dataDir = tempFolder();
  const { blobs } = await tempStore({ dataDir });
  const seen: string[] = [];
  const use = (path: string) => {
    seen.push(path);
    expect(statSync(path).size).toBe(0);
    writeFileSync(path, "half of it");
    if (seen.length === 2) throw new Error("in the middle");
    return Promise.resolve(7);
  };
  expect(await blobs.withStaged(use)).toBe(7);
  await expect(blobs.withStaged(async (path) => use(path))).rejects.toThrow("in the middle");
  expect(new Set(seen).size).toBe(2);
  expect(seen.filter((path) => existsSync(path))).toEqual([]);
  const hash = await blobs.put(Buffer.from("whole"));
  expect(blobs.path(hash)).toBe(pathOf(dataDir, hash));
});
