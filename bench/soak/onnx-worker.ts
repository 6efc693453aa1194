/**
 * Ends workers in the middle of a run of ONNX Runtime, in every way that a process can end or hang, and looks whether
 * the server stands: it answers, keeps its word about each prediction, and replaces the worker. By itself,
 * `node bench/soak/onnx-worker.ts`, a hundred times.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../../test/harness.ts";
import { counter, onnxModel, plusOne, writeOnnx } from "../../test/models/onnx.ts";
import { childrenOf } from "../../test/processes.ts";

/** What is done to a worker that is in a run, and whether the prediction survives it. */
const ENDS = [
  /** The kernel's out-of-memory killer, an operator's `kill -9`. */
  { name: "killed", signal: "SIGKILL", survives: true },
  /** What a fault in native code does. */
  { name: "crashed", signal: "SIGSEGV", survives: true },
  { name: "aborted", signal: "SIGABRT", survives: true },
  /** Silent until its time is over. */
  { name: "stopped", signal: "SIGSTOP", survives: true },
  /** Does nothing to a worker: the server says when it ends. */
  { name: "terminated", signal: "SIGTERM", survives: true },
  /** A run without end, which is given up with its second worker. */
  { name: "hung", signal: undefined, survives: false },
] as const;

/** Half a second. */
const ROUNDS = 250_000;
const ENDLESS_ROUNDS = 2 ** 31 - 1;
/** For a run that is silent; well above that of `ROUNDS`. */
const BATCH_TIMEOUT = "4s";

export interface Ended {
  /** Runs in whose middle something was done to the worker, by what. */
  readonly ended: Readonly<Record<string, number>>;
  /** Workers that died, a hung prediction's second one among them. */
  readonly deaths: number;
  /** Milliseconds that a prediction took until it was settled: the longest. */
  readonly slowestMs: number;
}

/**
 * @param times how often a worker's run is interrupted; the ways take turns
 * @throws Error when the server is gone, a prediction is not settled as it should be, or it takes none any more
 */
export async function endWorkers(times: number, workers: number): Promise<Ended> {
  const folder = await mkdtemp(join(tmpdir(), "auspex-onnx-worker-"));
  try {
    await writeOnnx(join(folder, "local", "counter", "1"), onnxModel(counter));
    await writeOnnx(join(folder, "local", "plus-one", "1"), onnxModel(plusOne));
    const settings = { MODELS_DIR: folder, CATALOGUE: "0", WORKERS: String(workers), BATCH_TIMEOUT };
    await using server = await startServer({ settings });
    const ended: Record<string, number> = {};
    let slowestMs = 0;
    for (let i = 0; i < times; i++) {
      const end = ENDS[i % ENDS.length] ?? ENDS[0];
      slowestMs = Math.max(slowestMs, await interrupt(server, end));
      ended[end.name] = (ended[end.name] ?? 0) + 1;
      await checkServing(server);
    }
    return { ended, deaths: await metric(server, "auspex_worker_deaths"), slowestMs };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function interrupt(server: TestServer, end: (typeof ENDS)[number]): Promise<number> {
  const client = clientOf(server, "grpc", PredictionService);
  await until(async () => (await metric(server, "auspex_workers_live")) > 0);
  const rounds = end.signal === undefined ? ENDLESS_ROUNDS : ROUNDS;
  const before = await idleTicks(server);
  const tensors = {
    rounds: { dtype: DataType.INT32, shape: [1], data: new Uint8Array(Int32Array.of(rounds).buffer) },
  };
  const began = performance.now();
  const { prediction } = await client.createPrediction({ model: "local/counter", tensors });
  const id = prediction?.id ?? "";
  if (end.signal !== undefined) process.kill(await busyWorker(server, before), end.signal);
  let last = prediction;
  for await (const state of client.watchPrediction({ id })) last = state.prediction;
  const expected = end.survives ? PredictionStatus.SUCCEEDED : PredictionStatus.FAILED;
  if (last?.status !== expected)
    throw new Error(`${end.name}: the prediction ended as ${last?.status}: ${last?.error?.message}`);
  if (end.survives) {
    const [y] = new Float32Array(new Uint8Array(last.outputTensors.y?.data ?? []).buffer);
    if (y !== rounds) throw new Error(`${end.name}: counted ${y} of ${rounds}`);
  }
  return performance.now() - began;
}

/** The server answers, and its workers do. */
async function checkServing(server: TestServer): Promise<void> {
  if (server.process.exitCode !== null || server.process.signalCode !== null)
    throw new Error(`the server is gone: ${server.printed.join("\n")}`);
  const x = {
    dtype: DataType.FLOAT32,
    shape: [1, 4],
    data: new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer),
  };
  const { prediction } = await clientOf(server, "grpc", PredictionService).createPrediction({
    model: "local/plus-one",
    tensors: { x },
    wait: { seconds: 60n },
  });
  if (prediction?.status !== PredictionStatus.SUCCEEDED)
    throw new Error(`a prediction after it ended as ${prediction?.status}: ${prediction?.error?.message}`);
}

async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const value = new RegExp(`^${name} (\\d+)`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`there is no metric ${name}`);
  return Number(value);
}

type Ticks = ReadonlyMap<number, number>;

/** Hundredths of a second of CPU that each worker has used, once all of them rest: none is still loading. */
async function idleTicks(server: TestServer): Promise<Ticks> {
  const now = (): Ticks => new Map(childrenOf(server.process.pid ?? 0).map((pid) => [pid, ticksOf(pid)]));
  let before = now();
  return until(async () => {
    await delay(IDLE_MS);
    const after = now();
    const rests = [...after].every(([pid, ticks]) => before.get(pid) === ticks);
    before = after;
    return rests && after;
  });
}

/** 0 for one that has just ended. */
function ticksOf(pid: number): number {
  try {
    // Behind the command's closing bracket: state, parent, …, and 11 fields on user and system time.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0;
  }
}

/** A worker that loads uses several hundredths of a second in so long. */
const IDLE_MS = 200;

/** In the middle of a run: nothing else would take a worker that has loaded all its models so much CPU. */
const BUSY_TICKS = 10;

/** The worker that runs the prediction, once it is well in its run. */
async function busyWorker(server: TestServer, before: Ticks): Promise<number> {
  return until(async () => {
    if ((await metric(server, "auspex_engine_running")) === 0) return undefined;
    return childrenOf(server.process.pid ?? 0).find((pid) => {
      const earlier = before.get(pid);
      return earlier !== undefined && ticksOf(pid) - earlier >= BUSY_TICKS;
    });
  });
}

if (import.meta.main) {
  const { ended, deaths, slowestMs } = await endWorkers(100, 4);
  const ways = Object.entries(ended).map(([name, count]) => `${name} ${count}`);
  console.log(
    `workers in a run of ONNX Runtime: ${ways.join(", ")}; ${deaths} died, the server none of the times`,
  );
  console.log(`slowest prediction: ${Math.round(slowestMs)} ms`);
}
