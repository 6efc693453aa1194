/**
 * SavedModels on native TensorFlow. bench/native-tensorflow/install.ts puts tfjs-node and the models that
 * saved_models.py beside it writes into one folder; where that was not done, these tests are left out.
 */
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Job } from "../../src/engine/engine.ts";
import { readManifest } from "../../src/engine/manifest.ts";
import type { HostTensor, LoadedModel } from "../../src/engine/worker/runtime.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { warmUp } from "../../src/engine/worker/warm-up.ts";
import { RUNTIME, startEngine } from "./harness.ts";

/** Which of the two packages; the script installs either. */
const RUNTIME_NAME = RUNTIME === "tfjs-node-gpu" ? RUNTIME : "tfjs-node";
/** Not as a literal: the compiler would look for a package that may not be there. */
const NATIVE = `@tensorflow/${RUNTIME_NAME}`;

/** undefined where the package was not installed by the script. */
function savedModels(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${NATIVE}/package.json`);
    const folder = join(dirname(manifest), "..", "..", "..", "saved-models");
    return existsSync(join(folder, "picture")) ? folder : undefined;
  } catch {
    return undefined;
  }
}

const SAVED_MODELS = savedModels();
const ROWS = 10_000;
const TENSOR = readManifest('{"task":"tensor"}');
const title = SAVED_MODELS
  ? "SavedModels"
  : `SavedModels: ${RUNTIME_NAME} is not here, see bench/native-tensorflow/README.md`;

const open = async (folder: string): Promise<LoadedModel> =>
  (await createRuntimes().load(folder, TENSOR, RUNTIME_NAME)).model;

/** Zeros where no values are given. */
const float = (shape: number[], ...values: number[]): HostTensor => {
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
  data.set(values);
  return { dtype: "float32", shape, data };
};

/** The formula of `Dense` in saved_models.py. */
function logits(left: readonly number[], right: readonly number[]): number[] {
  const bias = [0.5, -0.25, 1];
  return right.map((value, j) =>
    left.reduce((sum, x, i) => sum + x * ((i * 3 + j) / 10 - 0.5), value + (bias[j] ?? 0)),
  );
}

describe.skipIf(!SAVED_MODELS)(title, () => {
  const models = SAVED_MODELS ?? "";

  it("takes and gives tensors by the signature's names, with the variables' values", async () => {
    const model = await open(join(models, "dense"));
    const { signature, notes } = await warmUp(model, TENSOR, null);
    expect(notes).toEqual([]);
    expect(signature).toEqual({
      inputs: [
        { name: "left", dtype: "float32", shape: [null, 4] },
        { name: "right", dtype: "float32", shape: [null, 3] },
      ],
      outputs: [
        { name: "logits", dtype: "float32", shape: [null, 3] },
        { name: "probabilities", dtype: "float32", shape: [null, 3] },
      ],
      joinable: true,
    });
    const rows = {
      left: [
        [1, -2, 3, 0.5],
        [0, 1, 0, -1],
      ],
      right: [
        [0, 0, 0],
        [1, 2, 3],
      ],
    };
    const outputs = await model.run({
      right: float([2, 3], ...rows.right.flat()),
      left: float([2, 4], ...rows.left.flat()),
    });
    const expected = rows.left.map((left, i) => logits(left, rows.right[i] ?? []));
    expect(outputs.logits?.shape).toEqual([2, 3]);
    for (const [i, value] of expected.flat().entries()) {
      expect(outputs.logits?.data[i]).toBeCloseTo(value, 5);
    }
    const powers = expected.map((row) => row.map(Math.exp));
    const shares = powers.flatMap((row) => row.map((power) => power / row.reduce((a, b) => a + b)));
    for (const [i, value] of shares.entries()) expect(outputs.probabilities?.data[i]).toBeCloseTo(value, 5);
    model.dispose();
  });

  it("carries bytes in, int64 both ways and truth values out", async () => {
    const model = await open(join(models, "typed"));
    expect(model.inputs).toEqual([
      { name: "ids", dtype: "int32", shape: [null, 2] },
      { name: "pixels", dtype: "uint8", shape: [null, 2] },
    ]);
    const run = (ids: readonly number[]) =>
      model.run({
        ids: { dtype: "int32", shape: [1, 2], data: Int32Array.from(ids) },
        pixels: { dtype: "uint8", shape: [1, 2], data: Uint8Array.of(100, 200) },
      });
    expect(await run([41, 0])).toEqual({
      brightness: { dtype: "float32", shape: [1], data: Float32Array.of(150) },
      is_bright: { dtype: "bool", shape: [1, 2], data: Uint8Array.of(0, 1) },
      next_ids: { dtype: "int32", shape: [1, 2], data: Int32Array.of(42, 1) },
    });
    await expect(run([2 ** 31 - 1, 0])).rejects.toThrow("the output next_ids has 2147483648, beyond 32 bits");
    await expect(run([-1, 0])).rejects.toThrow(
      "the input ids is negative, which tfjs-node gets wrong in int64",
    );
    model.dispose();
  });

  it("says what it cannot serve", async () => {
    await expect(open(join(models, "bytes"))).rejects.toThrow(
      "the output inverted is of type uint8, which tfjs-node cannot read",
    );
    await expect(open(join(models, "text"))).rejects.toThrow(
      "the tensor text is of type string, which predictions cannot carry",
    );
    const broken = await mkdtemp(join(tmpdir(), "auspex-saved-"));
    try {
      await writeFile(join(broken, "saved_model.pb"), "no model");
      await expect(open(broken)).rejects.toThrow(`${RUNTIME_NAME}: `);
    } finally {
      await rm(broken, { recursive: true });
    }
  });

  it("keeps nothing of 1000 runs and of 50 loads", async () => {
    const { node, memory } = (await import(NATIVE)).default;
    const model = await open(join(models, "dense"));
    const [left, right] = [float([ROWS, 4]), float([ROWS, 3])];
    const runs = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await model.run({ left, right });
    };
    await runs(100);
    const [bytes, tensors] = [process.memoryUsage.rss(), memory().numTensors];
    await runs(1000);
    expect(memory().numTensors).toBe(tensors);
    // Each takes 280 KB and gives 240 KB.
    expect(process.memoryUsage.rss() - bytes).toBeLessThan(200e6);
    model.dispose();
    for (let i = 0; i < 50; i++) (await open(join(models, "dense"))).dispose();
    expect(node.getNumOfSavedModels()).toBe(0);
  });

  describe("in a server's engine", () => {
    let fixture: Awaited<ReturnType<typeof startEngine>>;
    beforeAll(async () => {
      fixture = await startEngine({ runtime: undefined, workers: 1 }, async (modelsDir) => {
        const folder = join(modelsDir, "acme", "colour", "1");
        await cp(join(models, "picture"), folder, { recursive: true });
        const picture = { width: 8, height: 8, range: [0, 1] };
        const manifest = { task: "image-classification", labels: ["red", "green", "blue"], picture };
        await writeFile(join(folder, "auspex.json"), JSON.stringify(manifest));
      });
    });
    afterAll(() => fixture.stop());

    it("classifies a picture, and says what runs it", async () => {
      const { engine } = fixture;
      expect(engine.models.latest("acme", "colour")?.state).toMatchObject({
        kind: "ready",
        runtime: RUNTIME_NAME,
      });
      const create = { width: 40, height: 30, channels: 3, background: { r: 10, g: 90, b: 60 } } as const;
      const image = await sharp({ create }).png().toBuffer();
      const job: Job = {
        owner: "acme",
        name: "colour",
        version: 1,
        input: { json: {}, tensors: {}, files: { image } },
        signal: new AbortController().signal,
        deadlineAt: undefined,
        deaths: 0,
        onWorkerDeath: async () => undefined,
      };
      const { probabilities } = (await engine.run(job)).output.json as {
        probabilities: { label: string; probability: number }[];
      };
      expect(probabilities.map(({ label }) => label)).toEqual(["green", "blue", "red"]);
      for (const [i, value] of [90, 60, 10].entries()) {
        expect(probabilities[i]?.probability).toBeCloseTo(value / 255, 5);
      }
    });
  });
});
