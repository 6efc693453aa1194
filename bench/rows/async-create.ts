/**
 * Predictions from their creation to their terminal state, nobody waiting for any of them: CreatePrediction over gRPC
 * without `wait`, each answered once it is durable, on the MLP; against the bare echo of as many bytes. A round
 * ends when everything that it created is terminal, so that creation cannot run ahead of the work.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { TestServer } from "../../test/harness.ts";
import { ECHO_PATH } from "../echo-server.ts";
import { finishedOf } from "../finished.ts";
import { startFloor } from "../floor.ts";
import { mlpServers } from "../mlp-server.ts";
import { type Generator, measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";
import { CREATE_PATH, mlpRequest } from "./mlp-create.ts";

/** Predictions a second that the issue asks for, on two cores. */
const GOAL = 4000;
const IN_FLIGHT = 64;
const WARM_UP_SECONDS = 2;
/** What is left when the callers stop takes milliseconds; each look costs the server about one. */
const LOOK_EVERY_MS = 5;
const LEFT_TIMEOUT_MS = 30_000;

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

async function run(context: BenchContext): Promise<RowResult> {
  const { generator, inFlight, workers, seconds, rounds, progress } = context;
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
  const request = mlpRequest({ wait: false });
  await using echo = await startFloor("echo-server.ts", [String(answerBytes)]);
  const floor: Target = {
    name: "bare grpc-js echo",
    pid: echo.pid,
    load: { to: { kind: "grpc", address: echo.address, path: ECHO_PATH }, request, expect: "bytes" },
  };
  const tables: Table[] = [];
  const goals: Goal[] = [];
  for (const count of inFlight) {
    const measurements = await measure(generator, [floor, ...targets], {
      inFlight: count,
      seconds,
      rounds,
      warmUpSeconds: WARM_UP_SECONDS,
      onRound: (round) => progress(`${count} in flight: round ${round} of ${rounds}`),
    });
    tables.push({ title: `${count} creations in flight`, measurements });
    const [, ours] = measurements;
    if (count === IN_FLIGHT && ours) {
      goals.push({
        what: `${ours.name}: predictions a second to their terminal state`,
        value: ours.rate.median,
        atLeast: GOAL,
      });
    }
  }
  return {
    settings: {
      bytes: `${request.length} in, ${answerBytes} out`,
      answers: "predictions in their terminal state; percentiles are of the creations' answers",
      checked: "that every prediction succeeded, by the server's own count",
      store: "SQLite, WAL, synchronous=FULL; every answer after its commit, and every outcome committed",
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
