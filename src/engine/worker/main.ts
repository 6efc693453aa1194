/**
 * The entry of a worker process. It answers main's calls one after the other, in order; only looking into a
 * picture goes beside them. It holds nothing that is not in main as well, so it may be killed at any moment, and
 * it ends itself when main is gone.
 */
import { flushCompileCache } from "node:module";
import { Worker } from "node:worker_threads";
import type { CallKind, Calls, FromWorker, LoadRequest, ToWorker, WorkerSettings } from "../protocol.ts";
import { toWire } from "../wire-error.ts";
import { Fits } from "./fits.ts";
import { LoadedModels } from "./loaded-models.ts";
import { createRuntimes } from "./runtimes.ts";
import { tensorCount } from "./tensor-count.ts";
import { openVersion, type Version } from "./version.ts";

// Written by worker-process.ts, of this same program.
const settings = JSON.parse(process.argv[2] ?? "{}") as WorkerSettings;

// On a thread of its own, for the main one is blocked while a model runs.
new Worker(new URL("./watchdog.ts", import.meta.url), {
  workerData: { memoryBytes: settings.memoryBytes },
  stdin: false,
}).unref();

const models = new LoadedModels(createRuntimes(settings.threads), settings.runtime);
const fits = new Fits();
const versions = new Map<string, Version>();
let tensorsTold = 0;

/** Resolves when it is on its way whole: what the next run finds unsent would wait for its end. */
function send(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    // Refused only when main is gone, and then "disconnect" follows.
    process.send?.(message, undefined, undefined, () => resolve());
  });
}

function opened(key: string): Version {
  const version = versions.get(key);
  if (!version) throw new Error(`this worker has not loaded ${key}`);
  return version;
}

async function load(request: LoadRequest): Promise<Calls["load"]["answer"]> {
  const { key } = request;
  const version = await openVersion(await models.load(request), request, settings.maxPixels);
  versions.get(key)?.dispose();
  versions.set(key, version);
  // A worker is ended by force, and would take what it has compiled with it.
  flushCompileCache();
  return version.loaded;
}

async function answer(message: ToWorker): Promise<Calls[CallKind]["answer"]> {
  switch (message.kind) {
    case "load":
      return load(message.request);
    case "unload":
      versions.get(message.request.key)?.dispose();
      versions.delete(message.request.key);
      return null;
    case "pictures":
      return opened(message.request.key).runPictures(message.request.items);
    case "texts":
      return opened(message.request.key).runTexts(message.request.items);
    case "tensors":
      return opened(message.request.key).runTensors(message.request.groups);
    case "inspect": {
      const { inspectPicture } = await import("./picture.ts");
      return inspectPicture(message.request.bytes, settings.maxPixels);
    }
    case "embed":
      return opened(message.request.key).embed(message.request.images);
    case "fitOpen":
      return fits.open(message.request);
    case "fitExamples":
      return fits.add(message.request);
    case "fitRun":
      return fits.run(message.request);
    case "fitClose":
      return fits.close(message.request.id);
    default:
      return message satisfies never;
  }
}

async function reply(message: ToWorker): Promise<void> {
  const { id } = message;
  const began = performance.now();
  const said: FromWorker = await answer(message).then(
    (given) => ({ kind: "answer", id, answer: given, ranMs: performance.now() - began }),
    (error: unknown) => ({ kind: "refusal", id, error: toWire(error), ranMs: performance.now() - began }),
  );
  await send(said);
  const count = tensorCount();
  if (count === tensorsTold) return;
  tensorsTold = count;
  await send({ kind: "tensors", count });
}

let last = Promise.resolve();
process.on("message", (message: ToWorker) => {
  if (message.kind === "inspect") void reply(message);
  else last = last.then(() => reply(message));
});
process.on("disconnect", () => process.exit(0));
// Ctrl-C reaches the whole group; main decides when workers end.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);

void send({ kind: "up" });
