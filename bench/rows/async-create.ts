/**
 * Predictions from their creation to their terminal state, nobody waiting for any of them: CreatePrediction over gRPC
 * without `wait`, each answered once it is durable, on the MLP; against the bare echo of as many bytes, and beside the
 * two job queues that a Node project would put on PostgreSQL. A round ends when everything that it created is
 * terminal, so that creation cannot run ahead of the work.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { TestServer } from "../../test/harness.ts";
import { bareGrpc } from "../bare.ts";
import { finishedOf } from "../finished.ts";
import { graphileWorker } from "../job-queues/graphile-worker.ts";
import { installJobQueues } from "../job-queues/install.ts";
import { pgBoss } from "../job-queues/pg-boss.ts";
import { startJobQueues, type Variant } from "../job-queues/targets.ts";
import { mlpServers } from "../mlp-server.ts";
import { type Generator, type Measurement, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";
import { CREATE_PATH, mlpRequest } from "./mlp-create.ts";

/** Predictions a second that the issue asks for, on two cores. */
const GOAL = 4000;
const IN_FLIGHT = 64;
/** V8 compiles for as long as it sees something new: for some 25,000 creations, which took 8 s on a slow machine. */
const WARM_UP_SECONDS = 6;
/** What is left when the callers stop takes milliseconds; each look costs the server about one. */
const LOOK_EVERY_MS = 5;
const LEFT_TIMEOUT_MS = 30_000;

/** Jobs that the queues' own calls for many take at once. */
const PER_CALL = 32;
const JOB_QUEUES: readonly Variant[] = [
  { name: "graphile-worker, quick start", queue: "graphile-worker", tuning: "documented", perCall: 1 },
  { name: "graphile-worker, tuned", queue: "graphile-worker", tuning: "tuned", perCall: 1 },
  { name: `the same, ${PER_CALL} jobs a call`, queue: "graphile-worker", tuning: "tuned", perCall: PER_CALL },
  { name: "pg-boss, tuned", queue: "pg-boss", tuning: "tuned", perCall: 1 },
  { name: `the same, ${PER_CALL} jobs a call`, queue: "pg-boss", tuning: "tuned", perCall: PER_CALL },
];

const JOB_QUEUES_NOTE =
  "on PostgreSQL with its defaults (durable); a process adds, another runs the same MLP; " +
  "main and workers are PostgreSQL's CPU, generator is theirs; " +
  `tuned: graphile-worker ${graphileWorker.settings.tuned}; pg-boss ${pgBoss.settings.tuned} ` +
  `(as its first example has it, it does ${pgBoss.settings.documented})`;

/** Answers are the creations that have ended, and the time runs until the last one has. */
function untilTerminal(name: string, server: TestServer, generator: Generator): Target {
  const to = { kind: "grpc", address: new URL(server.grpcUrl).host, path: CREATE_PATH } as const;
  const request = mlpRequest({ wait: false });
  return {
    name,
    pid: server.process.pid ?? 0,
    async load(round) {
      const before = await finishedOf(server);
      const result = await generator.run({ to, request, expect: "accepted prediction", ...round });
      const left = performance.now();
      let now = await finishedOf(server);
      while (now.unfinished > 0) {
        if (performance.now() - left > LEFT_TIMEOUT_MS)
          throw new Error(`${now.unfinished} predictions do not end`);
        await delay(LOOK_EVERY_MS);
        now = await finishedOf(server);
      }
      const seconds = result.seconds + (performance.now() - left) / 1000;
      const succeeded = now.succeeded - before.succeeded;
      if (succeeded !== result.requests || now.otherwise !== before.otherwise) {
        throw new Error(`of ${result.requests} predictions ${succeeded} succeeded`);
      }
      return { ...result, seconds, checked: succeeded };
    },
  };
}

/** Ours is held against the best of each queue that takes its jobs one by one, as a server gets them. */
function goalsOf([, ours, ...others]: readonly Measurement[]): readonly Goal[] {
  if (!ours) return [];
  const goals: Goal[] = [
    {
      what: `${ours.name}: predictions a second to their terminal state`,
      value: ours.rate.median,
      atLeast: GOAL,
    },
  ];
  for (const queue of ["graphile-worker", "pg-boss"] as const) {
    const names = new Set(
      JOB_QUEUES.filter((v) => v.queue === queue && v.perCall === 1).map(({ name }) => name),
    );
    const rates = others.filter(({ name }) => names.has(name)).map(({ rate }) => rate.median);
    if (rates.length === 0) continue;
    goals.push({
      what: `${ours.name}, rate of ${queue}'s with a call for each job`,
      value: ours.rate.median / Math.max(...rates),
      atLeast: 1,
    });
  }
  return goals;
}

async function run(context: BenchContext): Promise<RowResult> {
  const { generator, inFlight = [IN_FLIGHT], workers, seconds, rounds, progress } = context;
  await using servers = await mlpServers();
  const targets: Target[] = [];
  let answerBytes = 0;
  for (const count of workers) {
    const name = `durable create, ${count} worker${count === 1 ? "" : "s"}`;
    progress(`starting: ${name}`);
    const server = await servers.start({ WORKERS: String(count), RATE_LIMIT: "off" });
    const target = untilTerminal(name, server, generator);
    if (typeof target.load !== "function") continue;
    answerBytes = (await target.load({ inFlight: 1, seconds: 0.1 })).response.length;
    targets.push(target);
  }
  const missing = await installJobQueues();
  await using queues = missing === undefined ? await startJobQueues(JOB_QUEUES, servers.folder) : undefined;
  const request = mlpRequest({ wait: false });
  await using echo = await bareGrpc(answerBytes, request);
  const tables: Table[] = [];
  const goals: Goal[] = [];
  for (const count of inFlight) {
    const measurements = await measure(generator, [echo.target, ...targets, ...(queues?.targets ?? [])], {
      inFlight: count,
      seconds,
      rounds,
      warmUpSeconds: WARM_UP_SECONDS,
      onRound: (round) => progress(`${count} in flight: round ${round} of ${rounds}`),
    });
    tables.push({ title: `${count} creations in flight`, measurements });
    if (count === IN_FLIGHT) goals.push(...goalsOf(measurements));
  }
  return {
    settings: {
      bytes: `${request.length} in, ${answerBytes} out`,
      answers: "predictions in their terminal state; percentiles are of the creations' answers",
      checked: "that every prediction succeeded, by the server's own count",
      store: "SQLite, WAL, synchronous=FULL; every answer after its commit, and every outcome committed",
      "job queues": missing === undefined ? JOB_QUEUES_NOTE : `left out: ${missing}`,
      rounds: `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians`,
    },
    tables,
    goals,
  };
}

export const asyncCreate: Row = {
  name: "async-create",
  title: "durable CreatePrediction without wait over gRPC, MLP 64-128-128-10, until all are terminal",
  run,
};
