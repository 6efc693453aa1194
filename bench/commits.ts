/**
 * What grouping commits gains: creations per second with one commit each, and with as many to a commit as a busy
 * server has; then the whole store with its threads at 64 in flight, and what that costs the main thread.
 *
 *     node bench/commits.ts
 *
 * Rounds are interleaved, so that a disk or a neighbour that changes its mind meets all alike; medians are printed.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createIdMinter, type PredictionId } from "../src/domain/id.ts";
import type { Prediction } from "../src/domain/prediction.ts";
import { commitGroup } from "../src/store/group-commit.ts";
import { migrate } from "../src/store/migrate.ts";
import { openStore } from "../src/store/open-store.ts";
import { insertPrediction, predictionRow } from "../src/store/prediction.ts";
import { SqliteConnection } from "../src/store/sqlite.ts";
import { spread } from "./statistics.ts";

const ROUNDS = 7;
const ROUND_MS = 400;
const GROUP_SIZES = [1, 8, 64, 256];
const IN_FLIGHT = 64;

const mint = createIdMinter((bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>));

/** As a `tensor` model's creation: 64 floats in. */
function aPrediction(): Prediction {
  const now = Date.now() * 1000;
  return {
    id: mint(Date.now()) as PredictionId,
    principal: "local",
    model: "local/mlp",
    version: 1,
    status: "pending",
    revision: 1,
    attempt: 0,
    deaths: 0,
    input: {
      json: {},
      tensors: { x: { dtype: "float32", shape: [1, 64], data: crypto.getRandomValues(new Uint8Array(256)) } },
    },
    output: null,
    error: null,
    createdAt: now,
    updatedAt: now,
    startedAt: null,
    endedAt: null,
    setupTime: null,
    executionTime: null,
    deadlineAt: null,
    requestId: "",
    requestHash: "",
    webhook: null,
  };
}

/** Creations per second on one connection, `size` to a commit. */
async function commitRound(connection: SqliteConnection, size: number): Promise<number> {
  const began = performance.now();
  let count = 0;
  while (performance.now() - began < ROUND_MS) {
    const calls = Array.from({ length: size }, () => ({
      operation: insertPrediction.name,
      args: { row: predictionRow(aPrediction(), null), deliveries: [], images: [], queueMax: 1e9 },
    }));
    for (const outcome of await commitGroup(connection, calls)) {
      if (!outcome.ok) throw new Error(outcome.failure.text);
    }
    count += size;
  }
  return (count / (performance.now() - began)) * 1000;
}

interface StoreFigures {
  readonly rate: number;
  readonly mainMicroseconds: number;
  readonly processMicroseconds: number;
}

async function storeRound(insert: (prediction: Prediction) => Promise<unknown>): Promise<StoreFigures> {
  const began = performance.now();
  const mainBegan = process.threadCpuUsage();
  const processBegan = process.cpuUsage();
  let count = 0;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (performance.now() - began < ROUND_MS) {
        await insert(aPrediction());
        count += 1;
      }
    }),
  );
  const main = process.threadCpuUsage(mainBegan);
  const all = process.cpuUsage(processBegan);
  return {
    rate: (count / (performance.now() - began)) * 1000,
    mainMicroseconds: (main.user + main.system) / count,
    processMicroseconds: (all.user + all.system) / count,
  };
}

function median(values: readonly number[]): number {
  return spread(values).median;
}

const folder = mkdtempSync(join(tmpdir(), "auspex-bench-"));
try {
  const connection = new SqliteConnection(join(folder, "commits.db"), "write");
  await migrate(connection);
  const store = await openStore({ dataDir: join(folder, "store"), queueMax: 1e9 });
  const insert = (prediction: Prediction) =>
    store.predictions.insert({ prediction, lease: null, deliveries: [], images: [] });

  const rates = new Map(GROUP_SIZES.map((size) => [size, [] as number[]]));
  const whole: StoreFigures[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const size of GROUP_SIZES) rates.get(size)?.push(await commitRound(connection, size));
    whole.push(await storeRound(insert));
  }
  connection.close();
  await store.close();

  const alone = median(rates.get(1) ?? []);
  console.log(`Durable creations (WAL, synchronous=full), ${availableParallelism()} cores, ${folder}`);
  console.table(
    [...rates].map(([size, perSecond]) => ({
      "to a commit": size,
      "per second": Math.round(median(perSecond)),
      ratio: Number((median(perSecond) / alone).toFixed(1)),
    })),
  );
  console.table([
    {
      store: `${IN_FLIGHT} in flight`,
      "per second": Math.round(median(whole.map(({ rate }) => rate))),
      "µs of the main thread each": Number(median(whole.map((each) => each.mainMicroseconds)).toFixed(1)),
      "µs of all threads each": Number(median(whole.map((each) => each.processMicroseconds)).toFixed(1)),
    },
  ]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
