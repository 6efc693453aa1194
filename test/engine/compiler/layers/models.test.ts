import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import * as tf from "@tensorflow/tfjs-layers";
import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { ModelProtoSchema } from "../../../../gen/onnx/onnx_pb.ts";
import { compileLayersModel } from "../../../../src/engine/compiler/layers-model.ts";
import type { ModelFiles, WeightSpec } from "../../../../src/engine/worker/weights.ts";
import { expectSameModel, type Layer, loaded, saved } from "./reference.ts";

const { layers } = tf;

const through = (input: tf.SymbolicTensor, chain: readonly (Layer | tf.LayersModel)[]): tf.SymbolicTensor =>
  chain.reduce((x, layer) => layer.apply(x) as tf.SymbolicTensor, input);

/** What MobileNets are made of, with nothing even. */
const block = (): Layer[] => [
  layers.zeroPadding2d({
    padding: [
      [0, 1],
      [0, 1],
    ],
  }),
  layers.conv2d({ filters: 4, kernelSize: 3, strides: 2, useBias: false }),
  layers.batchNormalization({ axis: 3 }),
  layers.activation({ activation: "relu6" }),
  layers.depthwiseConv2d({ kernelSize: 3, padding: "same", useBias: false, depthMultiplier: 2 }),
  layers.batchNormalization({ scale: false }),
  layers.reLU({ maxValue: 6 }),
];

const small = (name: string): tf.LayersModel => {
  const input = layers.input({ shape: [5], name: `${name}_in` });
  const output = through(input, [
    layers.dense({ units: 5, activation: "tanh", name: `${name}_dense` }),
    layers.batchNormalization({ name: `${name}_norm` }),
  ]);
  return tf.model({ inputs: input, outputs: output, name });
};

const sequence = (list: readonly (Layer | tf.LayersModel)[]): tf.Sequential => {
  const model = tf.sequential();
  for (const layer of list) model.add(layer);
  return model;
};

/** A model over [rows, 5], as the given function joins its layers. */
const joined = (
  join: (x: tf.SymbolicTensor) => tf.SymbolicTensor | tf.SymbolicTensor[],
): Promise<ModelFiles> => {
  const input = layers.input({ shape: [5] });
  return saved(tf.model({ inputs: input, outputs: join(input) }));
};

describe("models", () => {
  test("a sequence of layers", async () => {
    const first = layers.conv2d({ filters: 3, kernelSize: 2, inputShape: [12, 11, 3], name: "first" });
    const last = [
      layers.globalAveragePooling2d({}),
      layers.dense({ units: 3, activation: "softmax", name: "last" }),
    ];
    const compiled = await expectSameModel(await saved(sequence([first, ...block(), ...last])), { rows: 3 });
    expect(compiled.inputs[0]).toMatchObject({ name: "first_input", value: { shape: [null, 12, 11, 3] } });
    expect(compiled.outputs[0]).toMatchObject({ name: "last", value: { shape: [null, 3] } });
  });

  test("a sequence with a layer for its input", async () => {
    const input = layers.inputLayer({ inputShape: [4], name: "given" });
    const compiled = await expectSameModel(await saved(sequence([input, layers.dense({ units: 3 })])));
    expect(compiled.inputs[0]?.name).toBe("given");
  });

  test("a sequence as a plain list, under model_config", async () => {
    const { model, ...files } = await saved(sequence([layers.dense({ units: 3, inputShape: [4] })]));
    const { class_name, config } = model.modelTopology as {
      class_name: string;
      config: { layers: object[] };
    };
    const modelTopology = { keras_version: "2.1.6", model_config: { class_name, config: config.layers } };
    await expectSameModel({ model: { ...model, modelTopology }, ...files });
  });

  test("a number as an array without axes", async () => {
    const files = await saved(sequence([layers.reLU({ maxValue: 0.25, inputShape: [4] })]));
    const text = JSON.stringify(files.model.modelTopology);
    const modelTopology = JSON.parse(text.replace("0.25", '{"type":"ndarray","value":0.25}'));
    await expectSameModel({ ...files, model: { ...files.model, modelTopology } });
  });

  test("a batch of a fixed size", async () => {
    const dense = layers.dense({ units: 3, batchInputShape: [3, 4] });
    const compiled = await expectSameModel(await saved(sequence([dense])));
    expect(compiled.outputs[0]?.value.shape).toEqual([3, 3]);
  });

  test("several inputs and outputs", async () => {
    const [a, b] = [layers.input({ shape: [5], name: "a" }), layers.input({ shape: [2, 3], name: "b" })];
    const flat = layers.flatten({ name: "flat" }).apply(b) as tf.SymbolicTensor;
    const both = layers.concatenate({ name: "both" }).apply([flat, a]) as tf.SymbolicTensor;
    const sum = layers.dense({ units: 2, name: "sum" }).apply(both) as tf.SymbolicTensor;
    const compiled = await expectSameModel(
      await saved(tf.model({ inputs: [b, a], outputs: [sum, flat, both] })),
    );
    expect(compiled.outputs.map(({ name }) => name)).toEqual(["sum", "flat", "both"]);
  });

  test("pictures of any size", async () => {
    const input = layers.input({ shape: [null as unknown as number, null as unknown as number, 3] });
    const output = through(input, [
      layers.conv2d({ filters: 4, kernelSize: 3, strides: 2, padding: "same" }),
      layers.batchNormalization(),
      layers.maxPooling2d({ poolSize: 2, padding: "same" }),
      layers.globalMaxPooling2d({}),
    ]);
    // The harness gives every open size as many rows.
    await expectSameModel(await saved(tf.model({ inputs: input, outputs: output })), { rows: 7 });
  });

  test("an output that is an input", async () => {
    const files = await joined((x) => [x, through(x, [layers.dense({ units: 2 })])]);
    expect(() => compileLayersModel(files)).toThrow("inputs and outputs of the same name");
  });
});

describe("layers that are shared", () => {
  test("one after the other", () =>
    joined((x) => {
      const [one, two] = [layers.dense({ units: 5 }), layers.dense({ units: 5, activation: "relu" })];
      return through(x, [one, two, one, two]);
    }).then(expectSameModel));

  test("side by side", () =>
    joined((x) => {
      const shared = layers.dense({ units: 5, activation: "elu" });
      const twice = through(x, [shared, shared]);
      return layers.add().apply([through(x, [shared]), twice]) as tf.SymbolicTensor;
    }).then(expectSameModel));

  test("models in models, called twice", () =>
    joined((x) => {
      const inner = small("inner");
      return layers.multiply().apply([through(x, [inner]), through(x, [inner, inner])]) as tf.SymbolicTensor;
    }).then(expectSameModel));

  test("a sequence in a model", () =>
    joined((x) => {
      const inner = sequence([
        layers.dense({ units: 4, inputShape: [5], name: "p" }),
        layers.dense({ units: 3, name: "q" }),
      ]);
      return through(x, [inner, layers.dense({ units: 2 })]);
    }).then(expectSameModel));

  test("a model of two inputs and outputs in a model", () =>
    joined((x) => {
      const [a, b] = [layers.input({ shape: [5] }), layers.input({ shape: [5] })];
      const sum = layers.add().apply([a, b]) as tf.SymbolicTensor;
      const inner = tf.model({
        inputs: [a, b],
        outputs: [layers.dense({ units: 3 }).apply(sum) as tf.SymbolicTensor, sum],
      });
      const other = through(x, [layers.dense({ units: 5 })]);
      const [left, right] = inner.apply([x, other]) as tf.SymbolicTensor[];
      return layers.concatenate().apply([right ?? x, left ?? x]) as tf.SymbolicTensor;
    }).then(expectSameModel));

  test("models in a sequence", async () => {
    const compiled = await expectSameModel(
      await saved(sequence([small("first"), layers.dense({ units: 5 }), small("second")])),
    );
    expect(compiled.inputs[0]?.name).toBe("first_in");
    expect(compiled.outputs[0]?.name).toBe("second");
  });

  test("a sequence of one model", async () => {
    const compiled = await expectSameModel(await saved(sequence([small("only")])));
    expect(compiled.outputs[0]?.name).toBe("only_norm");
  });
});

/** The weights in fewer bytes, as TF.js' converter stores them. */
function quantized({ model, specs, data }: ModelFiles, dtype: "uint8" | "uint16" | "float16"): ModelFiles {
  const parts: Uint8Array[] = [];
  let offset = 0;
  const stored = specs.map((spec): WeightSpec => {
    const length = spec.shape.reduce((a, b) => a * b, 1);
    const values = new Float32Array(data, offset, length);
    offset += length * 4;
    const min = Math.min(...values);
    const scale = Math.max(1e-6, Math.max(...values) - min) / (dtype === "uint8" ? 255 : 65535);
    const codes =
      dtype === "float16" ? values.map(toHalf) : values.map((value) => Math.round((value - min) / scale));
    const bytes = dtype === "uint8" ? Uint8Array.from(codes) : Uint16Array.from(codes);
    parts.push(new Uint8Array(bytes.buffer));
    return { ...spec, quantization: dtype === "float16" ? { dtype } : { dtype, min, scale } };
  });
  const all = Buffer.concat(parts);
  return {
    model,
    specs: stored,
    data: all.buffer.slice(all.byteOffset, all.byteOffset + all.byteLength) as ArrayBuffer,
  };
}

/** Cut off, which is near enough for what is read back by both sides. */
function toHalf(value: number): number {
  const [bits = 0] = new Uint32Array(Float32Array.of(value).buffer);
  const exponent = ((bits >>> 23) & 0xff) - 112;
  return exponent <= 0 ? 0 : ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

describe("weights", () => {
  const chain = () =>
    saved(sequence([layers.conv2d({ filters: 3, kernelSize: 2, inputShape: [12, 11, 3] }), ...block()]));

  test.each(["uint8", "uint16", "float16"] as const)("quantized as %s", async (dtype) => {
    await expectSameModel(quantized(await chain(), dtype));
  });

  const dense = () => saved(sequence([layers.dense({ units: 3, inputShape: [4], name: "dense" })]));
  const renamed = (files: ModelFiles, change: (spec: WeightSpec) => WeightSpec): ModelFiles => ({
    ...files,
    specs: files.specs.map(change),
  });

  test("with the name of a cell between", async () => {
    const name = (text: string) => text.replace("/", "/cell/");
    await expectSameModel(renamed(await dense(), (spec) => ({ ...spec, name: name(spec.name) })));
  });

  test("of an optimizer", async () => {
    const files = await dense();
    const more: WeightSpec = { name: "momentum", shape: [0], dtype: "float32", group: "optimizer" };
    await expectSameModel({ ...files, specs: [...files.specs, more] });
  });

  test.each<[string, (spec: WeightSpec) => WeightSpec, string]>([
    [
      "missing",
      (spec) => ({ ...spec, name: spec.name.replace("bias", "offset") }),
      "there is no weight dense/bias",
    ],
    [
      "of another shape",
      (spec) => ({ ...spec, shape: spec.shape.toReversed() }),
      "the weight dense/kernel is of [3,4], not [4,3]",
    ],
    ["double", (spec) => ({ ...spec, name: "dense/kernel" }), "there are two weights dense/kernel"],
  ])("%s", async (_, change, message) => {
    const files = renamed(await dense(), change);
    expect(() => compileLayersModel(files)).toThrow(message);
    // TF.js is as strict.
    await expect(loaded(files)).rejects.toThrow();
  });

  test("left over", async () => {
    const files = await dense();
    const specs: WeightSpec[] = [...files.specs, { name: "ghost/kernel", shape: [0], dtype: "float32" }];
    expect(() => compileLayersModel({ ...files, specs })).toThrow(
      "1 weights belong to no layer, the first ghost/kernel",
    );
  });

  test("of two layers of one name, one in a model in the model", async () => {
    const inner = sequence([layers.dense({ units: 4, inputShape: [4], name: "dense" })]);
    const files = await saved(sequence([inner, layers.dense({ units: 4, name: "dense", useBias: false })]));
    const specs = files.specs.slice(0, 2);
    expect(() => compileLayersModel({ ...files, specs })).toThrow("two layers dense have the weight kernel");
  });
});

describe("models at fault", () => {
  const layer = (name: string, from: unknown, class_name = "Activation") => ({
    class_name,
    name,
    config: { name, activation: "relu" },
    inbound_nodes: [from],
  });
  const input = {
    class_name: "InputLayer",
    name: "x",
    config: { batch_input_shape: [null, 2], dtype: "float32" },
    inbound_nodes: [],
  };
  const compile = (list: readonly object[], output: unknown = ["a", 0, 0], className = "Model") => {
    const config = {
      name: "m",
      layers: [input, ...list],
      input_layers: [["x", 0, 0]],
      output_layers: [output],
    };
    const modelTopology = { class_name: className, config };
    return () =>
      compileLayersModel({
        model: { modelTopology, weightsManifest: [] },
        specs: [],
        data: new ArrayBuffer(0),
      });
  };

  test("the form is right as such", () => {
    expect(compile([layer("a", [["x", 0, 0, {}]])])().outputs).toMatchObject([{ name: "a" }]);
  });

  test.each<[string, () => unknown, string]>([
    [
      "a cycle",
      compile([layer("a", [["b", 0, 0]]), layer("b", [["a", 0, 0]])]),
      "the layer a depends on itself",
    ],
    [
      "a layer that is not there",
      compile([layer("a", [["b", 0, 0]])]),
      "the model has no call 0 of a layer b",
    ],
    [
      "a call that is not there",
      compile([layer("a", [["x", 1, 0]])]),
      "the model has no call 1 of a layer x",
    ],
    ["an output that is not there", compile([layer("a", [["x", 0, 1]])]), "the layer x has no output 1"],
    [
      "two layers of one name",
      compile([layer("a", [["x", 0, 0]]), layer("a", [["x", 0, 0]])]),
      "two layers a",
    ],
    ["an output of another form", compile([layer("a", [["x", 0, 0]])], "a"), "output_layers are not lists"],
    ["the form of Keras 3", compile([layer("a", { args: [] })]), "layers joined as Keras 3 writes it"],
    ["a call in training", compile([layer("a", [["x", 0, 0, { training: true }]])]), "called with training"],
    [
      "a name of every object's",
      compile([layer("a", [["x", 0, 0]], "constructor")]),
      "the layer constructor",
    ],
    [
      "layers that are not covered",
      compile([layer("b", [["x", 0, 0]], "LSTM"), layer("a", [["b", 0, 0]], "Lambda")]),
      "the layers LSTM, Lambda",
    ],
    [
      "another class",
      compile([layer("a", [["x", 0, 0]])], ["a", 0, 0], "Graph"),
      "a model of the class Graph",
    ],
  ])("%s", (_, run, message) => {
    expect(run).toThrow(message);
  });

  test("models that call one another ever more often", () => {
    const twice = (inner: object, depth: number): object => ({
      class_name: "Model",
      name: `m${depth}`,
      config: {
        name: `m${depth}`,
        layers: [input, { ...inner, inbound_nodes: [[["x", 0, 0]], [[`m${depth - 1}`, 1, 0]]] }],
        input_layers: [["x", 0, 0]],
        output_layers: [[`m${depth - 1}`, 2, 0]],
      },
    });
    let model: object = { ...layer("m0", []), inbound_nodes: [] };
    model = {
      class_name: "Model",
      name: "m1",
      config: {
        name: "m1",
        layers: [input, layer("a", [["x", 0, 0]])],
        input_layers: [["x", 0, 0]],
        output_layers: [["a", 0, 0]],
      },
    };
    for (let depth = 2; depth < 30; depth++) model = twice(model, depth);
    const files = {
      model: { modelTopology: model, weightsManifest: [] },
      specs: [],
      data: new ArrayBuffer(0),
    };
    expect(() => compileLayersModel(files)).toThrow("more than 50000 calls");
  });

  test("a chain as long as it may be", () => {
    const names = Array.from({ length: 10_000 }, (_, i) => (i === 0 ? "x" : `l${i}`));
    const chain = names.slice(1).map((name, i) => layer(name, [[names[i], 0, 0]]));
    expect(compile(chain, [names.at(-1), 0, 0])().outputs).toHaveLength(1);
  });
});

test("ONNX Runtime draws padding, normalisation and activation into the convolutions", async () => {
  const input = layers.input({ shape: [12, 11, 3] });
  const files = await saved(tf.model({ inputs: input, outputs: through(input, block()) }));
  const { model } = compileLayersModel(files);
  const folder = await mkdtemp(join(tmpdir(), "auspex-fused-"));
  try {
    const optimizedModelFilePath = join(folder, "model.onnx");
    const options = {
      optimizedModelFilePath,
      graphOptimizationLevel: "extended",
      logSeverityLevel: 3,
    } as const;
    const session = await ort.InferenceSession.create(model, options);
    await session.release();
    const { graph } = fromBinary(ModelProtoSchema, new Uint8Array(await readFile(optimizedModelFilePath)));
    expect(graph?.node.map(({ opType }) => opType)).toEqual([
      "Transpose",
      "FusedConv",
      "FusedConv",
      "Transpose",
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
