/**
 * Three times as many creates as can be served, whatever becomes of them (open loop): how many are still served, how
 * long those take, and how soon it is as before when it is over.
 *
 * A call has sixteen rows for a wide MLP, which takes one call at a time and runs for some 7 ms, less than a small picture
 * model: so inference is what there is too little of. With one row a call runs for 2 ms, and what is then measured is what
 * is left of two cores by 900 callers a second who are refused. What is accepted is what was answered with a prediction that
 * succeeded; a refusal and a passed deadline are not.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { startServer } from "../../test/harness.ts";
import { writeMlp } from "../../test/models/mlp.ts";
import { checkAnswer } from "../load-answer.ts";
import type { OpenCall, OpenOrder, OpenReply } from "../open-load.ts";
import type { Generator } from "../rounds.ts";
import type { BenchContext, Figures, Goal, Row, RowResult } from "../row.ts";
import { percentile, spread } from "../statistics.ts";
import { CREATE_PATH, mlpRequest } from "./mlp-create.ts";

const SIZES = [64, 3072, 3072, 3072, 10];
const ROWS = 16;
const REQUEST = mlpRequest({ rows: ROWS });
/**
 * One thread for inference: what is to be seen is what the server makes of more calls than its worker can serve, and on
 * two cores the callers, who are three times as many as are served, need the other one as much as the server does.
 */
const SETTINGS = { CATALOGUE: "0", DRAIN: "0ms", THREADS: "1" } as const;
const CAPACITY_IN_FLIGHT = 16;
const CAPACITY_SECONDS = 2;
const OVERLOAD = 3;
/** Of the capacity, before and after. */
const LOW = 0.2;
const SECONDS = { before: 3, overload: 4, after: 3 } as const;
/** Of the capacity. */
const WARM_UP = { load: 0.8, seconds: 3 } as const;
const ROUNDS = 2;
/** Of the unloaded p99, that callers give a call. */
const PATIENCE = 5;
/** Of the unloaded p50, that AUSPEX_QUEUE_DELAY is set to. */
const QUEUE = 2;
const WINDOW_MS = 250;
const GOALS = { goodput: 0.9, p99: 5, recoveryMs: 2000 } as const;
/** Of the unloaded median, within which it is as before. */
const RECOVERED = 1.5;

interface Scene {
  readonly address: string;
  /** Answers a second of the closed loop. */
  readonly capacity: number;
}

interface Round {
  readonly capacity: number;
  readonly offered: number;
  /** Of the capacity. */
  readonly goodput: number;
  readonly unloadedP99: number;
  readonly p50: number;
  readonly p99: number;
  readonly refused: number;
  readonly late: number;
  readonly recoveryMs: number;
}

interface Case {
  readonly name: string;
  readonly settings: Readonly<Record<string, string>>;
  /** Milliseconds that callers give a call, by the unloaded p99. */
  readonly deadlineMs: (unloadedP99: number) => number | undefined;
  readonly rounds: Round[];
}

function startOpenLoad() {
  const child = fork(join(import.meta.dirname, "..", "open-load.ts"), { serialization: "advanced" });
  return {
    async run(order: OpenOrder): Promise<readonly OpenCall[]> {
      child.send(order);
      const [reply] = (await once(child, "message")) as [OpenReply];
      if (reply.kind === "error") throw new Error(reply.message);
      checkAnswer("succeeded prediction", reply.result.response);
      return reply.result.calls;
    },
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

type OpenLoad = ReturnType<typeof startOpenLoad>;

const isGood = ({ code }: OpenCall): boolean => code === status.OK;

function ascending(calls: readonly OpenCall[]): readonly number[] {
  return calls
    .filter(isGood)
    .map(({ tookMs }) => tookMs)
    .toSorted((a, b) => a - b);
}

/** Milliseconds after the overload until a window of calls takes what one took before it. */
function recoveryMs(after: readonly OpenCall[], unloadedP50: number): number {
  for (let from = 0; from < SECONDS.after * 1000; from += WINDOW_MS) {
    const window = after.filter(({ dueMs }) => dueMs >= from && dueMs < from + WINDOW_MS);
    const good = ascending(window);
    if (good.length === window.length && percentile(good, 0.5) <= RECOVERED * unloadedP50)
      return from + WINDOW_MS;
  }
  return Number.POSITIVE_INFINITY;
}

async function capacityOf(generator: Generator, address: string): Promise<number> {
  const { requests, seconds } = await generator.run({
    to: { kind: "grpc", address, path: CREATE_PATH },
    request: REQUEST,
    expect: "succeeded prediction",
    inFlight: CAPACITY_IN_FLIGHT,
    seconds: CAPACITY_SECONDS,
  });
  return requests / seconds;
}

async function unloaded(load: OpenLoad, { address, capacity }: Scene): Promise<readonly number[]> {
  const phases = [{ perSecond: LOW * capacity, seconds: SECONDS.before }];
  return ascending(
    await load.run({ address, path: CREATE_PATH, request: REQUEST, deadlineMs: undefined, phases }),
  );
}

async function runRound(load: OpenLoad, scene: Scene, { deadlineMs }: Case): Promise<Round> {
  const { address, capacity } = scene;
  const before = await unloaded(load, scene);
  const unloadedP99 = percentile(before, 0.99);
  const calls = await load.run({
    address,
    path: CREATE_PATH,
    request: REQUEST,
    deadlineMs: deadlineMs(unloadedP99),
    phases: [
      { perSecond: OVERLOAD * capacity, seconds: SECONDS.overload },
      { perSecond: LOW * capacity, seconds: SECONDS.after },
    ],
  });
  const [during, after] = [0, 1].map((phase) => calls.filter((call) => call.phase === phase));
  if (!during || !after) throw new Error("there are two phases");
  const inTime = during.filter((call) => isGood(call) && call.dueMs + call.tookMs <= SECONDS.overload * 1000);
  const good = ascending(during);
  const refused = during.filter(({ code }) => code === status.RESOURCE_EXHAUSTED).length;
  return {
    capacity,
    offered: during.length / SECONDS.overload / capacity,
    goodput: inTime.length / SECONDS.overload / capacity,
    unloadedP99,
    p50: percentile(good, 0.5),
    p99: percentile(good, 0.99),
    refused: refused / during.length,
    late: 1 - (good.length + refused) / during.length,
    recoveryMs: recoveryMs(after, percentile(before, 0.5)),
  };
}

async function runCase(
  one: Case,
  { modelsDir, capacity }: { readonly modelsDir: string; readonly capacity: number },
  load: OpenLoad,
): Promise<void> {
  // A new one each time: what the overload leaves behind must not be the next round's.
  await using server = await startServer({
    settings: { ...SETTINGS, MODELS_DIR: modelsDir, ...one.settings },
  });
  const address = new URL(server.grpcUrl).host;
  // To warm it up: a program that is still being compiled takes the cores of those who would be served.
  const phases = [{ perSecond: WARM_UP.load * capacity, seconds: WARM_UP.seconds }];
  await load.run({ address, path: CREATE_PATH, request: REQUEST, deadlineMs: undefined, phases });
  one.rounds.push(await runRound(load, { address, capacity }, one));
}

const over = ({ rounds }: Case, pick: (round: Round) => number): number => spread(rounds.map(pick)).median;

function lineOf(one: Case): readonly string[] {
  const of = (pick: (round: Round) => number) => over(one, pick);
  const recovery = of((round) => round.recoveryMs);
  return [
    one.name,
    of((round) => round.capacity).toFixed(0),
    of((round) => round.offered).toFixed(2),
    of((round) => round.goodput).toFixed(2),
    of((round) => round.unloadedP99).toFixed(1),
    of((round) => round.p50).toFixed(1),
    of((round) => round.p99).toFixed(1),
    of((round) => round.p99 / round.unloadedP99).toFixed(1),
    `${(100 * of((round) => round.refused)).toFixed(0)} %`,
    `${(100 * of((round) => round.late)).toFixed(0)} %`,
    Number.isFinite(recovery) ? recovery.toFixed(0) : `over ${SECONDS.after * 1000}`,
  ];
}

function goalsOf(one: Case): readonly Goal[] {
  return [
    {
      what: `${one.name}: goodput of the capacity`,
      value: over(one, (r) => r.goodput),
      atLeast: GOALS.goodput,
    },
    {
      what: `${one.name}: p99 of the unloaded one`,
      value: over(one, (r) => r.p99 / r.unloadedP99),
      atMost: GOALS.p99,
    },
    { what: `${one.name}: ms to recover`, value: over(one, (r) => r.recoveryMs), atMost: GOALS.recoveryMs },
  ];
}

async function run({ generator, progress }: BenchContext): Promise<RowResult> {
  await using cleanUp = new AsyncDisposableStack();
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-bench-"));
  cleanUp.defer(() => rm(modelsDir, { recursive: true, force: true }));
  await writeMlp(join(modelsDir, "bench", "mlp", "1"), { sizes: SIZES, manifest: { batchMax: 1 } });
  const load = cleanUp.use(startOpenLoad());
  const { p50 } = await measureUnbound(modelsDir, generator, load);
  const queueMs = Math.ceil(QUEUE * p50);
  const none: Case = {
    name: "no deadline, no bound",
    settings: {},
    deadlineMs: () => undefined,
    rounds: [],
  };
  const deadline: Case = {
    name: `deadline of ${PATIENCE} × unloaded p99`,
    settings: {},
    deadlineMs: (unloadedP99) => Math.ceil(PATIENCE * unloadedP99),
    rounds: [],
  };
  const bound: Case = {
    name: `no deadline, QUEUE_DELAY=${queueMs}ms`,
    settings: { QUEUE_DELAY: `${queueMs}ms` },
    deadlineMs: () => undefined,
    rounds: [],
  };
  const cases = [none, deadline, bound];
  const judged = [deadline, bound];
  for (let round = 1; round <= ROUNDS; round++) {
    progress(`round ${round} of ${ROUNDS}: the capacity`);
    const { capacity } = await measureUnbound(modelsDir, generator, load);
    // What has no goal is tried once.
    for (const one of round === 1 ? cases : judged) {
      progress(`round ${round} of ${ROUNDS}: ${one.name}`);
      await runCase(one, { modelsDir, capacity }, load);
    }
  }
  const figures: Figures = {
    title: `${SECONDS.overload} s of ${OVERLOAD} times the capacity; milliseconds of what was accepted`,
    headings: [
      "",
      "capacity/s",
      "offered",
      "goodput",
      "unloaded p99 ms",
      "p50 ms",
      "p99 ms",
      "of unloaded",
      "refused",
      "late",
      "recovered in ms",
    ],
    lines: cases.map(lineOf),
  };
  return {
    settings: {
      model: `MLP ${SIZES.join("-")}, ${ROWS} rows a call and a batch, one worker with one thread; creates with wait over gRPC`,
      capacity: `answers a second with ${CAPACITY_IN_FLIGHT} in flight; offered and goodput are shares of it`,
      unloaded: `${LOW} of the capacity, ${SECONDS.before} s`,
      QUEUE_DELAY: `${QUEUE} × the unloaded p50, as measured before`,
      recovered: `every call of ${WINDOW_MS} ms accepted, their median within ${RECOVERED} × the unloaded one`,
      rounds: `${ROUNDS}, in turn, each on a new server; medians. ${none.name}: once`,
    },
    tables: [],
    figures: [figures],
    goals: judged.flatMap(goalsOf),
  };
}

/** Of a server that refuses nobody, and what a call takes it when it is not loaded; milliseconds. */
async function measureUnbound(modelsDir: string, generator: Generator, load: OpenLoad) {
  await using server = await startServer({
    settings: { ...SETTINGS, MODELS_DIR: modelsDir },
  });
  const address = new URL(server.grpcUrl).host;
  await capacityOf(generator, address);
  const capacity = await capacityOf(generator, address);
  return { capacity, p50: percentile(await unloaded(load, { address, capacity }), 0.5) };
}

export const overload: Row = {
  name: "overload",
  title: "creates with wait at three times the capacity, open loop",
  run,
};
