/** What runtimes give for the layer, node or output that an `auspex.json` names as the embedding. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readManifest } from "../../src/engine/manifest.ts";
import type { HostTensors, LoadedModel } from "../../src/engine/worker/runtime.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { PICTURE, WIDTH, writeExtractor } from "../models/extractor.ts";
import { graphFiles, placeholder, weight } from "../models/graph.ts";
import { onnxModel, plusOne, writeOnnx } from "../models/onnx.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-embedding-"));
  await writeExtractor(join(folder, "layers"));
  await writeGraph(join(folder, "graph"));
  await writeOnnx(join(folder, "onnx"), onnxModel(plusOne));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** y = 2x + 1, in two nodes: `twice`, and `y` after it. */
async function writeGraph(path: string): Promise<void> {
  const files = graphFiles([
    placeholder("x", [-1, 2]),
    weight("two", 2, [], "float32"),
    weight("one", 1, [], "float32"),
    { name: "twice", op: "Mul", input: ["x", "two"], attr: { T: { type: "DT_FLOAT" } } },
    { name: "y", op: "AddV2", input: ["twice", "one"], attr: { T: { type: "DT_FLOAT" } } },
  ]);
  await mkdir(path);
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(path, name), bytes);
}

async function load(model: string, embedding: string, runtime: string): Promise<LoadedModel> {
  const manifest = readManifest(JSON.stringify({ task: "tensor", embedding }));
  return (await createRuntimes().load(join(folder, model), manifest, runtime)).model;
}

const pair: HostTensors = { x: { dtype: "float32", shape: [1, 2], data: Float32Array.of(3, 4) } };

describe.each(["onnxruntime", "tfjs-wasm"])("on %s", (runtime) => {
  it("a layer gives what the layers before it make of the inputs", async () => {
    const model = await load("layers", "pool", runtime);
    const size = PICTURE.width * PICTURE.height * 3;
    const data = Float32Array.from({ length: 2 * size }, (_, i) => Math.sin(i));
    const x = { dtype: "float32", shape: [2, 8, 8, 3], data } as const;
    const pooled = await model.embed?.({ x });
    expect(pooled?.shape).toEqual([2, WIDTH]);
    // The layer before it, averaged by hand.
    const seen = await (await load("layers", "seen", runtime)).embed?.({ x });
    expect(seen?.shape).toEqual([2, 6, 6, WIDTH]);
    for (const [i, value] of [...(pooled?.data ?? [])].entries()) {
      const first = Math.floor(i / WIDTH) * 36 * WIDTH + (i % WIDTH);
      const values = Array.from({ length: 36 }, (_, at) => seen?.data[first + at * WIDTH] ?? Number.NaN);
      expect(value).toBeCloseTo(values.reduce((a, b) => a + b, 0) / 36, 5);
    }
    expect(model.outputs.map(({ name }) => name)).toEqual(["y"]);
    expect(Object.keys(await model.run({ x }))).toEqual(["y"]);
    model.dispose();
  });

  it.each(["twice", "twice:0"])("a graph's node gives its output: %s", async (name) => {
    const model = await load("graph", name, runtime);
    expect([...((await model.embed?.(pair))?.data ?? [])]).toEqual([6, 8]);
    expect([...((await model.run(pair)).y?.data ?? [])]).toEqual([7, 9]);
    model.dispose();
  });

  it.each(["layers", "graph"])("%s without it run, and have none", async (name) => {
    const model = await load(name, "nowhere", runtime);
    expect(model.embed).toBeUndefined();
    expect(model.outputs).toHaveLength(1);
    model.dispose();
  });
});

it("an ONNX model's output may be it, and nothing inside", async () => {
  const x = { dtype: "float32", shape: [1, 4], data: Float32Array.of(1, 2, 3, 4) } as const;
  const model = await load("onnx", "y", "onnxruntime");
  expect([...((await model.embed?.({ x }))?.data ?? [])]).toEqual([2, 3, 4, 5]);
  expect((await load("onnx", "one", "onnxruntime")).embed).toBeUndefined();
});

it("TF.js keeps no tensors behind", async () => {
  const before = tf.memory().numTensors;
  for (const [name, embedding] of [
    ["layers", "pool"],
    ["graph", "twice"],
  ] as const) {
    const model = await load(name, embedding, "tfjs-wasm");
    const data = new Float32Array(192);
    const inputs: HostTensors =
      name === "graph" ? pair : { x: { dtype: "float32", shape: [1, 8, 8, 3], data } };
    await model.embed?.(inputs);
    const loaded = tf.memory().numTensors;
    for (let i = 0; i < 50; i++) await model.embed?.(inputs);
    expect(tf.memory().numTensors).toBe(loaded);
    model.dispose();
  }
  expect(tf.memory().numTensors).toBe(before);
});
