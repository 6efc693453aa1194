/** Graphs as older converters wrote them: without a format, and without a signature. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { attribute, type Graph, GraphBuilder, writeGraph } from "../../bench/zoo/graph.ts";
import { readManifest } from "../../src/engine/manifest.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { warmUp } from "../../src/engine/worker/warm-up.ts";

const manifest = readManifest('{"task": "tensor"}');

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-old-"));
  const graph = new GraphBuilder(1);
  const x = graph.placeholder("scores", [3]);
  const axis = graph.constant("dimension", "int32", [], [1]);
  graph.node("best", "ArgMax", [x, axis], {
    T: attribute.type("float32"),
    Tidx: attribute.type("int32"),
    output_type: { type: "DT_INT64" },
  });
  const { model, shards } = graph.build(["best"], []);
  await writeGraph({ model: asWrittenByOlderOnes(model), shards }, folder);
});

function asWrittenByOlderOnes(model: Graph["model"]): Graph["model"] {
  const left = Object.entries(model).filter(([key]) => key !== "format" && key !== "signature");
  return Object.fromEntries(left);
}

afterAll(() => rm(folder, { recursive: true }));

test("a model without a format is a graph by its nodes, and its outputs have the types that they turn out to have", async () => {
  const { model } = await createRuntimes().load(folder, manifest, "tfjs-wasm");
  const scores = Float32Array.of(0.1, 0.7, 0.2, 0.5, 0.3, 0.2);
  const { best } = await model.run({ scores: { dtype: "float32", shape: [2, 3], data: scores } });
  expect(best).toEqual({ dtype: "int32", shape: [2], data: Int32Array.of(1, 0) });
  const { signature } = await warmUp(model, manifest, null);
  expect(signature.outputs).toEqual([{ name: "best", dtype: "int32", shape: [null] }]);
  model.dispose();
});
