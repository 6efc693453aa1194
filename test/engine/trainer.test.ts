/** Embeddings and fits in a trainer process. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createTrainer, type RunningTrainer, type TrainerOptions } from "../../src/engine/create-trainer.ts";
import { readManifest } from "../../src/engine/manifest.ts";
import type { Embedded, FitRequest, FitStep } from "../../src/engine/trainer.ts";
import { startWorkerProcess, type WorkerProcess } from "../../src/engine/worker-process.ts";
import { clusters } from "../models/clusters.ts";
import { PICTURE, WIDTH, writeExtractor } from "../models/extractor.ts";
import { uniform } from "../models/mlp.ts";
import { drawPicture, SHAPES } from "../pictures.ts";
import { type EngineFixture, startEngine, until, workerPids } from "./harness.ts";

const CATALOGUE = join(import.meta.dirname, "..", "..", "catalog", ".cache");
const EXTRACTOR = { owner: "acme", name: "base", version: 1 };
const signal = new AbortController().signal;

let pictures: readonly Uint8Array[];
beforeAll(async () => {
  pictures = await Promise.all(SHAPES.map((shape) => drawPicture(shape, 1)));
});

function rowsOf(embedded: readonly Embedded[]): Float32Array[] {
  return embedded.map((item) => {
    if (!item.ok) throw new Error(item.reason);
    return item.embedding;
  });
}

async function all(steps: AsyncIterable<FitStep>, onStep: (step: FitStep) => unknown = () => undefined) {
  const found: FitStep[] = [];
  for await (const step of steps) {
    found.push(step);
    await onStep(step);
  }
  return found;
}

const weightsOf = (steps: readonly FitStep[]): Buffer =>
  Buffer.from(steps.at(-1)?.done?.files["weights.bin"] ?? []);

/** Three clusters, which are learnt at once. */
const EASY: FitRequest = {
  extractor: EXTRACTOR,
  activation: "softmax",
  labels: ["a", "b", "c"],
  width: WIDTH,
  train: clusters(60, WIDTH, 3, 1),
  test: clusters(30, WIDTH, 3, 2),
  epochs: 20,
  learningRate: 0.01,
  seed: 1,
  checkpoint: null,
};

/** Labels that the numbers say nothing of: there is always something left to learn by heart. */
function longRequest(): FitRequest {
  const [rows, width, classes] = [2000, 256, 40];
  const random = uniform(5);
  const targets = new Uint8Array(rows * classes);
  for (let row = 0; row < rows; row++) targets[row * classes + Math.floor(random() * classes)] = 1;
  const train = { embeddings: Float32Array.from({ length: rows * width }, random), targets };
  const labels = Array.from({ length: classes }, (_, i) => `label ${i}`);
  return {
    ...EASY,
    labels,
    width,
    train,
    test: clusters(40, width, classes, 3),
    epochs: 60,
    learningRate: 0.0003,
  };
}

const niceness = async (pid: number): Promise<number[]> => {
  const tasks = await readdir(`/proc/${pid}/task`);
  return Promise.all(
    tasks.map(async (task) => {
      const text = await readFile(`/proc/${pid}/task/${task}/stat`, "utf8");
      // What follows the name, which may have spaces: state is 3, nice is 19.
      return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[16]);
    }),
  );
};

/** The trainer is the worker with the lowest priority. */
async function trainerPid(): Promise<number> {
  for (const pid of await workerPids()) if (Math.min(...(await niceness(pid))) === 19) return pid;
  throw new Error("there is no trainer");
}

describe("the trainer of an engine", () => {
  let fixture: EngineFixture;
  beforeAll(async () => {
    fixture = await startEngine({ workers: 1 }, async (models) => {
      await writeExtractor(join(models, "acme", "base", "1"));
      await writeExtractor(join(models, "acme", "silent", "1"), { embedding: null });
      await writeExtractor(join(models, "acme", "wrong", "1"), { embedding: "nowhere" });
    });
  });
  afterAll(() => fixture.stop());

  it("is started when it is first asked, and has the lowest priority", async () => {
    const { trainer } = fixture.engine;
    await until(async () => (await workerPids()).length === 2);
    await trainer.embed(EXTRACTOR, pictures.slice(0, 1), signal);
    expect(await workerPids()).toHaveLength(3);
    expect(new Set(await niceness(await trainerPid()))).toEqual(new Set([19]));
  });

  it("embeds each picture as if it were alone, and says what is wrong with others", async () => {
    const { trainer } = fixture.engine;
    const alone: Float32Array[] = [];
    for (const picture of pictures) alone.push(...rowsOf(await trainer.embed(EXTRACTOR, [picture], signal)));
    expect(alone.every(({ length }) => length === WIDTH)).toBe(true);
    expect(new Set(alone.map(String)).size).toBe(pictures.length);
    const [first, broken, ...rest] = await trainer.embed(
      EXTRACTOR,
      [pictures[0] ?? [], Buffer.from("no picture"), ...pictures.slice(1)].map((bytes) =>
        Uint8Array.from(bytes),
      ),
      signal,
    );
    expect(broken).toEqual({ ok: false, reason: expect.stringContaining("JPEG") });
    for (const [i, row] of rowsOf([first, ...rest].flatMap((item) => item ?? [])).entries()) {
      for (const [j, value] of row.entries()) expect(value).toBeCloseTo(alone[i]?.[j] ?? Number.NaN, 5);
    }
    expect(await trainer.embed(EXTRACTOR, [], signal)).toEqual([]);
  });

  it("refuses versions that are not there, or name no embedding, or a wrong one", async () => {
    const { trainer } = fixture.engine;
    const embed = (name: string) => trainer.embed({ ...EXTRACTOR, name }, pictures, signal);
    await expect(embed("nobody")).rejects.toMatchObject({ code: "not_found" });
    await expect(embed("silent")).rejects.toMatchObject({ code: "failed_precondition" });
    await expect(embed("wrong")).rejects.toMatchObject({ code: "failed_precondition" });
    await expect(
      all(trainer.fit({ ...EASY, extractor: { ...EXTRACTOR, version: 9 } }, signal)),
    ).rejects.toMatchObject({
      code: "not_found",
    });
  });

  it("fits, epoch by epoch, two at a time", async () => {
    const { trainer } = fixture.engine;
    const fits = [EASY, { ...EASY, seed: 2 }].map((request) => all(trainer.fit(request, signal)));
    const [one = [], two = []] = await Promise.all(fits);
    for (const steps of [one, two]) {
      expect(steps.map(({ epoch }) => epoch)).toEqual(steps.map((_, i) => i + 1));
      expect(steps.at(-1)?.metrics.testAccuracy).toBe(1);
      expect(Object.keys(steps.at(-1)?.done?.files ?? {})).toEqual(["model.json", "weights.bin"]);
      expect(steps.slice(0, -1).every(({ done }) => done === null)).toBe(true);
    }
    expect(weightsOf(one)).not.toEqual(weightsOf(two));
    expect(weightsOf(await all(trainer.fit(EASY, signal)))).toEqual(weightsOf(one));
  });

  it("stops when it is canceled, and goes on with others", async () => {
    const { trainer } = fixture.engine;
    const controller = new AbortController();
    const canceled = all(trainer.fit(longRequest(), controller.signal), () => controller.abort());
    await expect(canceled).rejects.toMatchObject({ code: "canceled" });
    await expect(trainer.embed(EXTRACTOR, pictures, AbortSignal.abort())).rejects.toMatchObject({
      code: "canceled",
    });
    // Leaving the loop is enough, too.
    for await (const { epoch } of trainer.fit(longRequest(), signal)) if (epoch === 2) break;
    expect((await all(trainer.fit(EASY, signal))).at(-1)?.metrics.testAccuracy).toBe(1);
  });

  it("embeds again what its worker died with", async () => {
    const { trainer } = fixture.engine;
    const expected = rowsOf(await trainer.embed(EXTRACTOR, pictures, signal));
    const { workerDeaths } = fixture.engine.stats();
    const pid = await trainerPid();
    const many = Array.from({ length: 40 }, () => pictures).flat();
    const embedded = trainer.embed(EXTRACTOR, many, signal);
    process.kill(pid, "SIGKILL");
    const rows = rowsOf(await embedded);
    expect(rows).toHaveLength(many.length);
    for (const [i, row] of rows.entries()) {
      for (const [j, value] of row.entries()) {
        expect(value).toBeCloseTo(expected[i % expected.length]?.[j] ?? Number.NaN, 5);
      }
    }
    expect(fixture.engine.stats().workerDeaths).toBe(workerDeaths + 1);
  });

  it("goes on from the last checkpoint when its worker dies, to the same bytes", async () => {
    const { trainer } = fixture.engine;
    const whole = await all(trainer.fit(longRequest(), signal));
    let killed = 0;
    const resumed = await all(trainer.fit(longRequest(), signal), async ({ epoch, checkpoint, done }) => {
      // A machine that is done before the first checkpoint is due begins anew, and has to end with the same.
      if (killed > 0 || done || (!checkpoint && epoch < 50)) return;
      killed = await trainerPid();
      process.kill(killed, "SIGKILL");
    });
    expect(killed).toBeGreaterThan(0);
    expect(resumed.map(({ epoch, metrics }) => [epoch, metrics])).toEqual(
      whole.map(({ epoch, metrics }) => [epoch, metrics]),
    );
    expect(weightsOf(resumed)).toEqual(weightsOf(whole));
  });

  it("gives a fit up when its worker dies again", async () => {
    const { trainer } = fixture.engine;
    const pids = new Set<number>();
    // More epochs than two turns end, wherever the second one begins.
    const fit = all(trainer.fit({ ...longRequest(), epochs: 1000 }, signal), async () => {
      // One turn may end several epochs.
      const pid = await trainerPid().catch(() => undefined);
      if (pid === undefined) return;
      pids.add(pid);
      process.kill(pid, "SIGKILL");
      await until(async () => !(await workerPids()).includes(pid));
    });
    await expect(fit).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("died twice"),
    });
    expect(pids.size).toBe(2);
  });
});

describe("a trainer", () => {
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  let trainer: RunningTrainer | undefined;
  let folder: EngineFixture;
  let started: WorkerProcess[];
  beforeAll(async () => {
    folder = await startEngine({ workers: 1 }, (models) => writeExtractor(join(models, "acme", "base", "1")));
  });
  afterAll(() => folder.stop());
  afterEach(async () => {
    await trainer?.close();
    trainer = undefined;
  });

  /** On real workers; `wrap` may make one that is worse. */
  function create(
    options: Partial<TrainerOptions> = {},
    wrap = (worker: WorkerProcess): WorkerProcess => worker,
  ): RunningTrainer {
    started = [];
    const settings = { runtime: "tfjs-wasm", threads: 1, maxPixels: 1_000_000, memoryBytes: 2 ** 30 };
    const manifest = readManifest(
      JSON.stringify({
        task: "image-classification",
        labels: ["dark", "light"],
        picture: PICTURE,
        embedding: "pool",
      }),
    );
    const source = {
      key: "acme/base:1",
      folder: join(folder.modelsDir, "acme", "base", "1"),
      manifest,
      digest: "",
    };
    trainer = createTrainer({
      start() {
        const worker = startWorkerProcess(settings, log, 19);
        started.push(worker);
        return wrap(worker);
      },
      find: (key) => (key === source.key ? { ...source, backbone: null, known: null } : undefined),
      memoryBytes: 2 ** 30,
      loadTimeoutMs: 30_000,
      callTimeoutMs: 30_000,
      idleMs: 60_000,
      log,
      ...options,
    });
    return trainer;
  }

  it("ends its process when nobody asks, and starts another when somebody does", async () => {
    const idle = create({ idleMs: 50 });
    expect(started).toHaveLength(0);
    const [before] = rowsOf(await idle.embed(EXTRACTOR, pictures.slice(0, 1), signal));
    await until(() => started[0]?.death !== undefined);
    expect(started[0]?.death).toEqual({ kind: "closed" });
    const [after] = rowsOf(await idle.embed(EXTRACTOR, pictures.slice(0, 1), signal));
    expect(after).toEqual(before);
    expect(started).toHaveLength(2);
    expect(idle.deaths).toBe(0);
  });

  it("lets only the picture fail that kills its worker", async () => {
    const poison = pictures[2] ?? new Uint8Array();
    const poisoned = create({}, (worker) => killedBy(worker, poison));
    const embedded = await poisoned.embed(EXTRACTOR, pictures, signal);
    expect(embedded.map(({ ok }) => ok)).toEqual([true, true, false, true, true]);
    expect(embedded[2]).toEqual({ ok: false, reason: expect.stringContaining("crashed") });
    expect(started).toHaveLength(3);
  });

  it("is at fault itself when every picture kills its worker", async () => {
    const sick = create({}, (worker) => killedBy(worker));
    await expect(sick.embed(EXTRACTOR, pictures.slice(0, 2), signal)).rejects.toMatchObject({
      code: "internal",
    });
  });

  it("ends a process that hangs, and goes on in another", async () => {
    // The process that goes on has the lowest priority, and this long for each of its steps.
    const slow = create({ callTimeoutMs: 1000 });
    const request = { ...longRequest(), epochs: 10 };
    const steps = await all(slow.fit(request, signal), ({ epoch, done }) => {
      if (epoch === 1 && !done) process.kill(started[0]?.pid ?? 0, "SIGSTOP");
    });
    expect(steps).toHaveLength(10);
    expect(started[0]?.death).toMatchObject({ kind: "timeout" });
    expect(slow.deaths).toBe(1);
  });

  it("refuses examples that would not fit beside its runtimes", async () => {
    const bytes = [EASY.train, EASY.test].reduce(
      (sum, { embeddings, targets }) => sum + embeddings.byteLength + targets.byteLength,
      0,
    );
    const roomy = create({ memoryBytes: 2 * bytes });
    expect((await all(roomy.fit(EASY, signal))).at(-1)?.done).not.toBeNull();
    await roomy.close();
    const tight = create({ memoryBytes: 2 * bytes - 2 });
    await expect(all(tight.fit(EASY, signal))).rejects.toMatchObject({ code: "resource_exhausted" });
    expect(started).toHaveLength(0);
  });

  it("tells those who wait that the server is shutting down", async () => {
    const closing = create();
    const fit = all(closing.fit(longRequest(), signal), () => void closing.close());
    await expect(fit).rejects.toMatchObject({ code: "unavailable" });
    await expect(closing.embed(EXTRACTOR, pictures, signal)).rejects.toMatchObject({ code: "unavailable" });
  });
});

/** A real worker that dies when it is to look at this picture, or at any. */
function killedBy(worker: WorkerProcess, poison?: Uint8Array): WorkerProcess {
  return {
    pid: worker.pid,
    up: worker.up,
    gone: worker.gone,
    kill: (death) => worker.kill(death),
    get tensors() {
      return worker.tensors;
    },
    get death() {
      return worker.death;
    },
    call(kind, request, timeoutMs) {
      const answer = worker.call(kind, request, timeoutMs);
      const isPoisoned =
        "images" in request &&
        (!poison || request.images.some((image) => Buffer.compare(image, poison) === 0));
      if (isPoisoned) process.kill(worker.pid, "SIGKILL");
      return answer;
    },
  };
}

describe("embeddings of the catalogue's models", () => {
  const models = [
    ["mobilenet", 1024],
    ["mobilenet-tiny", 256],
  ] as const;
  const embed = async (runtime: string): Promise<Float32Array[][]> => {
    const { engine, stop } = await startEngine({ runtime, workers: 1, catalogueDirs: [CATALOGUE] });
    const rows: Float32Array[][] = [];
    for (const [name] of models) {
      rows.push(rowsOf(await engine.trainer.embed({ owner: "auspex", name, version: 1 }, pictures, signal)));
    }
    await stop();
    return rows;
  };

  it("are the same on every runtime", async () => {
    const [native, wasm] = [await embed("onnxruntime"), await embed("tfjs-wasm")];
    for (const [m, [, width]] of models.entries()) {
      for (const [i, row] of (native[m] ?? []).entries()) {
        expect(row).toHaveLength(width);
        const differences = row.map((value, j) => Math.abs(value - (wasm[m]?.[i]?.[j] ?? Number.NaN)));
        expect(Math.max(...differences)).toBeLessThan(1e-4);
        expect(new Set(row).size).toBeGreaterThan(width / 10);
      }
    }
  });
});
