/** A worker that has a batch is given the next one when it is full already: its turn, its time and its luck. */
import { join } from "node:path";
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ABANDONED_MS } from "../../src/engine/batch-run.ts";
import type { Engine, EngineOptions, Job, JobResult } from "../../src/engine/engine.ts";
import { writeMlp } from "../models/mlp.ts";
import { floats, mlpJob, startEngine, until, workerPids } from "./harness.ts";

/** On the one runtime whose time for a short job is known to be neither too short nor too long. */
const SETTINGS = { workers: 1, batchMax: 1, runtime: "tfjs-wasm" } as const;

let seed = 0;

/** So many rows that no other job has. */
function rowsJob(rows: number, options: Partial<Job> = {}): Job {
  const data = new Uint8Array(new Float32Array(rows * 64).fill(++seed).buffer);
  const x = { dtype: "float32", shape: [rows, 64], data } as const;
  return mlpJob(seed, { input: { json: {}, tensors: { x }, files: {} }, ...options });
}

const SHORT_ROWS = 2000;
/** Some milliseconds of a worker: short, and not too short. */
const shortJob = (options: Partial<Job> = {}): Job => rowsJob(SHORT_ROWS, options);
/** Some tenths of a second of a worker. */
const longJob = (): Job => rowsJob(60_000);

/** That make the average what they take themselves: the first one's compiling is a hundredth of it then. */
const MEASURED = 20;

/** So that how long a batch takes is known. */
async function measure(engine: Engine): Promise<void> {
  for (let i = 0; i < MEASURED; i++) await engine.run(shortJob());
}

describe("a batch that is given ahead", () => {
  /** One worker, stopped, that has been given the first of two jobs and, ahead, the second; two more wait. */
  async function stopped(first: Job, second: Job, options: Partial<EngineOptions> = {}) {
    const fixture = await startEngine({ ...SETTINGS, ...options });
    const { engine } = fixture;
    // The first one started is the first worker.
    const [pid = 0] = await workerPids();
    // Only of a version whose batches are known to be short.
    await measure(engine);
    process.kill(pid, "SIGSTOP");
    const runs = [first, second, shortJob(), shortJob()].map((job) => engine.run(job));
    for (const run of runs) run.catch(() => undefined);
    await until(() => engine.stats().batches === MEASURED + 2);
    expect(engine.stats()).toMatchObject({ queued: 2, running: 2 });
    return { ...fixture, pid, runs };
  }

  it("is run when the one before it is done, and everything else after it", async () => {
    const { engine, pid, runs, stop } = await stopped(shortJob(), shortJob());
    try {
      process.kill(pid, "SIGCONT");
      const outputs = (await Promise.all(runs)).map((result) => floats(result));
      expect(new Set(outputs.map(String)).size).toBe(4);
      expect(engine.stats()).toMatchObject({ batches: MEASURED + 4, queued: 0, running: 0, workerDeaths: 0 });
    } finally {
      await stop();
    }
  });

  it("is of the version whose turn it is: one that always has a full batch leaves the others theirs", async () => {
    const modelsOf = async (modelsDir: string): Promise<void> => {
      for (const version of ["1", "2"]) await writeMlp(join(modelsDir, "acme", "mlp", version));
    };
    const { engine, stop } = await startEngine({ ...SETTINGS, batchMax: 2 }, modelsOf);
    const [pid = 0] = await workerPids();
    const order: string[] = [];
    const run = async (name: string, job: Job): Promise<void> => {
      await engine.run(job);
      order.push(name);
    };
    try {
      await measure(engine);
      process.kill(pid, "SIGSTOP");
      const runs = [run("full 1", shortJob()), run("full 2", shortJob())];
      await until(() => engine.stats().batches === MEASURED + 2);
      runs.push(
        run("single", mlpJob(1, { version: 2 })),
        run("full 3", shortJob()),
        run("full 4", shortJob()),
      );
      process.kill(pid, "SIGCONT");
      await Promise.all(runs);
      expect(order).toEqual(["full 1", "full 2", "single", "full 3", "full 4"]);
    } finally {
      await stop();
    }
  });

  it("F3 is not blamed for the death of a worker that had not come to it", async () => {
    const deaths = { first: 0, second: 0 };
    const { engine, pid, runs, stop } = await stopped(
      shortJob({ onWorkerDeath: async () => void deaths.first++ }),
      shortJob({ onWorkerDeath: async () => void deaths.second++ }),
    );
    try {
      process.kill(pid, "SIGKILL");
      await Promise.all(runs);
      expect(deaths).toEqual({ first: 1, second: 0 });
      expect(engine.stats()).toMatchObject({ queued: 0, running: 0, workerDeaths: 1 });
    } finally {
      await stop();
    }
  });

  it("does not cost the worker its life when it is canceled before its turn", async () => {
    const abort = new AbortController();
    const { engine, pid, runs, stop } = await stopped(shortJob(), shortJob({ signal: abort.signal }));
    try {
      abort.abort();
      await expect(runs[1]).rejects.toMatchObject({ code: "canceled" });
      await delay(ABANDONED_MS + 200);
      process.kill(pid, "SIGCONT");
      for (const i of [0, 2, 3])
        expect(floats(await (runs[i] as Promise<JobResult>))).toHaveLength(10 * SHORT_ROWS);
      expect(engine.stats().workerDeaths).toBe(0);
    } finally {
      await stop();
    }
  });

  it("has the whole of its time from its turn on", async () => {
    const pauseMs = 1200;
    const { engine, pid, runs, stop } = await stopped(shortJob(), longJob(), { batchTimeoutMs: 2 * pauseMs });
    try {
      await delay(pauseMs);
      process.kill(pid, "SIGCONT");
      await runs[0];
      process.kill(pid, "SIGSTOP");
      await delay(pauseMs);
      process.kill(pid, "SIGCONT");
      await Promise.all(runs);
      expect(engine.stats().workerDeaths).toBe(0);
    } finally {
      await stop();
    }
  });

  it("is given where batches are short but not too short, and no sooner than their time is known", async () => {
    const { engine, stop } = await startEngine(SETTINGS);
    const [pid = 0] = await workerPids();
    const given = async (jobs: readonly Job[]): Promise<number> => {
      const { batches } = engine.stats();
      process.kill(pid, "SIGSTOP");
      const runs = jobs.map((job) => engine.run(job));
      // As long as it takes for one to be given ahead.
      await until(() => engine.stats().batches > batches);
      for (let turn = 0; turn < 3; turn++) await nextTurn();
      const count = engine.stats().batches - batches;
      process.kill(pid, "SIGCONT");
      await Promise.all(runs);
      return count;
    };
    try {
      expect(await given([shortJob(), shortJob()])).toBe(1);
      await measure(engine);
      expect(await given([shortJob(), shortJob()])).toBe(2);
      // Of the average that is looked at, the newest is a fifth.
      for (let i = 0; i < 4; i++) await engine.run(longJob());
      expect(await given([shortJob(), shortJob()])).toBe(1);
      // One that something else held up is an exception, and the average forgets it.
      await until(async () => {
        for (let i = 0; i < MEASURED; i++) await engine.run(rowsJob(1));
        return (await given([rowsJob(1), rowsJob(1)])) === 1;
      });
    } finally {
      await stop();
    }
  });
});
