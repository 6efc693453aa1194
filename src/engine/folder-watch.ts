/** Tells that something below a folder may have changed. A hint: whoever is told looks for himself. */
import { watch } from "node:fs";
import type { EngineLog } from "./engine.ts";

/** Milliseconds between looks where watching says nothing: network file systems, folders beside the watched one. */
const POLL_MS = 2000;

/** Milliseconds from an event to the look: copying a folder makes many events. */
const SETTLE_MS = 50;

export interface WatchOptions {
  readonly pollMs?: number;
  /** Whether folders below count. In a flat folder Linux tells of a file that another one has replaced, too. */
  readonly recursive?: boolean;
}

/**
 * Calls `look` soon after a change below the folder, and every 2 s anyway; never while the last look still runs.
 * Keeps no process alive. Answers the stop.
 */
export function watchFolder(
  folder: string,
  look: () => Promise<void>,
  log: EngineLog,
  { pollMs = POLL_MS, recursive = true }: WatchOptions = {},
): () => void {
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;
  let isLooking = false;
  let isDirty = false;
  const schedule = (ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(run, ms).unref();
  };
  const run = async (): Promise<void> => {
    isLooking = true;
    isDirty = false;
    await look();
    isLooking = false;
    if (!isStopped) schedule(isDirty ? SETTLE_MS : pollMs);
  };
  const changed = (): void => {
    // The first event of a burst sets the time, so that an endless burst cannot put the look off for ever.
    if (!isDirty && !isLooking) schedule(SETTLE_MS);
    isDirty = true;
  };
  schedule(pollMs);
  const stopWatching = tryWatch(folder, recursive, changed, log);
  return () => {
    isStopped = true;
    clearTimeout(timer);
    stopWatching();
  };
}

function tryWatch(folder: string, recursive: boolean, changed: () => void, log: EngineLog): () => void {
  try {
    const watcher = watch(folder, { recursive, persistent: false });
    watcher.on("change", changed);
    watcher.on("error", (error) => {
      log.info({ err: error, folder }, "watching the folder ended; it is polled");
      watcher.close();
    });
    return () => watcher.close();
  } catch (error) {
    log.info({ err: error, folder }, "the folder cannot be watched; it is polled");
    return () => {};
  }
}
