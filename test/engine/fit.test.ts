/** The arithmetic of a fit, in this process. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EPOCHS_MAX, LEARNING_RATE } from "../../src/domain/training.ts";
import { readManifest } from "../../src/engine/manifest.ts";
import type { FitPlan } from "../../src/engine/protocol.ts";
import { defaultEpochs, type FitDone, type FitExamples, type FitStep } from "../../src/engine/trainer.ts";
import { Fit } from "../../src/engine/worker/fit.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { seededOrder } from "../../src/engine/worker/seeded-order.ts";
import { openWasm } from "../../src/engine/worker/wasm.ts";
import { clusters, labelled } from "../models/clusters.ts";

const WIDTH = 16;
const LABELS = ["a", "b", "c"];

let core: typeof tf;
let folder: string;
beforeAll(async () => {
  core = await openWasm();
  await core.setBackend("wasm");
  folder = await mkdtemp(join(tmpdir(), "auspex-fit-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Given {
  readonly plan?: Partial<FitPlan>;
  readonly train?: FitExamples;
  readonly test?: FitExamples;
}

const PLAN = {
  id: 1,
  activation: "softmax",
  labels: LABELS,
  width: WIDTH,
  epochs: 20,
  learningRate: 0.01,
  seed: 7,
} as const;

/** 60 rows to train on and 30 held out, of three clusters far apart. A checkpoint after each epoch. */
function createFit({
  plan = {},
  train = clusters(60, WIDTH, 3, 1),
  test = clusters(30, WIDTH, 3, 2),
}: Given) {
  const full: FitPlan = {
    ...PLAN,
    trainRows: train.embeddings.length / WIDTH,
    testRows: test.embeddings.length / WIDTH,
    ...plan,
  };
  const fit = new Fit(core, full, 0);
  fit.add({ id: 1, part: "train", ...train });
  fit.add({ id: 1, part: "test", ...test });
  return fit;
}

function all(fit: Fit, checkpoint: Uint8Array | null = null): FitStep[] {
  const steps: FitStep[] = [];
  while (!steps.at(-1)?.done) steps.push(...fit.run(checkpoint, 50));
  fit.dispose();
  return steps;
}

function doneOf(steps: readonly FitStep[]): FitDone {
  const done = steps.at(-1)?.done;
  if (!done) throw new Error("the fit has not ended");
  return done;
}

const bytesOf = (steps: readonly FitStep[]): Buffer => Buffer.from(doneOf(steps).files["weights.bin"] ?? []);

describe("a fit", () => {
  it.each([LEARNING_RATE.min, 0.001, LEARNING_RATE.max])(
    "learns what can be told apart, at the rate %d",
    (rate) => {
      const steps = all(createFit({ plan: { learningRate: rate, epochs: defaultEpochs(60, 3) } }));
      const { metrics } = steps.at(-1) as FitStep;
      expect(metrics.trainingAccuracy).toBe(1);
      expect(metrics.testAccuracy).toBe(1);
      expect(metrics.f1).toEqual([1, 1, 1]);
      expect(metrics.confusionMatrix).toEqual([
        [10, 0, 0],
        [0, 10, 0],
        [0, 0, 10],
      ]);
      expect(metrics.trainingLoss).toBeLessThan(0.1);
    },
  );

  it("learns labels that go together", () => {
    // Three independent labels, each told by its own numbers.
    const both = (rows: number, seed: number) =>
      labelled(rows, WIDTH, 3, seed, (row) => [row & 1, (row >> 1) & 1, (row >> 2) & 1]);
    const plan = { activation: "sigmoid", epochs: 200 } as const;
    const steps = all(createFit({ plan, train: both(80, 1), test: both(40, 2) }));
    const { metrics } = steps.at(-1) as FitStep;
    expect(metrics.testAccuracy).toBe(1);
    expect(metrics.labelTestAccuracy).toEqual([1, 1, 1]);
    expect(metrics.confusionMatrix).toEqual([]);
    expect(metrics.confusionTables).toHaveLength(3);
    expect(doneOf(steps).testDecisions).toEqual(both(40, 2).targets);
  });

  it("gives the same bytes for the same request, and others for another seed", () => {
    const once = bytesOf(all(createFit({})));
    expect(bytesOf(all(createFit({})))).toEqual(once);
    expect(bytesOf(all(createFit({ plan: { seed: 8 } })))).not.toEqual(once);
  });

  it("goes on from any checkpoint to the same bytes", () => {
    const plan = { epochs: 30, learningRate: 0.0001 };
    const whole = all(createFit({ plan }));
    expect(whole.map(({ epoch }) => epoch)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    for (const { epoch, checkpoint } of [whole[0], whole[14], whole[28]] as FitStep[]) {
      expect(checkpoint).not.toBeNull();
      const rest = all(createFit({ plan }), checkpoint);
      const withoutCheckpoints = (steps: readonly FitStep[]) =>
        steps.map(({ epoch, metrics }) => [epoch, metrics]);
      expect(withoutCheckpoints(rest)).toEqual(withoutCheckpoints(whole.slice(epoch)));
      expect(bytesOf(rest)).toEqual(bytesOf(whole));
    }
  });

  it("begins anew when the checkpoint is another request's, or no checkpoint", () => {
    const [other] = all(createFit({ plan: { seed: 9 } }));
    const wanted = bytesOf(all(createFit({})));
    const size = other?.checkpoint?.length ?? 0;
    for (const checkpoint of [other?.checkpoint ?? null, new Uint8Array(), new Uint8Array(size)]) {
      const steps = all(createFit({}), checkpoint);
      expect(steps[0]?.epoch).toBe(1);
      expect(bytesOf(steps)).toEqual(wanted);
    }
  });

  it("says its checkpoints no more often than it may", () => {
    const fit = new Fit(core, { ...PLAN, trainRows: 60, testRows: 0 }, 60_000);
    fit.add({ id: 1, part: "train", ...clusters(60, WIDTH, 3, 1) });
    expect(all(fit).some(({ checkpoint }) => checkpoint)).toBe(false);
  });

  it("stops when the loss no longer falls, and says so", () => {
    const steps = all(createFit({ plan: { epochs: EPOCHS_MAX } }));
    expect(steps.length).toBeLessThan(EPOCHS_MAX);
    expect(doneOf(steps).earlyStopped).toBe(true);
    const [only] = all(createFit({ plan: { epochs: 1 } }));
    expect(only?.done?.earlyStopped).toBe(false);
  });

  it("takes numbers that never vary, one row, and nothing held out", () => {
    const flat = {
      embeddings: new Float32Array(4 * WIDTH).fill(3),
      targets: Uint8Array.from([1, 0, 0, 1, 1, 0, 0, 1]),
    };
    const empty = { embeddings: new Float32Array(), targets: new Uint8Array() };
    const steps = all(createFit({ plan: { labels: ["a", "b"] }, train: flat, test: empty }));
    expect(steps.at(-1)?.metrics.trainingLoss).toBeCloseTo(Math.log(2), 3);
    expect(doneOf(steps).testDecisions).toHaveLength(0);
    const single = { embeddings: new Float32Array(WIDTH).fill(3), targets: Uint8Array.from([1, 0]) };
    const one = all(createFit({ plan: { labels: ["a", "b"] }, train: single, test: empty }));
    expect(one.at(-1)?.metrics.trainingAccuracy).toBe(1);
    const weights = bytesOf(one);
    const numbers = new Float32Array(Uint8Array.from(weights).buffer);
    expect(numbers.every(Number.isFinite)).toBe(true);
  });

  it("keeps no tensors behind", () => {
    const before = core.memory().numTensors;
    all(createFit({}));
    expect(core.memory().numTensors).toBe(before);
  });

  it("writes a model that decides as the fit did, on embeddings as they are", async () => {
    const test = clusters(30, WIDTH, 3, 2);
    const done = doneOf(all(createFit({ test })));
    const path = join(folder, "head");
    await mkdir(path);
    for (const [name, bytes] of Object.entries(done.files)) await writeFile(join(path, name), bytes);
    for (const runtime of ["onnxruntime", "tfjs-wasm"]) {
      const { model } = await createRuntimes().load(path, readManifest('{"task":"tensor"}'), runtime);
      const [input] = model.inputs;
      expect(input?.shape).toEqual([null, WIDTH]);
      const outputs = await model.run({
        [input?.name ?? ""]: { dtype: "float32", shape: [30, WIDTH], data: test.embeddings },
      });
      const scores = [...(Object.values(outputs)[0]?.data ?? [])];
      const decisions = Uint8Array.from({ length: 90 }, (_, i) => {
        const row = scores.slice(i - (i % 3), i - (i % 3) + 3);
        return row.indexOf(Math.max(...row)) === i % 3 ? 1 : 0;
      });
      expect(decisions).toEqual(done.testDecisions);
      model.dispose();
    }
  });
});

describe("the default number of epochs", () => {
  it("is from 10 to the most that may be asked for, fewer for more rows, more for more classes", () => {
    const counts = [1, 2, 20, 200, 1000, 10_000, 1_000_000].map((rows) => defaultEpochs(rows, 10));
    expect(counts).toEqual(counts.toSorted((a, b) => b - a));
    expect(counts.every((count) => Number.isInteger(count))).toBe(true);
    expect([counts[0], counts.at(-1)]).toEqual([EPOCHS_MAX, 10]);
    expect(defaultEpochs(1000, 32)).toBe(defaultEpochs(1000, 2));
    expect(defaultEpochs(1000, 128)).toBe(2 * defaultEpochs(1000, 2) - 1);
  });
});

describe("a seeded order", () => {
  it("has every row once, the same for the same seed and round only", () => {
    const order = seededOrder(100, 1, 1);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(seededOrder(100, 1, 1)).toEqual(order);
    expect(seededOrder(100, 1, 2)).not.toEqual(order);
    expect(seededOrder(100, 2, 1)).not.toEqual(order);
  });
});
