/**
 * Watch fan-out: a thousand WatchPrediction streams over gRPC and a hundred changes a second, each of which goes to ten
 * of them; and what it costs when one watcher in a hundred never reads.
 *
 * A prediction changes twice at most after it was created, so no few of them can change a hundred times a second. The
 * changes here are cancellations of predictions that wait in the queue, for those come exactly when they are asked for:
 * the worker is stopped, and enough predictions lie before the watched ones that none of these is begun.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { clientOf, startServer } from "../../test/harness.ts";
import { writeMlp } from "../../test/models/mlp.ts";
import { childrenOf, residentBytes, resume, suspend } from "../../test/processes.ts";
import { cpuTime } from "../cpu.ts";
import type { BenchContext, Figures, Row, RowResult } from "../row.ts";
import { percentile, spread } from "../statistics.ts";
import type { WatchOrder, WatchReply } from "../watch-load.ts";

const STREAMS = 1000;
const WATCHERS_EACH = 10;
const CHANGES_PER_SECOND = 100;
/** In one round. At its end as many streams are open as are asked for, and at its start so many more. */
const CHANGES = 100;
/** Of a round, beside its other watchers: one in a hundred of all that are open at its end. */
const DEAF = STREAMS / 100;
/** More than one worker is ever given at once. */
const BEFORE = 128;
const GOALS = { p99Ms: 20, deafBytes: 16 * 1024 ** 2 } as const;

function startWatchers() {
  const child = fork(join(import.meta.dirname, "..", "watch-load.ts"), { serialization: "advanced" });
  return {
    async order(order: WatchOrder) {
      child.send(order);
      const [reply] = (await once(child, "message")) as [WatchReply];
      if (reply.kind === "error") throw new Error(`the watchers: ${reply.message}`);
      return reply;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return;
      child.disconnect();
      await once(child, "exit");
    },
  };
}

type Watchers = ReturnType<typeof startWatchers>;

interface Scene {
  readonly pid: number;
  readonly url: string;
  /** Ids of predictions that change only when they are canceled. */
  createSome(count: number): Promise<readonly string[]>;
  cancel(id: string): Promise<unknown>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Through the client that both have. */
function operations(url: string): Pick<Scene, "url" | "createSome" | "cancel"> {
  const client = clientOf({ url, grpcUrl: url }, "grpc", PredictionService);
  const tensors = { x: { dtype: DataType.FLOAT32, shape: [1, 64], data: new Uint8Array(4 * 64) } };
  return {
    url,
    createSome: (count) =>
      Promise.all(
        Array.from({ length: count }, async () => {
          const { prediction } = await client.createPrediction({ model: "bench/mlp", tensors });
          return prediction?.id ?? "";
        }),
      ),
    cancel: (id) => client.cancelPrediction({ id }),
  };
}

async function startFloor(): Promise<Scene> {
  const child = fork(join(import.meta.dirname, "..", "watch-floor.ts"));
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  return {
    pid: child.pid ?? 0,
    ...operations(`http://127.0.0.1:${port}`),
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

async function startScene(modelsDir: string): Promise<Scene> {
  await using begun = new AsyncDisposableStack();
  const server = begun.use(
    await startServer({
      settings: {
        MODELS_DIR: modelsDir,
        CATALOGUE: "0",
        BATCH_TIMEOUT: "1h",
        ANSWER_TIMEOUT: "1h",
        DRAIN: "1s",
      },
    }),
  );
  const pid = server.process.pid ?? 0;
  const workers = childrenOf(pid);
  suspend(workers);
  begun.defer(async () => {
    resume(workers);
    await server.terminate();
  });
  const operated = operations(server.grpcUrl);
  await operated.createSome(BEFORE);
  const held = begun.move();
  return {
    pid,
    ...operated,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** One at a time at the given rate, whatever the answers take. */
async function cancelAtRate(scene: Scene, ids: readonly string[], perSecond: number): Promise<void> {
  const began = performance.now();
  const answers: Promise<unknown>[] = [];
  for (const [i, id] of ids.entries()) {
    const ahead = began + (i * 1000) / perSecond - performance.now();
    if (ahead > 0) await delay(ahead);
    const answer = scene.cancel(id);
    // Looked at in the end.
    answer.catch(() => undefined);
    answers.push(answer);
  }
  await Promise.all(answers);
}

interface Round {
  readonly delays: readonly number[];
  /** CPU per message, microseconds. */
  readonly mainCpu: number;
  readonly watchersCpu: number;
}

interface Case {
  readonly name: string;
  readonly scene: Scene;
  readonly deaf: boolean;
  /** Predictions that are canceled in a round, and the watchers of each. */
  readonly changes: number;
  readonly watchersEach: number;
  readonly rounds: Round[];
  /** Resident bytes of the main process at the end of each round. */
  readonly resident: number[];
}

async function runRound(watchers: Watchers, { scene, deaf, changes, watchersEach, resident }: Case) {
  const ids = await scene.createSome(changes);
  const each = ids.flatMap((id) => Array.from({ length: watchersEach }, () => id));
  await watchers.order({ kind: "open", url: scene.url, ids: each });
  if (deaf) await watchers.order({ kind: "open deaf", url: scene.url, ids: ids.slice(0, DEAF) });
  const before = cpuTime(scene.pid);
  const taken = watchers.order({ kind: "take", changes: each.length });
  taken.catch(() => undefined);
  await cancelAtRate(scene, ids, CHANGES_PER_SECOND);
  const { delays, cpuMicros } = await taken;
  const after = cpuTime(scene.pid);
  resident.push(residentBytes(scene.pid));
  return {
    delays,
    mainCpu: before && after ? (after.own - before.own) / each.length : Number.NaN,
    watchersCpu: cpuMicros / each.length,
  };
}

function lineOf({ name, rounds, resident }: Case): readonly string[] {
  const over = (pick: (round: Round) => number) => spread(rounds.map(pick));
  const ms = (share: number) => {
    const { median, min, max } = over((round) => delayAt(round, share) / 1000);
    return `${median.toFixed(1)} (${min.toFixed(1)}–${max.toFixed(1)})`;
  };
  return [
    name,
    ...[0.5, 0.95, 0.99].map(ms),
    over(({ mainCpu }) => mainCpu).median.toFixed(0),
    over(({ watchersCpu }) => watchersCpu).median.toFixed(0),
    (growth(resident) / 1024 ** 2).toFixed(0),
    String(rounds.reduce((sum, { delays }) => sum + delays.length, 0)),
  ];
}

function delayAt({ delays }: Round, share: number): number {
  return percentile(
    delays.toSorted((a, b) => a - b),
    share,
  );
}

/** The median of the rounds, milliseconds. */
function p99Of({ rounds }: Case): number {
  return spread(rounds.map((round) => delayAt(round, 0.99))).median / 1000;
}

/** Between the ends of the first and the last round. */
function growth(resident: readonly number[]): number {
  return (resident.at(-1) ?? Number.NaN) - (resident[0] ?? Number.NaN);
}

async function run({ rounds, progress }: BenchContext): Promise<RowResult> {
  await using cleanUp = new AsyncDisposableStack();
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-bench-"));
  cleanUp.defer(() => rm(modelsDir, { recursive: true, force: true }));
  await writeMlp(join(modelsDir, "bench", "mlp", "1"));
  const watchers = cleanUp.use(startWatchers());
  progress("starting the floor and two servers");
  const bare = cleanUp.use(await startFloor());
  const hearing = cleanUp.use(await startScene(modelsDir));
  const withDeaf = cleanUp.use(await startScene(modelsDir));
  const steady = { changes: CHANGES, watchersEach: WATCHERS_EACH, deaf: false };
  const once = { changes: 1, watchersEach: STREAMS, deaf: false };
  const caseOf = (
    name: string,
    scene: Scene,
    how: Pick<Case, "changes" | "watchersEach" | "deaf">,
  ): Case => ({
    name,
    scene,
    ...how,
    rounds: [],
    resident: [],
  });
  const plain = caseOf("all read", hearing, steady);
  const deaf = caseOf(`and ${DEAF} more a round that never read`, withDeaf, { ...steady, deaf: true });
  const cases = [
    caseOf("bare grpc-js", bare, steady),
    plain,
    deaf,
    caseOf(`bare grpc-js, one change to ${STREAMS} watchers`, bare, once),
    caseOf(`one change to ${STREAMS} watchers`, hearing, once),
  ];
  progress("opening the streams that stay");
  for (const scene of [bare, hearing, withDeaf]) {
    const ids = await scene.createSome(STREAMS / WATCHERS_EACH);
    const each = ids.flatMap((id) => Array.from({ length: WATCHERS_EACH }, () => id));
    await watchers.order({ kind: "open", url: scene.url, ids: each });
  }
  for (let round = 0; round <= rounds; round++) {
    for (const one of cases) {
      progress(`round ${round} of ${rounds}: ${one.name}`);
      const done = await runRound(watchers, one);
      // The first one warms up.
      if (round > 0) one.rounds.push(done);
    }
  }
  const figures: Figures = {
    title: "from the change's time, which is just before its commit, to its arrival",
    headings: [
      "",
      "p50 ms (min–max)",
      "p95",
      "p99",
      "CPU µs/message: main",
      "watchers",
      "main grew by MiB",
      "messages",
    ],
    lines: cases.map(lineOf),
  };
  return {
    settings: {
      streams: `${STREAMS} that stay, and in each round ${CHANGES * WATCHERS_EACH} more, which its changes end`,
      changes: `${CHANGES_PER_SECOND} a second, of as many predictions; each goes to ${WATCHERS_EACH} watchers`,
      "never read": "streams whose window is 0: the server may not send them a byte; they stay to the end",
      rounds: `${rounds} of ${CHANGES / CHANGES_PER_SECOND} s for each, in turn, after one of warming up; medians`,
    },
    tables: [],
    figures: [figures],
    goals: [
      { what: "p99 in ms, all read", value: p99Of(plain), atMost: GOALS.p99Ms },
      { what: "p99 in ms beside those that never read", value: p99Of(deaf), atMost: GOALS.p99Ms },
      {
        what: "MiB that main grew by, less what it grew by without those that never read",
        value: (growth(deaf.resident) - growth(plain.resident)) / 1024 ** 2,
        atMost: GOALS.deafBytes / 1024 ** 2,
      },
    ],
  };
}

export const watchers: Row = {
  name: "watchers",
  title: "1,000 WatchPrediction streams over gRPC, 100 changes a second, each to 10 watchers",
  run,
};
