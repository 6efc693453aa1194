/**
 * One server to a data folder. The lock is an exclusive lock on an otherwise empty SQLite file, which is the
 * kernel's to release when the process ends, however it ends: no stale lock and no reused pid can be mistaken.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { AuspexError } from "../domain/error.ts";
import { isBusy } from "./sqlite-error.ts";

export interface FolderLock {
  release(): void;
}

/** @throws AuspexError `failed_precondition` when another server, or this process, holds the folder */
export function lockFolder(dataDir: string): FolderLock {
  const pidFile = join(dataDir, "lock.pid");
  const holder = new DatabaseSync(join(dataDir, "lock.db"), { timeout: 0 });
  try {
    holder.exec("begin exclusive");
  } catch (error) {
    holder.close();
    if (!isBusy(error)) throw error;
    throw new AuspexError(
      "failed_precondition",
      `the data folder ${dataDir} is in use by process ${readPid(pidFile)}; ` +
        "stop that server or choose another folder (AUSPEX_DATA_DIR)",
    );
  }
  // For the message above alone; the lock is the file beside it.
  writeFileSync(pidFile, `${process.pid}\n`);
  return {
    release: () => {
      if (holder.isOpen) holder.close();
    },
  };
}

function readPid(file: string): string {
  try {
    return readFileSync(file, "utf8").trim() || "unknown";
  } catch {
    return "unknown";
  }
}
