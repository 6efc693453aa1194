/**
 * What batching costs a lone caller and gains many: a small MLP behind a durable create, with the model's own batch
 * maximum against AUSPEX_BATCH_MAX=1, one worker each.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServer, type TestServer } from "../../test/harness.ts";
import { writeMlp } from "../../test/models/mlp.ts";
import { measure, type Target } from "../rounds.ts";
import type { BenchContext, Goal, Row, RowResult, Table } from "../row.ts";
import { CREATE_PATH, mlpRequest } from "./mlp-create.ts";

const LONE = 1;
const MANY = 64;
/** The lone caller's p50 may be a tenth longer. */
const LONE_GOAL = 1 / 1.1;
const MANY_GOAL = 1;
const WARM_UP_SECONDS = 2;
/**
 * A lone caller's rounds are so many times shorter and more: both do the same then, and what the machine does besides
 * in a round of two seconds would else be the difference.
 */
const LONE_SHARES = 4;

interface Counts {
  readonly batches: number;
  readonly items: number;
}

async function counts(server: TestServer): Promise<Counts> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const read = (name: string): number => Number(new RegExp(`^${name} (\\d+)`, "m").exec(text)?.[1]);
  return { batches: read("auspex_engine_batches"), items: read("auspex_engine_items") };
}

function targetOf(name: string, server: TestServer): Target {
  const address = new URL(server.grpcUrl).host;
  const load = {
    to: { kind: "grpc", address, path: CREATE_PATH },
    request: mlpRequest(),
    expect: "succeeded prediction",
  } as const;
  return { name, pid: server.process.pid ?? 0, load };
}

async function run({ generator, seconds, rounds, progress }: BenchContext): Promise<RowResult> {
  await using cleanUp = new AsyncDisposableStack();
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-bench-"));
  cleanUp.defer(() => rm(modelsDir, { recursive: true, force: true }));
  await writeMlp(join(modelsDir, "bench", "mlp", "1"));
  const common = { MODELS_DIR: modelsDir, CATALOGUE: "0", WORKERS: "1", THREADS: "1" };
  const off = await startServer({ settings: { ...common, BATCH_MAX: "1" } });
  cleanUp.use(off);
  const on = await startServer({ settings: common });
  cleanUp.use(on);
  const targets = [targetOf("batching off", off), targetOf("batching on", on)];
  const tables: Table[] = [];
  const goals: Goal[] = [];
  const means: string[] = [];
  for (const inFlight of [LONE, MANY]) {
    const before = await counts(on);
    const shares = inFlight === LONE ? LONE_SHARES : 1;
    const measurements = await measure(generator, targets, {
      inFlight,
      seconds: seconds / shares,
      rounds: rounds * shares,
      warmUpSeconds: WARM_UP_SECONDS,
      onRound: (round) => progress(`${inFlight} in flight: round ${round} of ${rounds * shares}`),
    });
    const after = await counts(on);
    const mean = (after.items - before.items) / (after.batches - before.batches);
    means.push(`${mean.toFixed(1)} at ${inFlight} in flight`);
    tables.push({ title: `${inFlight} in flight`, measurements });
    const [without, batched] = measurements;
    if (!without || !batched) continue;
    goals.push(
      inFlight === LONE
        ? {
            what: `${LONE} in flight: p50 with batching off, of that with it on`,
            value: without.p50.median / batched.p50.median,
            atLeast: LONE_GOAL,
          }
        : {
            what: `${MANY} in flight: rate with batching on, of that with it off`,
            value: batched.rate.median / without.rate.median,
            atLeast: MANY_GOAL,
          },
    );
  }
  return {
    settings: {
      model: "MLP 64-128-128-10 on the first runtime that takes it, 1 worker × 1 thread",
      "mean batch": means.join(", "),
      rounds:
        `${rounds} × ${seconds} s for each, in turn, after ${WARM_UP_SECONDS} s of warming up; medians; ` +
        `a lone caller's ${rounds * LONE_SHARES} × ${seconds / LONE_SHARES} s`,
    },
    tables,
    goals,
  };
}

export const batching: Row = {
  name: "batching",
  title: "batching on against off, a small tensor model, one call in flight and many",
  run,
};
