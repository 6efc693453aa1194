/** What SQLite's errors mean: storage out of order, a damaged file, a lock that another one has. */

/** Primary result codes (sqlite.org/rescode.html) that are the storage's fault and may pass. */
const STORAGE_CODES = new Set([
  5, // busy
  8, // read-only
  10, // input or output failed
  11, // corrupt
  13, // full
  14, // cannot open
  26, // not a database
]);

export function isStorageFault(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && STORAGE_CODES.has(code);
}

/** Its text, when it says that the file is no database any more. */
export function damage(error: unknown): string | undefined {
  const code = sqliteCode(error);
  return (code === 11 || code === 26) && error instanceof Error ? error.message : undefined;
}

export function isBusy(error: unknown): boolean {
  return sqliteCode(error) === 5;
}

function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error && "errcode" in error && typeof error.errcode === "number")) return undefined;
  return error.errcode & 0xff;
}
