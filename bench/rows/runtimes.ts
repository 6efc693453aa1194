/**
 * What each runtime makes of the catalogue's models, one thread each, in one process and in turn: rows per second,
 * against TF.js on WebAssembly with its batch norms folded, which is what is always there.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { RuntimeName } from "../../src/domain/model.ts";
import type { Contest, InferenceOrder, InferenceReply, InferenceResult } from "../inference.ts";
import type { Measurement } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";
import { spread } from "../statistics.ts";

const MODELS = ["auspex/mobilenet", "auspex/mobilenet-tiny"] as const;
const BATCHES = [1, 8] as const;
const FLOOR: RuntimeName = "tfjs-wasm";
/** The rate, of the floor's, that the native runtime which comes with `npm ci` must have on the full MobileNet. */
const GOAL = { model: "auspex/mobilenet", runtime: "onnxruntime", atLeast: 4 } as const;
const CATALOGUE = join(import.meta.dirname, "..", "..", "catalog", ".cache");

/** Runs one model's contests in a process of their own; that process's output is not ours to show. */
async function compare(order: InferenceOrder, progress: (text: string) => void): Promise<InferenceResult> {
  const child = fork(join(import.meta.dirname, "..", "inference.ts"), {
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const exited = once(child, "exit");
  const answered = new Promise<InferenceResult>((resolve, reject) => {
    child.on("message", (reply: InferenceReply) => {
      if (reply.kind === "progress") progress(reply.text);
      else if (reply.kind === "result") resolve(reply.result);
      else reject(new Error(reply.message));
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`the runtimes' process ended: ${signal ?? code}`)));
  });
  child.send(order);
  try {
    return await answered;
  } finally {
    if (child.connected) child.disconnect();
    await exited;
  }
}

type Contender = Contest["contenders"][number];

function measurement({ runtime, rounds }: Contender): Measurement {
  const over = (pick: (round: Contender["rounds"][number]) => number) => spread(rounds.map(pick));
  const rows = rounds.reduce((sum, round) => sum + round.rows, 0);
  const none = spread([Number.NaN]);
  return {
    name: runtime,
    rate: over((r) => r.rows / r.seconds),
    p50: over((r) => r.p50),
    p95: over((r) => r.p95),
    p99: over((r) => r.p99),
    mainCpu: over((r) => r.cpuMicros / r.rows),
    workerCpu: none,
    generatorCpu: none,
    requests: rows,
    // The first run's outputs, beside the floor's.
    checked: 1,
  };
}

function table(model: string, { batch, contenders }: Contest): Table {
  const floorFirst = contenders.toSorted((a, b) => Number(b.runtime === FLOOR) - Number(a.runtime === FLOOR));
  return { title: `${model}, batch ${batch}`, measurements: floorFirst.map(measurement) };
}

/** A runtime that did not take the model has missed the goal: falling back is no pass. */
function goal({ batch, contenders }: Contest): Goal {
  const rate = (name: RuntimeName): number => {
    const found = contenders.find(({ runtime }) => runtime === name);
    return found ? measurement(found).rate.median : 0;
  };
  if (!(rate(FLOOR) > 0)) throw new Error(`${FLOOR} did not take ${GOAL.model}`);
  return {
    what: `${GOAL.model}, batch ${batch}: rate on ${GOAL.runtime}, of ${FLOOR}'s`,
    value: rate(GOAL.runtime) / rate(FLOOR),
    atLeast: GOAL.atLeast,
  };
}

async function run({ seconds, rounds, progress }: BenchContext): Promise<RowResult> {
  const tables: Table[] = [];
  const goals: Goal[] = [];
  const settings: Record<string, string> = {
    threads: "1 for each runtime, all in one process",
    rounds: `${rounds} × ${seconds} s for each, in turn, after 1 s of warming up; medians`,
    answers: "rows; p50, p95 and p99 are of one run of the whole batch, CPU is per row",
  };
  for (const model of MODELS) {
    progress(`loading ${model}`);
    const order = { folder: join(CATALOGUE, model, "1"), batches: BATCHES, seconds, rounds };
    const { contests, leftOut } = await compare(order, (text) => progress(`${model}, ${text}`));
    for (const contest of contests) {
      tables.push(table(model, contest));
      if (model === GOAL.model) goals.push(goal(contest));
    }
    for (const { runtime, reason } of leftOut) settings[`${runtime}, ${model}`] = `left out: ${reason}`;
    const largest = (runtime: RuntimeName): number =>
      Math.max(
        ...contests.flatMap((c) => c.contenders).map((c) => (c.runtime === runtime ? c.difference : 0)),
      );
    const others = contests[0]?.contenders.filter(({ runtime }) => runtime !== FLOOR) ?? [];
    settings[`outputs, ${model}`] =
      others.map(({ runtime }) => `${runtime} within ${largest(runtime).toExponential(1)}`).join(", ") ||
      "nothing to compare";
  }
  return { settings, tables, goals };
}

export const runtimes: Row = {
  name: "runtimes",
  title: "inference alone: each runtime on the catalogue's models, batch 1 and 8, one thread",
  run,
};
