import { type ChildProcess, spawn } from "node:child_process";
import { readdir, rename, rm, truncate } from "node:fs/promises";
import { basename, join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Job } from "../../src/engine/engine.ts";
import { writeMlp, writeModel } from "../models/mlp.ts";
import {
  type EngineFixture,
  floats,
  mlpJob,
  RUNTIME,
  row,
  startEngine,
  until,
  workerPids,
} from "./harness.ts";

/**
 * Above what a worker takes with a small model, below what the large ones here need: tfjs-node itself takes 440 MB,
 * with a GPU 1.2 GB.
 */
const WORKER_MEMORY_MIB: Partial<Record<typeof RUNTIME, number>> = {
  "tfjs-node": 800,
  "tfjs-node-gpu": 1500,
};
const WORKER_MEMORY_BYTES = (WORKER_MEMORY_MIB[RUNTIME] ?? 400) * 1024 ** 2;

/** Wide enough that a batch of `slowJob`s takes long enough to be caught in the middle. */
const wide = (modelsDir: string): Promise<void> =>
  writeMlp(join(modelsDir, "acme", "mlp", "1"), {
    sizes: [64, 1024, 1024, 10],
    manifest: { batchMax: 1024 },
  });

/** Its one layer makes 8000 × 8000 floats of 64. */
async function writeBalloon(folder: string): Promise<void> {
  await tf.setBackend("cpu");
  const input = layers.input({ shape: [8, 8, 1], name: "x" });
  const grown = layers.layers.upSampling2d({ size: [1000, 1000] }).apply(input) as layers.SymbolicTensor;
  await writeModel(folder, layers.model({ inputs: input, outputs: grown }), { task: "tensor" });
}

const SLOW_ROWS = 256;

function slowJob(seed: number, options: Partial<Job> = {}): Job {
  const data = new Uint8Array(Buffer.concat(Array(SLOW_ROWS).fill(new Uint8Array(row(seed).buffer))));
  const tensors = { x: { dtype: "float32", shape: [SLOW_ROWS, 64], data } } as const;
  return mlpJob(seed, { input: { json: {}, tensors, files: {} }, ...options });
}

describe("a running engine", () => {
  let fixture: EngineFixture;
  beforeAll(async () => {
    fixture = await startEngine();
  });
  afterAll(() => fixture.stop());

  it("answers the same for a row alone and in a batch, each caller its own", async () => {
    const { engine } = fixture;
    const alone: number[][] = [];
    for (let seed = 0; seed < 8; seed++) alone.push(floats(await engine.run(mlpJob(seed))));
    const before = engine.stats();
    const together = await Promise.all(
      Array.from({ length: 200 }, (_, i) => engine.run(mlpJob(i % 8)).then(floats)),
    );
    const after = engine.stats();
    expect(after.batches - before.batches).toBeLessThan(50);
    for (const [i, outputs] of together.entries()) {
      for (const [j, value] of outputs.entries())
        expect(value).toBeCloseTo(alone[i % 8]?.[j] ?? Number.NaN, 5);
    }
    expect(new Set(alone.map(String)).size).toBe(8);
  });

  it("sends full batches to all free workers in the turn in which they are full, and what is less in the next", async () => {
    const { engine } = fixture;
    const full = engine.stats().workers * 32;
    await until(() => engine.liveWorkers() === engine.stats().workers);
    for (const [jobs, waiting] of [
      [full, 0],
      [full - 1, full - 1],
    ] as const) {
      // The last callers hear of their results before the workers are free.
      await new Promise(setImmediate);
      const runs = Array.from({ length: jobs }, (_, i) => engine.run(mlpJob(i)));
      await new Promise(process.nextTick);
      expect(engine.stats().queued).toBe(waiting);
      await Promise.all(runs);
    }
  });

  it("runs several rows of one caller, and answers JSON with JSON", async () => {
    const { engine } = fixture;
    const rows = [1, 2].map((seed) => [...row(seed)]);
    const input = {
      json: { inputs: { x: { dtype: "float32", shape: [2, 64], data: rows } } },
      tensors: {},
      files: {},
    };
    const { output } = await engine.run(mlpJob(0, { input }));
    const single = await Promise.all([1, 2].map((seed) => engine.run(mlpJob(seed)).then(floats)));
    const y = (output.json as { outputs: { y: { dtype: string; shape: number[]; data: number[] } } }).outputs
      .y;
    expect(y.shape).toEqual([2, 10]);
    for (const [i, value] of y.data.entries()) expect(value).toBeCloseTo(single.flat()[i] ?? Number.NaN, 5);
  });

  it("refuses what the model cannot take, by field, before it is queued", async () => {
    const { engine } = fixture;
    const tensor = { dtype: "float32", shape: [1, 64], data: new Uint8Array(256) } as const;
    const cases: [Job["input"]["tensors"], string][] = [
      [{ x: { ...tensor, shape: [64] } }, 'tensors["x"].shape'],
      [{ x: { ...tensor, shape: [1, 65] } }, 'tensors["x"].shape'],
      [{ x: { ...tensor, shape: [0, 64], data: new Uint8Array() } }, 'tensors["x"].shape'],
      [{ x: { ...tensor, data: new Uint8Array(255) } }, 'tensors["x"].data'],
      [{ x: { ...tensor, dtype: "int32" } }, 'tensors["x"].dtype'],
      [{ x: tensor, z: tensor }, 'tensors["z"]'],
      [{ z: tensor }, 'tensors["x"]'],
    ];
    const { batches } = engine.stats();
    for (const [tensors, field] of cases) {
      const run = engine.run(mlpJob(0, { input: { json: {}, tensors, files: {} } }));
      const violation = expect.objectContaining({ field });
      await expect(run).rejects.toMatchObject({ code: "invalid_argument" });
      await expect(run).rejects.toHaveProperty("violations", expect.arrayContaining([violation]));
    }
    await expect(engine.run(mlpJob(0, { version: 7 }))).rejects.toMatchObject({ code: "not_found" });
    expect(engine.stats().batches).toBe(batches);
  });

  it("picks up a new version while it serves, and marks a bad one failed", async () => {
    const { engine, modelsDir } = fixture;
    const old = floats(await engine.run(mlpJob(1)));
    await writeMlp(join(modelsDir, "acme", "mlp", "2"), { seed: 2 });
    await until(() => engine.models.latest("acme", "mlp")?.version === 2);
    expect(floats(await engine.run(mlpJob(1, { version: 2 })))).not.toEqual(old);
    expect(floats(await engine.run(mlpJob(1)))).toEqual(old);
    const aside = join(modelsDir, "..", `${basename(modelsDir)}-aside`);
    await writeMlp(aside, { seed: 3 });
    await truncate(join(aside, "weights.bin"), 1000);
    await rename(aside, join(modelsDir, "acme", "mlp", "3"));
    await until(() => engine.models.get("acme", "mlp", 3)?.state.kind === "failed");
    expect(engine.models.get("acme", "mlp", 3)?.state).toMatchObject({
      reason: expect.stringContaining("weights.bin (1000 bytes) is cut short"),
    });
    expect(engine.models.latest("acme", "mlp")?.version).toBe(2);
  });

  it("fails at the deadline without running, and leaves at once when canceled", async () => {
    const { engine } = fixture;
    const { items } = engine.stats();
    await expect(engine.run(mlpJob(0, { deadlineAt: performance.now() - 1 }))).rejects.toMatchObject({
      code: "deadline_exceeded",
    });
    await expect(engine.run(mlpJob(0, { signal: AbortSignal.abort() }))).rejects.toMatchObject({
      code: "canceled",
    });
    const controllers = Array.from({ length: 500 }, () => new AbortController());
    const runs = controllers.map(({ signal }, i) => engine.run(mlpJob(i, { signal })));
    for (const [i, controller] of controllers.entries()) if (i % 2 === 0) controller.abort();
    const settled = await Promise.allSettled(runs);
    const done = settled.filter(({ status }) => status === "fulfilled");
    expect(done).toHaveLength(250);
    expect(engine.stats()).toMatchObject({ queued: 0, running: 0, items: items + 250 });
    expect(engine.room()).toBeGreaterThan(0);
  });

  it("gives up a job that a worker died twice with before", async () => {
    const run = fixture.engine.run(mlpJob(0, { deaths: 2 }));
    await expect(run).rejects.toMatchObject({ code: "internal" });
    await expect(run).rejects.toThrow("the worker died twice while running this prediction");
  });
});

describe("with a delay", () => {
  it("joins what comes one after the other, honours deadlines, and a model's own delay goes before", async () => {
    const fixture = await startEngine({ batchDelayMs: 500 }, async (modelsDir) => {
      await writeMlp(join(modelsDir, "acme", "mlp", "1"));
      await writeMlp(join(modelsDir, "acme", "mlp", "2"), { manifest: { batchDelayMs: 0 } });
    });
    try {
      const { engine } = fixture;
      const began = performance.now();
      const runs: Promise<unknown>[] = [];
      for (let i = 0; i < 8; i++) {
        runs.push(engine.run(mlpJob(i)));
        // A turn of the event loop between any two: without a delay each would be a batch of its own.
        await new Promise((resolve) => setImmediate(resolve));
      }
      const late = engine.run(mlpJob(0, { deadlineAt: performance.now() + 50 }));
      await expect(late).rejects.toMatchObject({ code: "deadline_exceeded" });
      expect(floats(await engine.run(mlpJob(0, { version: 2 })))).toHaveLength(10);
      expect(engine.stats()).toMatchObject({ batches: 1, items: 1, queued: 8 });
      await Promise.all(runs);
      // Timers count whole milliseconds, so the batch may be one early.
      expect(performance.now() - began).toBeGreaterThanOrEqual(499);
      expect(engine.stats()).toMatchObject({ batches: 2, items: 9 });
    } finally {
      await fixture.stop();
    }
  });
});

describe("when workers die", () => {
  it("F3 a worker killed mid-batch costs nobody the result", async () => {
    const fixture = await startEngine({}, wide);
    try {
      const { engine } = fixture;
      await until(() => engine.liveWorkers() === 2);
      const right = floats(await engine.run(slowJob(3)));
      let deaths = 0;
      const job = slowJob(3, { onWorkerDeath: async () => void deaths++ });
      const { batches } = engine.stats();
      // The first one started is the first worker; with all of them free it has its share of what is queued.
      const [victim = 0] = await workerPids();
      const runs = Array.from({ length: 48 }, () => engine.run(job));
      await until(() => engine.stats().batches > batches);
      process.kill(victim, "SIGKILL");
      for (const result of await Promise.all(runs)) {
        for (const [i, value] of floats(result).entries())
          expect(value).toBeCloseTo(right[i] ?? Number.NaN, 5);
      }
      expect(deaths).toBeGreaterThan(0);
      expect(deaths).toBeLessThan(48);
      expect(engine.stats().workerDeaths).toBe(1);
      await until(() => engine.liveWorkers() === 2);
      expect(engine.stats()).toMatchObject({ queued: 0, running: 0 });
    } finally {
      await fixture.stop();
    }
  });

  it("kills a worker that hangs, and fails its job at the second time", async () => {
    const fixture = await startEngine({ workers: 1, batchTimeoutMs: 300 });
    try {
      const { engine } = fixture;
      const stopAll = async (): Promise<void> => {
        for (const pid of await workerPids()) process.kill(pid, "SIGSTOP");
      };
      await stopAll();
      const run = engine.run(
        mlpJob(1, {
          // The next worker is stopped as well, as soon as it serves.
          onWorkerDeath: async () => {
            await until(() => engine.liveWorkers() === 1);
            await stopAll();
          },
        }),
      );
      await expect(run).rejects.toMatchObject({ code: "internal" });
      await expect(run).rejects.toThrow("silent for 300 ms");
      expect(floats(await engine.run(mlpJob(1)))).toHaveLength(10);
    } finally {
      await fixture.stop();
    }
  });

  it("answers a deadline on time while the worker hangs, and then replaces the worker", async () => {
    const fixture = await startEngine({ workers: 1 });
    try {
      const { engine } = fixture;
      for (const pid of await workerPids()) process.kill(pid, "SIGSTOP");
      const run = engine.run(mlpJob(1, { deadlineAt: performance.now() + 200 }));
      await expect(run).rejects.toMatchObject({ code: "deadline_exceeded" });
      expect(engine.stats().workerDeaths).toBe(0);
      expect(floats(await engine.run(mlpJob(1)))).toHaveLength(10);
      expect(engine.stats().workerDeaths).toBe(1);
    } finally {
      await fixture.stop();
    }
  });

  it("F31 kills a worker that outgrows its memory, and fails that job alone", async () => {
    const fixture = await startEngine({ workers: 1, workerMemoryBytes: WORKER_MEMORY_BYTES });
    try {
      const { engine } = fixture;
      // 600,000 rows: 154 MB of input, and the same again for each copy and twice that for each hidden layer.
      const rows = 600_000;
      const x = { dtype: "float32", shape: [rows, 64], data: new Uint8Array(rows * 256) } as const;
      const large = engine.run(mlpJob(0, { input: { json: {}, tensors: { x }, files: {} } }));
      await expect(large).rejects.toMatchObject({ code: "resource_exhausted" });
      expect(floats(await engine.run(mlpJob(1)))).toHaveLength(10);
    } finally {
      await fixture.stop();
    }
  });

  it("F30 a version that outgrows the memory while it is tried fails, and the others serve", async () => {
    const fixture = await startEngine({ workers: 1, workerMemoryBytes: WORKER_MEMORY_BYTES });
    try {
      const { engine, modelsDir } = fixture;
      await writeBalloon(join(modelsDir, "acme", "balloon", "1"));
      const state = () => engine.models.get("acme", "balloon", 1)?.state;
      await until(() => state()?.kind === "failed");
      expect(state()).toMatchObject({ reason: "the worker outgrew its memory" });
      expect(floats(await engine.run(mlpJob(1)))).toHaveLength(10);
      expect(engine.liveWorkers()).toBe(1);
      // And the next version is tried as if nothing had been.
      await writeMlp(join(modelsDir, "acme", "mlp", "2"), { seed: 2 });
      await until(() => engine.models.latest("acme", "mlp")?.version === 2);
    } finally {
      await fixture.stop();
    }
  });

  it("F30 a version that hangs while it is tried fails in time, and the others serve", async () => {
    const fixture = await startEngine({ workers: 1, loadTimeoutMs: 8000 });
    try {
      const { engine, modelsDir } = fixture;
      // The first one started has become the worker; the next one tries what comes later.
      const [, trial = 0] = await workerPids();
      process.kill(trial, "SIGSTOP");
      await writeMlp(join(modelsDir, "acme", "mlp", "2"), { seed: 2 });
      await until(() => engine.models.get("acme", "mlp", 2)?.state.kind === "loading");
      expect(floats(await engine.run(mlpJob(1)))).toHaveLength(10);
      await until(() => engine.models.get("acme", "mlp", 2)?.state.kind === "failed");
      expect(engine.models.get("acme", "mlp", 2)?.state).toMatchObject({
        reason: expect.stringContaining("8000 ms"),
      });
      expect(engine.models.latest("acme", "mlp")?.version).toBe(1);
      await until(() => !isAlive(trial));
    } finally {
      await fixture.stop();
    }
  });

  it("leaves no process behind when it closes, and none when its own process is killed", async () => {
    const fixture = await startEngine();
    const own = await workerPids();
    expect(own).toHaveLength(3);
    await fixture.stop();
    for (const pid of own) expect(isAlive(pid)).toBe(false);

    const program = `
      const { mlpJob, startEngine, until, workerPids } = await import(${JSON.stringify(new URL("./harness.ts", import.meta.url).href)});
      const { engine, modelsDir } = await startEngine();
      const pids = await workerPids();
      // One of them is in the middle of a long run, in which it hears nothing from its channel.
      const rows = 1000000;
      const x = { dtype: "float32", shape: [rows, 64], data: new Uint8Array(rows * 256) };
      void engine.run(mlpJob(0, { input: { json: {}, tensors: { x }, files: {} } }));
      await until(() => engine.stats().batches === 1);
      console.log(JSON.stringify({ pids, modelsDir }));
      setInterval(() => undefined, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const { pids, modelsDir } = JSON.parse(await firstLine(child)) as { pids: number[]; modelsDir: string };
    expect(pids).toHaveLength(3);
    child.kill("SIGKILL");
    await until(() => pids.every((pid) => !isAlive(pid)));
    await rm(modelsDir, { recursive: true, force: true });
    await expect(readdir(modelsDir)).rejects.toThrow();
  });
});

async function firstLine(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk);
    const end = text.indexOf("\n");
    if (end >= 0 && text.startsWith("{")) return text.slice(0, end);
    if (end >= 0) text = text.slice(end + 1);
  }
  throw new Error("the process ended without a line");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
