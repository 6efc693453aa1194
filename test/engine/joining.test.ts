/** Which models may have rows of several callers in one run: those whose rows do not see one another. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readManifest } from "../../src/engine/manifest.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { type WarmUp, warmUp } from "../../src/engine/worker/warm-up.ts";
import { type Files, type GraphNode, graphFiles, placeholder, weight } from "../models/graph.ts";

const runtimes = createRuntimes();
const manifest = readManifest('{"task":"tensor"}');
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-joining-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function warmedUp(files: Files, runtime: string): Promise<WarmUp> {
  for (const [name, contents] of Object.entries(files)) await writeFile(join(folder, name), contents);
  const { model } = await runtimes.load(folder, manifest, runtime);
  try {
    return await warmUp(model, manifest, null);
  } finally {
    model.dispose();
  }
}

const x = placeholder("x", [-1, 4]);
const node = (name: string, op: string, ...input: string[]): GraphNode => ({ name, op, input });
const kept = { keep_dims: { b: true } };

const ALONE: Readonly<Record<string, readonly GraphNode[]>> = {
  "a product": [x, weight("w", Array(12).fill(0.3), [4, 3], "float32"), node("y", "MatMul", "x", "w")],
  "minus its own mean": [
    x,
    weight("axes", [1]),
    { ...node("mean", "Mean", "x", "axes"), attr: kept },
    node("y", "Sub", "x", "mean"),
  ],
  "whole numbers": [placeholder("x", [-1, 4], "DT_INT32"), node("y", "Add", "x", "x")],
};

const TOGETHER: Readonly<Record<string, readonly GraphNode[]>> = {
  "minus the mean of all rows": [
    x,
    weight("axes", [0]),
    { ...node("mean", "Mean", "x", "axes"), attr: kept },
    node("y", "Sub", "x", "mean"),
  ],
  "words that attend to one another": [
    x,
    weight("order", [1, 0]),
    node("turned", "Transpose", "x", "order"),
    node("scores", "MatMul", "x", "turned"),
    node("weights", "Softmax", "scores"),
    node("y", "MatMul", "weights", "x"),
  ],
  "a running sum": [
    placeholder("x", [-1, 4], "DT_INT32"),
    weight("axis", 0),
    node("y", "Cumsum", "x", "axis"),
  ],
  "rows turned round": [x, weight("axes", [0]), node("y", "ReverseV2", "x", "axes")],
};

describe.each(["onnxruntime", "tfjs-wasm"])("%s", (runtime) => {
  test.each(Object.entries(ALONE))("joined: %s", async (_name, nodes) => {
    const { signature, notes } = await warmedUp(graphFiles(nodes), runtime);
    expect({ joinable: signature.joinable, notes }).toEqual({ joinable: true, notes: [] });
    expect(signature.outputs[0]?.shape[0]).toBeNull();
  });
  test.each(Object.entries(TOGETHER))("not joined: %s", async (_name, nodes) => {
    const { signature, notes } = await warmedUp(graphFiles(nodes), runtime);
    expect({ joinable: signature.joinable, notes }).toEqual({
      joinable: false,
      notes: ["not batched: a row's outputs depend on the rows beside it"],
    });
  });
});
