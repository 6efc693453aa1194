/**
 * A new version under load: while the MLP is asked by 16 callers at once, its next version is put into the models
 * folder. Nobody may fail, and what the switch costs shows in the latencies of the second around it.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startServer } from "../../test/harness.ts";
import { writeMlp } from "../../test/models/mlp.ts";
import type { BenchContext, Figures, Row, RowResult } from "../row.ts";
import { percentile, spread } from "../statistics.ts";
import type { TimedCall, TimedOrder, TimedReply } from "../timed-load.ts";
import { CREATE_PATH, mlpRequest } from "./mlp-create.ts";

const IN_FLIGHT = 16;
const WORKERS = [1, 2] as const;
/** Of one load, and when in it the version is put into its place. */
const LOAD_SECONDS = 4;
const PLACED_MS = 1500;
/** Before and after the first answer of the new version. */
const AROUND_MS = 500;
const SWITCHES = 3;

interface Switch {
  /** Milliseconds; of the second before the version was placed, from there to the switch, and around that. */
  readonly before: number;
  readonly loading: number;
  readonly around: number;
  /** From placing it to its first answer. */
  readonly tookMs: number;
  readonly calls: number;
  readonly failed: number;
  readonly failures: readonly string[];
}

function p99(calls: readonly TimedCall[]): number {
  return percentile(
    calls.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b),
    0.99,
  );
}

function startLoad() {
  const child = fork(join(import.meta.dirname, "..", "timed-load.ts"), { serialization: "advanced" });
  return {
    async run(order: TimedOrder) {
      child.send(order);
      const [reply] = (await once(child, "message")) as [TimedReply];
      if (reply.kind === "error") throw new Error(reply.message);
      return reply;
    },
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

/** @param place puts the version there */
async function switchTo(
  version: number,
  load: ReturnType<typeof startLoad>,
  address: string,
  place: () => Promise<void>,
): Promise<Switch> {
  const order = { address, path: CREATE_PATH, request: mlpRequest(), inFlight: IN_FLIGHT };
  const loading = load.run({ ...order, seconds: LOAD_SECONDS });
  loading.catch(() => undefined);
  await delay(PLACED_MS);
  await place();
  const { calls, failures } = await loading;
  const times = calls.filter((call) => call.version === version).map(({ sentMs }) => sentMs);
  if (times.length === 0) throw new Error(`version ${version} gave no answer within ${LOAD_SECONDS} s`);
  const switchedMs = Math.min(...times);
  // By when they were answered, for a call that the switch held up was sent before it.
  const between = (from: number, to: number) =>
    calls.filter(({ sentMs, tookMs }) => sentMs + tookMs >= from && sentMs + tookMs < to);
  return {
    before: p99(between(PLACED_MS - 1000, PLACED_MS)),
    loading: p99(between(PLACED_MS, switchedMs)),
    around: p99(between(switchedMs - AROUND_MS, switchedMs + AROUND_MS)),
    tookMs: switchedMs - PLACED_MS,
    calls: calls.length,
    failed: calls.filter((call) => call.version === undefined).length,
    failures,
  };
}

async function switches(workers: number, progress: BenchContext["progress"]): Promise<readonly Switch[]> {
  await using cleanUp = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "auspex-bench-"));
  cleanUp.defer(() => rm(folder, { recursive: true, force: true }));
  const models = join(folder, "models", "bench", "mlp");
  await mkdir(models, { recursive: true });
  // Aside, so that one rename puts each into its place.
  const aside = (version: number) => join(folder, String(version));
  for (let version = 1; version <= SWITCHES + 1; version++) {
    await writeMlp(aside(version), { seed: version });
  }
  const place = (version: number) => rename(aside(version), join(models, String(version)));
  await place(1);
  progress(`starting: ${workers} workers`);
  const settings = { MODELS_DIR: join(folder, "models"), CATALOGUE: "0", WORKERS: String(workers) };
  const server = cleanUp.use(await startServer({ settings }));
  cleanUp.defer(async () => void (await server.terminate()));
  const address = new URL(server.grpcUrl).host;
  const load = cleanUp.use(startLoad());
  const order = { address, path: CREATE_PATH, request: mlpRequest(), inFlight: IN_FLIGHT };
  await load.run({ ...order, seconds: 1 });
  const done: Switch[] = [];
  for (let version = 2; version <= SWITCHES + 1; version++) {
    progress(`${workers} workers: version ${version}`);
    done.push(await switchTo(version, load, address, () => place(version)));
  }
  return done;
}

function lineOf(workers: number, done: readonly Switch[]): readonly string[] {
  const ms = (pick: (one: Switch) => number) => {
    const { median, min, max } = spread(done.map(pick));
    return `${median.toFixed(1)} (${min.toFixed(1)}–${max.toFixed(1)})`;
  };
  const total = (pick: (one: Switch) => number) => done.reduce((sum, one) => sum + pick(one), 0);
  const { median: before } = spread(done.map((one) => one.before));
  const { median: around } = spread(done.map((one) => one.around));
  return [
    `${workers} worker${workers === 1 ? "" : "s"}`,
    ms((one) => one.before),
    ms((one) => one.loading),
    ms((one) => one.around),
    (around / before).toFixed(2),
    spread(done.map((one) => one.tookMs)).median.toFixed(0),
    String(total((one) => one.calls)),
    String(total((one) => one.failed)),
  ];
}

async function run({ progress }: BenchContext): Promise<RowResult> {
  const results = new Map<number, readonly Switch[]>();
  for (const workers of WORKERS) results.set(workers, await switches(workers, progress));
  const all = [...results.values()].flat();
  const [why] = all.flatMap(({ failures }) => failures);
  const figures: Figures = {
    title: `${IN_FLIGHT} in flight, ${SWITCHES} new versions one after the other; medians`,
    headings: [
      "",
      "p99 ms before (min–max)",
      "while it loads",
      "around the switch",
      "of before",
      "placed to served ms",
      "calls",
      "failed",
    ],
    lines: [...results].map(([workers, done]) => lineOf(workers, done)),
  };
  return {
    settings: {
      before: "the second before the new version is renamed into the models folder",
      around: "half a second on either side of the first call that the new version answered",
      ...(why === undefined ? {} : { "first failure": why }),
    },
    tables: [],
    figures: [figures],
    goals: [
      {
        what: "failed calls",
        value: all.reduce((sum, { failed }) => sum + failed, 0),
        atMost: 0,
      },
    ],
  };
}

export const reload: Row = {
  name: "reload",
  title: "a new version of the MLP is picked up while it is asked by 16 callers",
  run,
};
