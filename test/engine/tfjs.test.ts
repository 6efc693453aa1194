import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Manifest } from "../../src/domain/model.ts";
import { readManifest } from "../../src/engine/manifest.ts";
import { foldBatchNorms } from "../../src/engine/worker/batch-norm.ts";
import type { HostTensors, LoadedModel } from "../../src/engine/worker/runtime.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { warmUp } from "../../src/engine/worker/warm-up.ts";
import { readModelFiles } from "../../src/engine/worker/weights.ts";
import { uniform, writeMlp, writeModel } from "../models/mlp.ts";
import { RUNTIME } from "./harness.ts";

const TENSOR: Manifest = readManifest('{"task":"tensor"}');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-tfjs-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const load = async (path: string): Promise<LoadedModel> =>
  (await createRuntimes().load(path, TENSOR, RUNTIME)).model;

/** Of the TF.js that runs the models: native ones may bring their own. */
async function tensorCount(): Promise<number> {
  const core: typeof tf = RUNTIME === "tfjs-wasm" ? tf : (await import(`@tensorflow/${RUNTIME}`)).default;
  return core.memory().numTensors;
}

function rows(count: number, width: number): HostTensors {
  const random = uniform(count);
  const data = Float32Array.from({ length: count * width }, () => random() * 2 - 1);
  return { x: { dtype: "float32", shape: [count, width], data } };
}

describe(`TF.js on ${RUNTIME}`, () => {
  it("computes what the layers say", async () => {
    const path = join(folder, "mlp");
    await writeMlp(path);
    const model = await load(path);
    const inputs = rows(3, 64);
    const { y } = await model.run(inputs);
    const expected = mlpByHand(await readModelFiles(path), [...(inputs.x?.data ?? [])]);
    expect(y?.shape).toEqual([3, 10]);
    for (const [i, value] of expected.entries()) expect(y?.data[i]).toBeCloseTo(value, 5);
    model.dispose();
  });

  it("keeps no tensors behind over 300 runs and a disposal", async () => {
    const path = join(folder, "flat");
    await writeMlp(path);
    const before = await tensorCount();
    const model = await load(path);
    await model.run(rows(1, 64));
    const loaded = await tensorCount();
    for (let i = 1; i <= 300; i++) await model.run(rows(i % 40 || 1, 64));
    await expect(model.run(rows(1, 65))).rejects.toThrow();
    expect(await tensorCount()).toBe(loaded);
    model.dispose();
    expect(await tensorCount()).toBeLessThanOrEqual(before);
  });

  it("runs several named inputs and outputs, and learns their shapes by warming up", async () => {
    const path = join(folder, "named");
    await tf.setBackend("cpu");
    const [a, b] = ["a", "b"].map((name) => layers.input({ shape: [2], name }));
    if (!a || !b) throw new Error("two inputs");
    const sum = layers.layers.add({ name: "sum" }).apply([a, b]) as layers.SymbolicTensor;
    const both = layers.layers.concatenate({ name: "both" }).apply([a, b]) as layers.SymbolicTensor;
    await writeModel(path, layers.model({ inputs: [a, b], outputs: [sum, both] }), { task: "tensor" });
    const model = await load(path);
    const tensor = (...values: number[]) =>
      ({ dtype: "float32", shape: [1, 2], data: Float32Array.from(values) }) as const;
    const outputs = await model.run({ b: tensor(10, 20), a: tensor(1, 2) });
    expect([...(outputs.sum?.data ?? [])]).toEqual([11, 22]);
    expect([...(outputs.both?.data ?? [])]).toEqual([1, 2, 10, 20]);
    const { signature } = await warmUp(model, TENSOR, null);
    expect(signature).toEqual({
      inputs: [
        { name: "a", dtype: "float32", shape: [null, 2] },
        { name: "b", dtype: "float32", shape: [null, 2] },
      ],
      outputs: [
        { name: "sum", dtype: "float32", shape: [null, 2] },
        { name: "both", dtype: "float32", shape: [null, 4] },
      ],
      joinable: true,
    });
  });

  it("loads a graph model", async () => {
    const path = join(folder, "graph");
    await writeGraph(path);
    const model = await load(path);
    expect(model.inputs).toEqual([{ name: "x", dtype: "float32", shape: [null, 2] }]);
    const x = { dtype: "float32", shape: [2, 2], data: Float32Array.of(1, -2, 3, 4) } as const;
    const outputs = await model.run({ x });
    expect([...(outputs.y?.data ?? [])]).toEqual([2, 0, 6, 8]);
    model.dispose();
  });

  it("F29 names the file that is cut, missing or outside", async () => {
    const path = join(folder, "broken");
    await writeMlp(path);
    const model = JSON.parse(await readFile(join(path, "model.json"), "utf8"));
    await truncate(join(path, "weights.bin"), 5000);
    await expect(load(path)).rejects.toThrow("weights.bin (5000 bytes) is cut short");
    await rm(join(path, "weights.bin"));
    await expect(load(path)).rejects.toThrow("the weight file weights.bin is missing");
    for (const outside of ["../weights.bin", "/etc/passwd", "a/../../b"]) {
      model.weightsManifest[0].paths = [outside];
      await writeFile(join(path, "model.json"), JSON.stringify(model));
      await expect(load(path)).rejects.toThrow(`names a weight file outside its folder: ${outside}`);
    }
    await writeFile(join(path, "model.json"), '{"format"');
    await expect(load(path)).rejects.toThrow("model.json is not JSON");
    await rm(join(path, "model.json"));
    await expect(load(path)).rejects.toThrow("the folder has no model.json");
  });

  it("F29 refuses weights that give numbers which are none", async () => {
    const path = join(folder, "nan");
    await writeMlp(path);
    const weights = await readFile(join(path, "weights.bin"));
    // In the last bias: a relu in between would turn it into 0.
    weights.writeFloatLE(Number.NaN, weights.length - 4);
    await writeFile(join(path, "weights.bin"), weights);
    await expect(warmUp(await load(path), TENSOR, null)).rejects.toThrow(
      "the output y has values that are not finite",
    );
  });
});

describe("batch normalisation", () => {
  it.each(["functional", "sequential"])(
    "is folded away in a %s model, with the same outputs",
    async (form) => {
      const path = join(folder, `norm-${form}`);
      await writeNormed(path, form === "sequential");
      const files = await readModelFiles(path);
      const folded = foldBatchNorms(files, null);
      const normsIn = (model: object): number =>
        JSON.stringify(model).split('"BatchNormalization"').length - 1;
      expect(normsIn(files.model)).toBe(3);
      expect(normsIn(folded.model)).toBe(0);
      const plain = await build(files);
      const lean = await build(folded);
      const x = tf.randomUniform([2, 12, 12, 3], -1, 1, "float32", 7);
      const [want, have] = [plain.predict(x), lean.predict(x)] as tf.Tensor[];
      expect(tf.max(tf.abs(tf.sub(want ?? x, have ?? x))).dataSync()[0]).toBeLessThan(1e-4);
      expect(tf.max(tf.abs(want ?? x)).dataSync()[0]).toBeGreaterThan(0.01);
    },
  );

  it("stays where somebody reads what lies before it", async () => {
    const path = join(folder, "norm-functional");
    const files = await readModelFiles(path);
    const folded = foldBatchNorms(files, "conv");
    expect(JSON.stringify(folded.model)).toContain('"conv_bn"');
    expect(JSON.stringify(folded.model)).not.toContain('"wise_bn"');
  });
});

describe("the choice of a runtime", () => {
  /** The real TF.js, under the name of a native one: what a machine with the package would import. */
  const native = { ...tf, ...layers, loadGraphModel: undefined, node: { loadSavedModel: undefined } };
  const backend = {
    setBackend: async () => true,
    getBackend: () => "tensorflow",
    findBackend: () => ({ isUsingGpuDevice: true }),
  };
  const standIn = (name: string) => async (wanted: string) => {
    if (wanted === `@tensorflow/${name}`) return { default: { ...native, ...backend } };
    throw Object.assign(new Error(`Cannot find package '${wanted}'`), { code: "ERR_MODULE_NOT_FOUND" });
  };
  let path: string;
  beforeAll(async () => {
    path = join(folder, "choice");
    await writeMlp(path);
  });

  it("takes the first that is installed, and says why it passed others over", async () => {
    const gpu = await createRuntimes(1, standIn("tfjs-node-gpu")).load(path, TENSOR, null);
    expect([gpu.runtime, gpu.notes]).toEqual(["tfjs-node-gpu", []]);
    const node = await createRuntimes(1, standIn("tfjs-node")).load(path, TENSOR, null);
    expect(node.runtime).toBe("tfjs-node");
    expect(node.notes).toEqual(["tfjs-node-gpu: is not installed", "onnxruntime: is not installed"]);
    const none = await createRuntimes(1, standIn("nothing")).load(path, TENSOR, null);
    expect(none.runtime).toBe("tfjs-wasm");
    expect(none.notes).toContain("tfjs-node: is not installed");
  });

  it("passes over a package that cannot be loaded", async () => {
    const broken = async (): Promise<never> => {
      throw new Error("libcudart.so.12: cannot open shared object file");
    };
    const { runtime, notes } = await createRuntimes(1, broken).load(path, TENSOR, null);
    expect(runtime).toBe("tfjs-wasm");
    const reason = "cannot be loaded: libcudart.so.12: cannot open shared object file";
    expect(notes.slice(0, 2)).toEqual([`tfjs-node-gpu: ${reason}`, `onnxruntime: ${reason}`]);
  });

  it("compiles for ONNX Runtime, which comes with the server", async () => {
    const gpuAway = (name: string) => (name.endsWith("gpu") ? standIn("nothing")(name) : import(name));
    const { runtime, notes } = await createRuntimes(1, gpuAway).load(path, TENSOR, null);
    expect([runtime, notes]).toEqual(["onnxruntime", ["tfjs-node-gpu: is not installed"]]);
  });

  it("heeds the operator's pin before the model's", async () => {
    const runtimes = createRuntimes(1, standIn("tfjs-node"));
    const pinned: Manifest = { ...TENSOR, runtime: "tfjs-node" };
    expect((await runtimes.load(path, pinned, null)).runtime).toBe("tfjs-node");
    expect((await runtimes.load(path, pinned, "tfjs-wasm")).runtime).toBe("tfjs-wasm");
    await expect(runtimes.load(path, TENSOR, "tfjs-node-gpu")).rejects.toThrow(
      "tfjs-node-gpu: is not installed",
    );
    await expect(runtimes.load(path, TENSOR, "tpu")).rejects.toThrow("there is no runtime tpu");
  });

  it("says what a SavedModel needs", async () => {
    const saved = await mkdtemp(join(folder, "saved-"));
    await writeFile(join(saved, "saved_model.pb"), "");
    const wasm = createRuntimes().load(saved, TENSOR, "tfjs-wasm");
    await expect(wasm).rejects.toThrow("a SavedModel needs tfjs-node");
  });

  it("gives native packages the functions that Node removed", async () => {
    const util = (await import("node:util")).default as unknown as Record<
      string,
      (value: unknown) => boolean
    >;
    await createRuntimes(1, standIn("tfjs-node")).load(path, TENSOR, "tfjs-node");
    expect(util.isNullOrUndefined?.(null)).toBe(true);
    expect(util.isNullOrUndefined?.(0)).toBe(false);
    expect(util.isArray?.([])).toBe(true);
  });
});

type Files = Awaited<ReturnType<typeof readModelFiles>>;

function build({ model, specs, data }: Files): Promise<layers.LayersModel> {
  const { modelTopology } = model;
  return layers.loadLayersModel({
    load: async () => ({ modelTopology, weightSpecs: [...specs], weightData: data }),
  });
}

/** Three convolutions of different kinds, each normalised, with statistics that are not those of a fresh layer. */
async function writeNormed(path: string, sequential: boolean): Promise<void> {
  await tf.setBackend("cpu");
  const { conv2d, depthwiseConv2d, batchNormalization, dense, flatten, activation } = layers.layers;
  const first = sequential ? { inputShape: [12, 12, 3] } : {};
  const chain = [
    conv2d({ filters: 4, kernelSize: 3, useBias: false, name: "conv", ...first }),
    batchNormalization({ name: "conv_bn" }),
    activation({ activation: "relu6", name: "relu" }),
    depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, name: "wise" }),
    batchNormalization({ name: "wise_bn", scale: false }),
    flatten({ name: "flat" }),
    dense({ units: 5, name: "dense" }),
    batchNormalization({ name: "dense_bn", center: false }),
    activation({ activation: "tanh", name: "out" }),
  ];
  let model: layers.LayersModel;
  if (sequential) model = layers.sequential({ layers: chain });
  else {
    const input = layers.input({ shape: [12, 12, 3], name: "x" });
    const output = chain.reduce<layers.SymbolicTensor>(
      (tensor, layer) => layer.apply(tensor) as layers.SymbolicTensor,
      input,
    );
    model = layers.model({ inputs: input, outputs: output });
  }
  const random = uniform(5);
  model.setWeights(
    model.getWeights().map((weight) =>
      tf.tensor(
        Float32Array.from({ length: weight.size }, () => 0.2 + random() * 0.6),
        weight.shape,
      ),
    ),
  );
  await writeModel(path, model, { task: "tensor" });
}

/** y = relu(x · 2), as TensorFlow's converter would write it. */
async function writeGraph(path: string): Promise<void> {
  await writeMlp(path);
  const float = { type: "DT_FLOAT" };
  const sizes = (...list: number[]) => ({ dim: list.map((size) => ({ size: String(size) })) });
  const node = [
    { name: "x", op: "Placeholder", attr: { dtype: float, shape: { shape: sizes(-1, 2) } } },
    {
      name: "two",
      op: "Const",
      attr: { dtype: float, value: { tensor: { dtype: "DT_FLOAT", tensorShape: {} } } },
    },
    { name: "twice", op: "Mul", input: ["x", "two"], attr: { T: float } },
    { name: "y", op: "Relu", input: ["twice"], attr: { T: float } },
  ];
  const weights = [{ name: "two", shape: [], dtype: "float32" }];
  const weightsManifest = [{ paths: ["weights.bin"], weights }];
  const modelTopology = { node, versions: { producer: 1 } };
  await writeFile(join(path, "weights.bin"), new Uint8Array(Float32Array.of(2).buffer));
  await writeFile(
    join(path, "model.json"),
    JSON.stringify({ format: "graph-model", modelTopology, weightsManifest }),
  );
}

/** Plain loops over the same weight file. */
function mlpByHand({ specs, data }: Files, x: number[]): number[] {
  let offset = 0;
  const weights = specs.map(({ shape }) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const values = new Float32Array(data, offset, size);
    offset += size * 4;
    return { shape, values };
  });
  const out: number[] = [];
  for (let start = 0; start < x.length; start += 64) {
    let vector = x.slice(start, start + 64);
    for (let layer = 0; layer < weights.length; layer += 2) {
      const [kernel, bias] = [weights[layer], weights[layer + 1]];
      const units = kernel?.shape[1] ?? 0;
      const sums = Array.from(
        { length: units },
        (_, unit) =>
          (bias?.values[unit] ?? 0) +
          vector.reduce((sum, value, i) => sum + value * (kernel?.values[i * units + unit] ?? 0), 0),
      );
      const isLast = layer === weights.length - 2;
      const powers = sums.map((sum) => Math.exp(sum - Math.max(...sums)));
      const total = powers.reduce((a, b) => a + b, 0);
      vector = isLast ? powers.map((power) => power / total) : sums.map((sum) => Math.max(0, sum));
    }
    out.push(...vector);
  }
  return out;
}
