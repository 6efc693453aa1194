/** The file system below the data folder: whether it takes writes, and how much room it has. */
import { open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";

/** More than a file system keeps beside its blocks, so that a full one cannot take it. */
const PROBE_BYTES = 64 * 1024;

/** Writes a small file, syncs it and removes it. Rejects with the system's error where that cannot be done. */
export async function tryToWrite(folder: string): Promise<void> {
  const path = join(folder, "probe");
  try {
    const file = await open(path, "w", 0o600);
    try {
      await file.writeFile(Buffer.alloc(PROBE_BYTES));
      await file.sync();
    } finally {
      await file.close();
    }
  } finally {
    await rm(path, { force: true });
  }
}

/** Bytes that this user may still write; Infinity where the file system does not say. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize, blocks } = await statfs(folder);
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}

/** A new name is durable once its folder is. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
