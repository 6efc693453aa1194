/**
 * Inference alone: runtimes against one another on the same model and input, with nothing around them, no wire, no
 * queue, no picture decoding. A process of its own, so that a native runtime that crashes does not take the bench
 * along; each runtime has the one thread that it has in a worker.
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Manifest, RUNTIMES, type RuntimeName } from "../src/domain/model.ts";
import { MANIFEST_FILE, readManifest } from "../src/engine/manifest.ts";
import type { HostTensor, HostTensors, LoadedModel } from "../src/engine/worker/runtime.ts";
import { createRuntimes } from "../src/engine/worker/runtimes.ts";
import { percentile } from "./statistics.ts";

export interface InferenceOrder {
  /** A model folder; the model has one input. */
  readonly folder: string;
  readonly batches: readonly number[];
  /** Of one round. */
  readonly seconds: number;
  readonly rounds: number;
}

export interface InferenceRound {
  readonly rows: number;
  readonly runs: number;
  /** Wall time. */
  readonly seconds: number;
  /** Microseconds for one run, whole batch. */
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** CPU microseconds of this process, all threads. */
  readonly cpuMicros: number;
}

export interface Contest {
  readonly batch: number;
  readonly contenders: readonly {
    readonly runtime: RuntimeName;
    readonly rounds: readonly InferenceRound[];
    /** Largest absolute difference of any output from that of the last runtime in the order of choice. */
    readonly difference: number;
  }[];
}

export interface InferenceResult {
  readonly contests: readonly Contest[];
  /** Runtimes that did not take the model. */
  readonly leftOut: readonly { readonly runtime: RuntimeName; readonly reason: string }[];
}

export type InferenceReply =
  | { readonly kind: "progress"; readonly text: string }
  | { readonly kind: "result"; readonly result: InferenceResult }
  | { readonly kind: "error"; readonly message: string };

const WARM_UP_SECONDS = 1;

interface Contender {
  readonly runtime: RuntimeName;
  readonly model: LoadedModel;
}

/** Waves over the range of a picture's values, so that nothing is all zeros and cheap for it. */
function inputs({ inputs: [spec, ...others] }: LoadedModel, manifest: Manifest, batch: number): HostTensors {
  if (!spec || others.length > 0 || spec.dtype !== "float32")
    throw new Error("a model with one float32 input");
  const [, height, width, channels] = spec.shape;
  const { picture } = manifest;
  const shape = picture
    ? [batch, picture.height, picture.width, 3]
    : [batch, ...[height, width, channels].filter((size) => typeof size === "number")];
  const [low, high] = picture?.range ?? [-1, 1];
  const size = shape.reduce((product, length) => product * length, 1);
  const data = Float32Array.from({ length: size }, (_, i) => (low + high + (high - low) * Math.sin(i)) / 2);
  return { [spec.name]: { dtype: "float32", shape, data } };
}

async function round(
  { model }: Contender,
  given: HostTensors,
  batch: number,
  seconds: number,
): Promise<InferenceRound> {
  const times: number[] = [];
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let now = began; now - began < seconds * 1000; ) {
    await model.run(given);
    const after = performance.now();
    times.push((after - now) * 1000);
    now = after;
  }
  const { user, system } = process.cpuUsage(cpu);
  const ascending = times.toSorted((a, b) => a - b);
  return {
    rows: times.length * batch,
    runs: times.length,
    seconds: (performance.now() - began) / 1000,
    p50: percentile(ascending, 0.5),
    p95: percentile(ascending, 0.95),
    p99: percentile(ascending, 0.99),
    cpuMicros: user + system,
  };
}

/** By position, for runtimes may name the same output differently. */
function difference(outputs: HostTensors, reference: HostTensors): number {
  const others: readonly HostTensor[] = Object.values(reference);
  let most = 0;
  for (const [i, { data }] of Object.values(outputs).entries()) {
    const other = others[i]?.data;
    if (other?.length !== data.length) throw new Error("the runtimes do not agree on the outputs' shapes");
    for (const [at, value] of data.entries()) {
      most = Math.max(most, Math.abs(value - (other[at] ?? Number.NaN)));
    }
  }
  return most;
}

async function contest(
  contenders: readonly Contender[],
  manifest: Manifest,
  batch: number,
  { seconds, rounds }: InferenceOrder,
): Promise<Contest> {
  const results = contenders.map((contender) => ({
    contender,
    given: inputs(contender.model, manifest, batch),
    rounds: [] as InferenceRound[],
    difference: 0,
  }));
  const last = results.at(-1);
  if (!last) throw new Error("no runtime takes the model");
  const reference = await last.contender.model.run(last.given);
  for (const result of results) {
    result.difference = difference(await result.contender.model.run(result.given), reference);
    await round(result.contender, result.given, batch, WARM_UP_SECONDS);
  }
  for (let i = 1; i <= rounds; i++) {
    report({ kind: "progress", text: `batch ${batch}: round ${i} of ${rounds}` });
    for (const result of results) {
      result.rounds.push(await round(result.contender, result.given, batch, seconds));
    }
  }
  return {
    batch,
    contenders: results.map((result) => ({
      runtime: result.contender.runtime,
      rounds: result.rounds,
      difference: result.difference,
    })),
  };
}

async function compare(order: InferenceOrder): Promise<InferenceResult> {
  const manifest = readManifest(await readFile(join(order.folder, MANIFEST_FILE), "utf8"));
  const runtimes = createRuntimes();
  const contenders: Contender[] = [];
  const leftOut: InferenceResult["leftOut"][number][] = [];
  for (const runtime of RUNTIMES) {
    try {
      contenders.push({ runtime, model: (await runtimes.load(order.folder, manifest, runtime)).model });
    } catch (error) {
      leftOut.push({ runtime, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  const contests: Contest[] = [];
  for (const batch of order.batches) contests.push(await contest(contenders, manifest, batch, order));
  for (const { model } of contenders) model.dispose();
  return { contests, leftOut };
}

function report(reply: InferenceReply): void {
  process.send?.(reply);
}

process.on("message", (order: InferenceOrder) => {
  compare(order).then(
    (result) => report({ kind: "result", result }),
    (error: unknown) =>
      report({ kind: "error", message: error instanceof Error ? error.message : String(error) }),
  );
});
