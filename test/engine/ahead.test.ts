/** A worker that has a batch is given the next one when it is full already: its turn, its time and its luck. */
import { join } from "node:path";
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ABANDONED_MS } from "../../src/engine/batch-run.ts";
import type { EngineOptions, Job, JobResult } from "../../src/engine/engine.ts";
import { writeMlp } from "../models/mlp.ts";
import { floats, mlpJob, startEngine, until, workerPids } from "./harness.ts";

const ALWAYS = { min: 0, max: Number.POSITIVE_INFINITY };

/** However long a batch takes: nobody knows how fast this machine is, or what else it does. */
const SETTINGS = { workers: 1, batchMax: 1, aheadMs: ALWAYS } as const;

let seed = 0;

/** So many rows that no other job has. */
function rowsJob(rows: number, options: Partial<Job> = {}): Job {
  const data = new Uint8Array(new Float32Array(rows * 64).fill(++seed).buffer);
  const x = { dtype: "float32", shape: [rows, 64], data } as const;
  return mlpJob(seed, { input: { json: {}, tensors: { x }, files: {} }, ...options });
}

const SHORT_ROWS = 2000;
/** Some milliseconds of a worker. */
const shortJob = (options: Partial<Job> = {}): Job => rowsJob(SHORT_ROWS, options);
/** Long enough to be still at work when the one before it is known to be done. */
const longJob = (): Job => rowsJob(20 * SHORT_ROWS);

/** Jobs that have run before, so that how long a batch takes is known. */
const MEASURED = 1;

/** Stops the one worker, which is the first that was started. */
async function stopWorker(): Promise<number> {
  const [pid = 0] = await workerPids();
  process.kill(pid, "SIGSTOP");
  return pid;
}

describe("a batch that is given ahead", () => {
  /** One worker, stopped, that has been given the first of two jobs and, ahead, the second; two more wait. */
  async function stopped(first: Job, second: Job, options: Partial<EngineOptions> = {}) {
    const fixture = await startEngine({ ...SETTINGS, ...options });
    const { engine } = fixture;
    try {
      await engine.run(shortJob());
      const pid = await stopWorker();
      const runs = [first, second, shortJob(), shortJob()].map((job) => engine.run(job));
      for (const run of runs) run.catch(() => undefined);
      await until(() => engine.stats().batches === MEASURED + 2);
      expect(engine.stats()).toMatchObject({ queued: 2, running: 2 });
      return { ...fixture, pid, runs };
    } catch (error) {
      await fixture.stop();
      throw error;
    }
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
    const order: string[] = [];
    const run = async (name: string, job: Job): Promise<void> => {
      await engine.run(job);
      order.push(name);
    };
    try {
      await engine.run(shortJob());
      const pid = await stopWorker();
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
    const pauseMs = 2500;
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

  it.each([
    ["none before the time of its version is known", ALWAYS, [1, 2]],
    ["none that is shorter", { min: 60_000, max: 120_000 }, [1, 1]],
    ["none that is longer", { min: 0, max: 0 }, [1, 1]],
  ])("%s", async (_, aheadMs, expected) => {
    const { engine, stop } = await startEngine({ ...SETTINGS, aheadMs });
    const given: number[] = [];
    try {
      while (given.length < expected.length) {
        const { batches } = engine.stats();
        const pid = await stopWorker();
        const runs = [shortJob(), shortJob()].map((job) => engine.run(job));
        await until(() => engine.stats().batches > batches);
        // As long as it takes for one to be given ahead.
        for (let turn = 0; turn < 3; turn++) await nextTurn();
        given.push(engine.stats().batches - batches);
        process.kill(pid, "SIGCONT");
        await Promise.all(runs);
      }
      expect(given).toEqual(expected);
    } finally {
      await stop();
    }
  });
});
