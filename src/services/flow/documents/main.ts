/** The entry of a reader process. It holds nothing, so it may be killed at any moment, and ends itself with main. */
import { Worker } from "node:worker_threads";
import type { ReadAnswer, ReadCall, ReaderSettings } from "./call.ts";
import { readDocument } from "./read.ts";

// Written by document-reader.ts, of this same program.
const settings = JSON.parse(process.argv[2] ?? "{}") as ReaderSettings;

// On a thread of its own, for the main one is busy while it reads.
new Worker(new URL("../../../engine/worker/watchdog.ts", import.meta.url), {
  workerData: { memoryBytes: settings.memoryBytes },
  stdin: false,
}).unref();

async function answer(call: ReadCall): Promise<ReadAnswer> {
  try {
    return { kind: "parts", parts: await readDocument(call) };
  } catch (error) {
    return { kind: "refusal", message: error instanceof Error ? error.message : String(error) };
  }
}

process.on("message", async (call: ReadCall) => {
  // Refused only when main is gone, and then "disconnect" follows.
  process.send?.(await answer(call), undefined, undefined, () => undefined);
});
process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches the whole group; main decides when it ends.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
