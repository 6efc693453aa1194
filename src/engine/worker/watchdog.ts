/**
 * A thread of each worker that still runs while a model blocks the main one. It ends the process when main is
 * gone (its end of stdin closes, kill -9 included), so that not even a hung model is left behind, and when the
 * process outgrows its memory.
 */
import { Socket } from "node:net";
import { workerData } from "node:worker_threads";
import { MEMORY_SIGNAL } from "../protocol.ts";

/** Often enough that a model which allocates 1 GB/s overshoots by a tenth of that; costs 10 µs each. */
const MEMORY_POLL_MS = 100;

const { memoryBytes } = workerData as { readonly memoryBytes: number };

setInterval(() => {
  if (process.memoryUsage.rss() > memoryBytes) process.kill(process.pid, MEMORY_SIGNAL);
}, MEMORY_POLL_MS);

// Nothing is ever written there: it closes when the other end does.
new Socket({ fd: 0 }).resume().on("close", () => process.kill(process.pid, "SIGKILL"));
