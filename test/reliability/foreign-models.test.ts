/**
 * Models from elsewhere, given to the real server: one that only a later runtime takes, one that none takes, and,
 * rows F29 and F30, hostile ones by the dozen while another model serves.
 */
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ModelService, ModelVersionState } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { TensorProto_DataType as OnnxType } from "../../gen/onnx/onnx_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { type Files, graphFiles, placeholder, weight } from "../models/graph.ts";
import { writeMlp } from "../models/mlp.ts";
import { counter, info, int64s, node, onnxModel, plusOne, tensor } from "../models/onnx.ts";
import { childrenOf, residentBytes } from "../processes.ts";

let folder: string;
let server: TestServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-foreign-"));
  await writeMlp(join(folder, "models", "local", "mlp", "1"));
  const settings = {
    MODELS_DIR: join(folder, "models"),
    CATALOGUE: "0",
    WORKER_MEMORY: "1GiB",
    // Ends what never ends by itself.
    LOAD_TIMEOUT: "10s",
  };
  server = await startServer({ settings });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const models = () => clientOf(server, "grpc", ModelService);

/** Puts a version in place as a whole; answers it when it is ready or failed. */
async function publish(name: string, files: Files) {
  const staged = join(folder, "staged", name);
  await mkdir(staged, { recursive: true });
  for (const [file, contents] of Object.entries(files)) await writeFile(join(staged, file), contents);
  await writeFile(join(staged, "auspex.json"), JSON.stringify({ task: "tensor" }));
  await mkdir(join(folder, "models", "local", name), { recursive: true });
  await rename(staged, join(folder, "models", "local", name, "1"));
  return until(async () => {
    const found = await models()
      .listModelVersions({ model: `local/${name}` })
      .catch(() => ({ versions: [] }));
    return found.versions.find(({ state }) => state !== ModelVersionState.LOADING);
  });
}

function floats(shape: readonly number[], values: readonly number[]) {
  return {
    dtype: DataType.FLOAT32,
    shape: [...shape],
    data: new Uint8Array(Float32Array.from(values).buffer),
  };
}

async function predict(model: string, tensors: Record<string, ReturnType<typeof floats>>) {
  const { prediction } = await clientOf(server, "grpc", PredictionService).createPrediction({
    model,
    tensors,
    wait: { seconds: 30n },
  });
  return prediction;
}

const mlpRow = { x: floats([1, 64], Array(64).fill(0.5)) };

/** Each pixel becomes the largest of its neighbourhood, the middle counting 1 more. */
const dilation = graphFiles([
  placeholder("x", [-1, 2, 3, 1]),
  weight("filter", [0, 0, 0, 0, 1, 0, 0, 0, 0], [3, 3, 1], "float32"),
  {
    name: "y",
    op: "Dilation2D",
    input: ["x", "filter"],
    attr: {
      strides: { list: { i: ["1", "1", "1", "1"] } },
      rates: { list: { i: ["1", "1", "1", "1"] } },
      padding: { s: Buffer.from("SAME").toString("base64") },
    },
  },
]);

test("a model with an operator that is not compiled is served by the next runtime, and says which it was", async () => {
  const version = await publish("dilation", dilation);
  expect(version.failure).toBe("");
  expect(version.runtime).toBe("tfjs-wasm");
  expect(version.runtimeNotes).toContain("onnxruntime: does not cover the operator Dilation2D");
  const prediction = await predict("local/dilation", { x: floats([1, 2, 3, 1], [1, 2, 9, 4, 5, 6]) });
  expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
  const y = prediction?.outputTensors.y?.data ?? new Uint8Array();
  expect([...new Float32Array(new Uint8Array(y).buffer)]).toEqual([5, 9, 10, 5, 9, 9]);
});

test("a model that no runtime takes is failed, and says why", async () => {
  const version = await publish(
    "nonsense",
    graphFiles([placeholder("x", [-1, 4]), { name: "y", op: "Nonsense", input: ["x"] }]),
  );
  expect(version.state).toBe(ModelVersionState.FAILED);
  expect(version.failure).toMatch(/^tfjs-wasm: .*Nonsense/);
  await expect(predict("local/nonsense", { x: floats([1, 4], [1, 2, 3, 4]) })).rejects.toThrow(/not ready/);
});

test("an ONNX model is served as it is", async () => {
  const version = await publish("plus-one", { "model.onnx": onnxModel(plusOne) });
  expect(version).toMatchObject({ runtime: "onnxruntime", state: ModelVersionState.READY });
  const prediction = await predict("local/plus-one", { x: floats([2, 4], [1, 2, 3, 4, 5, 6, 7, 8]) });
  expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
});

const x = info("x", OnnxType.FLOAT, ["rows", 4]);
const y = info("y", OnnxType.FLOAT);
const ENDLESS = onnxModel({
  ...counter,
  // What the callers of the counter choose is here a constant.
  input: [x],
  output: [y],
  initializer: [...(counter.initializer ?? []), int64s("rounds", [2n ** 63n - 1n])],
  node: [
    ...(counter.node ?? []).map((loop) => ({ ...loop, name: "loop", output: ["c"] })),
    node("Add", ["x", "c"], ["y"]),
  ],
});

/** Each with what its failure says. */
const HOSTILE: Readonly<Record<string, readonly [Files, RegExp]>> = {
  cut: [{ "model.onnx": onnxModel(plusOne).slice(0, 60) }, /damaged or cut off/],
  lying: [
    {
      "model.onnx": onnxModel({
        input: [x],
        output: [y],
        initializer: [tensor("w", Float32Array.of(1), [2 ** 31, 2 ** 31])],
        node: [node("Add", ["x", "w"], ["y"])],
      }),
    },
    /the tensor w .* needs 18446744073709551616 bytes, and has 4/,
  ],
  terabytes: [
    {
      "model.onnx": onnxModel({
        input: [x],
        output: [y],
        initializer: [int64s("size", [2 ** 40])],
        node: [
          node("ConstantOfShape", ["size"], ["c"]),
          node("ReduceSum", ["c"], ["s"]),
          node("Add", ["x", "s"], ["y"]),
        ],
      }),
    },
    /Failed to allocate memory/,
  ],
  million: [
    {
      "model.json": `{"modelTopology":{"node":[${Array.from({ length: 1_000_000 }, (_, i) => `{"name":"n${i}","op":"Abs"}`)}]}}`,
    },
    /more than 50000 nodes/,
  ],
  cycle: [
    graphFiles([
      placeholder("x", [-1, 4]),
      { name: "a", op: "AddV2", input: ["x", "b"] },
      { name: "b", op: "Relu", input: ["a"] },
    ]),
    /cycle/,
  ],
  // Not compiled, so that TF.js runs it.
  trap: [
    graphFiles([
      placeholder("x", [-1, 4]),
      weight("repeats", [2 ** 14, 2 ** 14]),
      { name: "tiled", op: "Tile", input: ["x", "repeats"] },
      weight("shape", [1, -1, 4, 1]),
      { name: "picture", op: "Reshape", input: ["tiled", "shape"] },
      weight("filter", [0], [1, 1, 1], "float32"),
      {
        name: "y",
        op: "Dilation2D",
        input: ["picture", "filter"],
        attr: {
          strides: { list: { i: ["1", "1", "1", "1"] } },
          rates: { list: { i: ["1", "1", "1", "1"] } },
          padding: { s: Buffer.from("SAME").toString("base64") },
        },
      },
    ]),
    /the model reached beyond its memory/,
  ],
  endless: [{ "model.onnx": ENDLESS }, /^the worker was silent for 10000 ms$/],
  balloon: [
    graphFiles([
      placeholder("x", [-1], "DT_INT32"),
      weight("depth", 2 ** 29),
      weight("on", 1),
      weight("off", 0),
      { name: "y", op: "OneHot", input: ["x", "depth", "on", "off"] },
    ]),
    /outgrew its memory/,
  ],
};

test("F29, F30 hostile models are failed with their reasons while another one serves, and their memory returns", async () => {
  const expected = (await predict("local/mlp", mlpRow))?.outputTensors.y?.data;
  expect(expected?.length).toBe(40);
  let isOver = false;
  let answered = 0;
  const serving = (async () => {
    while (!isOver) {
      const prediction = await predict("local/mlp", mlpRow);
      expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
      expect(prediction?.outputTensors.y?.data).toEqual(expected);
      answered++;
    }
  })();
  // All at once, and a good one among them, which has to wait for its turn.
  const [after, ...failed] = await Promise.all([
    publish("after", { "model.onnx": onnxModel(plusOne) }),
    ...Object.entries(HOSTILE).map(([name, [files]]) => publish(name, files)),
  ]).finally(() => {
    isOver = true;
  });
  await serving;
  for (const [i, [name, [, reason]]] of Object.entries(HOSTILE).entries()) {
    expect(failed[i]?.state, name).toBe(ModelVersionState.FAILED);
    expect(failed[i]?.failure, name).toMatch(reason);
  }
  expect(after.failure).toBe("");
  expect(after.state).toBe(ModelVersionState.READY);
  expect(answered).toBeGreaterThan(20);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  for (const pid of childrenOf(server.process.pid ?? 0))
    expect(residentBytes(pid)).toBeLessThan(600 * 1024 ** 2);
});
