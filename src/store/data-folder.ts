/**
 * The data folder, before anything in it is opened: there, writable, and this server's alone. What keeps it or its
 * database from being opened is said so that a person knows what to do.
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { AuspexError } from "../domain/error.ts";
import { folderProblem } from "../domain/folder-error.ts";
import { syncFolder, tryToWrite } from "./disk.ts";
import { type FolderLock, lockFolder } from "./lock.ts";
import { damage, isStorageFault } from "./sqlite-error.ts";

/**
 * Creates the folder where it is missing. Nothing of a running server's is touched.
 *
 * @throws AuspexError `failed_precondition` when it cannot be written, or another server has it
 */
export async function holdFolder(dataDir: string): Promise<FolderLock> {
  try {
    const created = mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    if (created !== undefined) await syncAbove(dataDir, created);
    await tryToWrite(dataDir);
  } catch (error) {
    throw new AuspexError(
      "failed_precondition",
      `the data folder ${dataDir} cannot be used: ${folderProblem(error)}; mend that or choose another folder (AUSPEX_DATA_DIR)`,
      { cause: error },
    );
  }
  try {
    return lockFolder(dataDir);
  } catch (error) {
    throw explainDatabase(error, `${dataDir}/lock.db`);
  }
}

/** A new folder is durable once the one that it lies in is, and so on up to the first that was there before. */
async function syncAbove(folder: string, created: string): Promise<void> {
  for (let at = folder; ; at = dirname(at)) {
    await syncFolder(dirname(at));
    if (at === created) return;
  }
}

/** What a person can do about a database that does not open. */
export function explainDatabase(error: unknown, file: string): unknown {
  const text = damage(error);
  if (text !== undefined) {
    return new AuspexError(
      "failed_precondition",
      `the database ${file} is damaged (${text}): put a backup of the data folder in its place, or move ` +
        "the folder away to begin with an empty one",
      { cause: error },
    );
  }
  if (!isStorageFault(error)) return error;
  return new AuspexError(
    "failed_precondition",
    `the database ${file} cannot be opened: ${folderProblem(error)}; look at the disk, its free space and who may write there`,
    { cause: error },
  );
}
