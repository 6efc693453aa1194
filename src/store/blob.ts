/**
 * Blobs: bytes on disk under their own hash, `<folder>/<first 2 hex digits>/<sha256>`. Written aside, synced and
 * renamed, so that a name always stands for whole, durable bytes. Which are in use is told by the rows (blob-use.ts).
 *
 * A blob is put before the row that refers to it commits. Sweeping between the two would lose it, which the age limit
 * prevents: a put refreshes the age of a blob that is there already, and a sweep looks at the age last, in the same
 * turn of the event loop as it deletes.
 */
import { createHash, randomUUID } from "node:crypto";
import { statSync, unlinkSync, utimesSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { now } from "../domain/clock.ts";
import { folderProblem } from "../domain/folder-error.ts";
import { unreferencedBlobs } from "./blob-use.ts";
import type { Database } from "./database.ts";
import { syncFolder } from "./disk.ts";
import type { BlobStore } from "./store.ts";
import { errorFrom, failureOf } from "./thread-protocol.ts";

const HASH = /^[0-9a-f]{64}$/;
const FOLDER = /^[0-9a-f]{2}$/;

/** Up to here (0.7 ms) this thread digests bytes itself, which costs less than to hand them to another. */
const DIGEST_HERE_MAX = 1024 * 1024;

/** Hashes kept in mind: 100 bytes each. */
const DURABLE_MAX = 10_000;

/**
 * Takes over the folder: what an earlier server left half-written is removed.
 *
 * @param onStorageFault told of each put that fails, before its caller is
 */
export async function openBlobs(
  folder: string,
  database: Database,
  onStorageFault: (text: string) => void,
): Promise<BlobStore> {
  const aside = join(folder, "tmp");
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  await syncFolder(dirname(folder));
  /** Blobs and parents whose names are known to be on disk: nobody has to wait for that again. */
  const durable = new Set<string>();
  const durableParents = new Set<string>();

  return {
    async put(bytes) {
      const hash = await digest(bytes);
      const parent = parentOf(folder, hash);
      const part = join(aside, randomUUID());
      try {
        const isThere = refresh(pathOf(folder, hash));
        if (isThere && durable.has(hash)) return hash;
        if (!isThere) {
          await mkdir(parent, { recursive: true });
          await writeDurably(part, bytes);
          await rename(part, pathOf(folder, hash));
        }
        // Also for one that was there: whoever put it may not have come this far yet.
        await syncFolder(parent);
        if (!durableParents.has(parent)) await syncFolder(folder);
        durableParents.add(parent);
        if (durable.size === DURABLE_MAX) durable.clear();
        durable.add(hash);
      } catch (error) {
        await rm(part, { force: true }).catch(() => {});
        onStorageFault(folderProblem(error));
        throw errorFrom({ ...failureOf(error), storage: true });
      }
      return hash;
    },

    async get(hash) {
      if (!HASH.test(hash)) return undefined;
      try {
        return await readFile(pathOf(folder, hash));
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },

    path: (hash) => pathOf(folder, hash),

    async withStaged(use) {
      const part = join(aside, randomUUID());
      try {
        await (await open(part, "wx", 0o600)).close();
        return await use(part);
      } finally {
        await rm(part, { force: true });
      }
    },

    async sweep(olderThanMs) {
      let deleted = 0;
      for (const prefix of (await readdir(folder)).filter((name) => FOLDER.test(name))) {
        const hashes = (await readdir(join(folder, prefix))).filter((name) => HASH.test(name));
        for (const hash of await database.scan(unreferencedBlobs, hashes)) {
          if (!deleteOld(pathOf(folder, hash), olderThanMs)) continue;
          durable.delete(hash);
          deleted += 1;
        }
      }
      return deleted;
    },
  };
}

/** Lower-case hex. A view of shared memory cannot be digested, and none is passed. */
async function digest(bytes: Uint8Array): Promise<string> {
  if (bytes.length <= DIGEST_HERE_MAX) return createHash("sha256").update(bytes).digest("hex");
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Buffer.from(hash).toString("hex");
}

function parentOf(folder: string, hash: string): string {
  return join(folder, hash.slice(0, 2));
}

function pathOf(folder: string, hash: string): string {
  return join(parentOf(folder, hash), hash);
}

/**
 * A blob's time of modification, by the clock that its age is measured by: the system's may be set forwards, and what
 * was put a moment ago would be old.
 */
function ageMark(): Date {
  return new Date(now() / 1000);
}

/** False when there is no such file. */
function refresh(path: string): boolean {
  try {
    const at = ageMark();
    utimesSync(path, at, at);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.utimes(ageMark(), ageMark());
    await file.sync();
  } finally {
    await file.close();
  }
}

function deleteOld(path: string, olderThanMs: number): boolean {
  try {
    if (now() / 1000 - statSync(path).mtimeMs < olderThanMs) return false;
    unlinkSync(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
