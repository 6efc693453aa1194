/**
 * Either half of a job queue's bench, in a process of its own: `adding` keeps jobs coming for a time and tells when
 * all of them are done; `working` runs them.
 *
 *     node bench/job-queues/process.ts adding|working <queue> <url> <tuning> <folder of the model>
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { EventEmitter, once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { MANIFEST_FILE, readManifest } from "../../src/engine/manifest.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import type { LoadResult } from "../load.ts";
import { percentile } from "../statistics.ts";
import { graphileWorker } from "./graphile-worker.ts";
import { pgBoss } from "./pg-boss.ts";
import type { Adding, Handler, Payload, Queue, Tuning } from "./queue.ts";

export const QUEUES = { "graphile-worker": graphileWorker, "pg-boss": pgBoss } as const;
export type QueueName = keyof typeof QUEUES;

export interface AddingOrder {
  readonly kind: "add";
  /** Jobs on their way into the queue. */
  readonly inFlight: number;
  /** Jobs of one call. */
  readonly perCall: number;
  readonly seconds: number;
}

/** What the working process says of itself, many times a second. */
export interface Progress {
  readonly kind: "progress";
  readonly handled: number;
  /** Of the process since it began. */
  readonly cpuMicros: number;
}

export type QueueReply =
  | Progress
  | { readonly kind: "ready" }
  | { readonly kind: "result"; readonly result: LoadResult }
  | { readonly kind: "error"; readonly message: string };

/** Adding goes no further ahead of the work: queues are slower the longer they are. */
const AHEAD_MAX = 2000;
const PROGRESS_EVERY_MS = 10;
const LOOK_EVERY_MS = 5;
/** Work that does not end fails the round. */
const LEFT_TIMEOUT_MS = 60_000;
const FLOATS = 64;

const say = (reply: QueueReply): void => void process.send?.(reply);
const fail = (error: unknown): void =>
  say({ kind: "error", message: error instanceof Error ? error.message : String(error) });

function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function payload(): Payload {
  const floats = Float32Array.from({ length: FLOATS }, (_, i) => Math.sin(i));
  return { x: Buffer.from(floats.buffer).toString("base64") };
}

/** The model on the first runtime that takes it, as a server's worker runs it, but in the queue's own process. */
async function openModel(folder: string): Promise<Handler> {
  const manifest = readManifest(await readFile(join(folder, MANIFEST_FILE), "utf8"));
  const { model } = await createRuntimes(1).load(folder, manifest, null);
  return async ({ x }) => {
    const bytes = Uint8Array.from(Buffer.from(x, "base64"));
    const { y } = await model.run({
      x: { dtype: "float32", shape: [1, FLOATS], data: new Float32Array(bytes.buffer) },
    });
    if (y?.data.length !== 10) throw new Error("the model answered no 10 values");
    return { y: [...y.data] };
  };
}

async function work(queue: Queue, url: string, tuning: Tuning, folder: string): Promise<void> {
  const handler = await openModel(folder);
  let handled = 0;
  await queue.work(url, tuning, async (given) => {
    const answer = await handler(given);
    handled++;
    return answer;
  });
  setInterval(() => say({ kind: "progress", handled, cpuMicros: cpuMicros() }), PROGRESS_EVERY_MS);
}

/** What the working process has handled since it began, as it told last. */
class Handled extends EventEmitter<{ told: [] }> {
  count = 0;

  tell(count: number): void {
    this.count = count;
    this.emit("told");
  }

  /** @throws Error when it stands still for too long */
  async reaches(count: number): Promise<void> {
    while (this.count < count) await once(this, "told", { signal: AbortSignal.timeout(LEFT_TIMEOUT_MS) });
  }
}

async function add(adding: Adding, handled: Handled, order: AddingOrder): Promise<LoadResult> {
  const { inFlight, perCall, seconds } = order;
  const job = payload();
  const jobs = Array.from({ length: perCall }, () => job);
  const latencies: number[] = [];
  const before = handled.count;
  const cpu = cpuMicros();
  const began = performance.now();
  const until = began + seconds * 1000;
  let added = 0;
  const caller = async (): Promise<void> => {
    for (let sent = performance.now(); sent < until; sent = performance.now()) {
      added += perCall;
      await handled.reaches(before + added - AHEAD_MAX);
      const called = performance.now();
      await (perCall === 1 ? adding.add(job) : adding.addMany(jobs));
      latencies.push((performance.now() - called) * 1000);
    }
  };
  await Promise.all(Array.from({ length: Math.ceil(inFlight / perCall) }, caller));
  await handled.reaches(before + added);
  const left = performance.now();
  while ((await adding.unfinished()) > 0) {
    if (performance.now() - left > LEFT_TIMEOUT_MS) throw new Error("the jobs do not end");
    await delay(LOOK_EVERY_MS);
  }
  latencies.sort((a, b) => a - b);
  return {
    requests: added,
    seconds: (performance.now() - began) / 1000,
    p50: percentile(latencies, 0.5),
    p95: percentile(latencies, 0.95),
    p99: percentile(latencies, 0.99),
    cpuMicros: cpuMicros() - cpu,
    checked: added,
    response: new Uint8Array(),
  };
}

async function main([role, name, url = "", tuning, folder = ""]: readonly string[]): Promise<void> {
  const queue = QUEUES[name as QueueName];
  process.on("disconnect", () => process.exit(0));
  if (role === "working") {
    await work(queue, url, tuning as Tuning, folder);
  } else {
    const adding = await queue.openAdding(url, tuning as Tuning);
    const handled = new Handled();
    // Every caller may wait for it.
    handled.setMaxListeners(0);
    process.on("message", (message: AddingOrder | Progress) => {
      if (message.kind === "progress") handled.tell(message.handled);
      else add(adding, handled, message).then((result) => say({ kind: "result", result }), fail);
    });
  }
  say({ kind: "ready" });
}

if (import.meta.main) main(process.argv.slice(2)).catch(fail);
