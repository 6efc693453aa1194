import * as tf from "@tensorflow/tfjs-layers";
import { describe, expect, test } from "vitest";
import { LAYERS } from "../../../../src/engine/compiler/layers/layers.ts";
import { compileLayersModel } from "../../../../src/engine/compiler/layers-model.ts";
import { expectClose, floats, runOnnx } from "../reference.ts";
import { expectSameModel, type Layer, modelOf, type Sizes, saved } from "./reference.ts";

const { layers } = tf;

interface Case {
  readonly name: string;
  readonly layer: () => Layer;
  /** Of each input, without the rows. */
  readonly shapes: readonly Sizes[];
  readonly dtype?: "int32";
}

type Options = Readonly<Record<string, unknown>>;

/** One layer class under several settings. */
function settings<T extends object>(
  make: (options: T) => Layer,
  shapes: readonly Sizes[],
  list: readonly T[],
  dtype?: "int32",
): Case[] {
  return list.map((options) => ({
    name: `${make({ ...options }).getClassName()} ${JSON.stringify(options)}`,
    layer: () => make({ ...options }),
    shapes,
    ...(dtype && { dtype }),
  }));
}

const row = [[7]];
const sequence = [[11, 3]];
const picture = [[9, 8, 3]];
const volume = [[5, 6, 7, 2]];

const ACTIVATIONS = [
  "linear",
  "relu",
  "relu6",
  "elu",
  "selu",
  "sigmoid",
  "hardSigmoid",
  "softplus",
  "softsign",
  "tanh",
  "softmax",
  "logSoftmax",
  "swish",
  "mish",
  "gelu",
].map((activation) => ({ activation }) as Parameters<typeof layers.activation>[0]);

const CONVOLUTIONS: Case[] = [
  ...settings(layers.conv1d, sequence, [
    { filters: 4, kernelSize: 3 },
    { filters: 4, kernelSize: 4, strides: 3, padding: "same", activation: "relu" },
    { filters: 4, kernelSize: 3, dilationRate: 2, padding: "same", useBias: false },
  ]),
  ...settings(layers.conv2d, picture, [
    { filters: 5, kernelSize: 3 },
    { filters: 5, kernelSize: [2, 3], strides: [2, 3], padding: "same", activation: "relu6" },
    { filters: 5, kernelSize: [3, 1], strides: 2, padding: "valid", useBias: false },
    { filters: 5, kernelSize: [3, 2], dilationRate: [2, 3], padding: "same", activation: "elu" },
    { filters: 5, kernelSize: 1, activation: "softmax" },
    { filters: 5, kernelSize: 1, strides: 2, padding: "same" },
    { filters: 5, kernelSize: [3, 2], strides: [2, 3], padding: "same" },
  ]),
  ...settings(layers.conv3d, volume, [
    { filters: 3, kernelSize: 2 },
    { filters: 3, kernelSize: [3, 2, 1], strides: [2, 1, 1], padding: "same", activation: "tanh" },
  ]),
  ...settings(layers.conv2dTranspose, picture, [
    { filters: 4, kernelSize: 3, strides: 2, padding: "same" },
    { filters: 4, kernelSize: [2, 3], strides: [3, 2], padding: "same", activation: "relu" },
    { filters: 4, kernelSize: [5, 4], strides: 2, padding: "valid", useBias: false },
    { filters: 4, kernelSize: [1, 2], strides: 3, padding: "valid" },
    { filters: 4, kernelSize: 3, strides: 1, padding: "same" },
  ]),
  ...settings(layers.conv3dTranspose, volume, [
    { filters: 2, kernelSize: 3, strides: 2, padding: "same" },
    { filters: 2, kernelSize: [2, 1, 3], strides: [1, 2, 2], padding: "valid" },
  ]),
  ...settings(layers.depthwiseConv2d, picture, [
    { kernelSize: 3 },
    { kernelSize: [2, 3], strides: [2, 2], padding: "same", depthMultiplier: 2, activation: "relu" },
    { kernelSize: 3, strides: 2, padding: "valid", useBias: false },
  ]),
  ...settings(layers.separableConv2d, picture, [
    { filters: 5, kernelSize: 3 },
    { filters: 5, kernelSize: [3, 2], strides: 2, padding: "same", activation: "relu" },
    { filters: 5, kernelSize: 3, dilationRate: 2, padding: "same", useBias: false },
  ]),
];

/** Some cells are under no window. */
const GAPS = { poolSize: [3, 2], strides: [2, 3], padding: "same" };

const POOLS: Case[] = [
  ...[layers.maxPooling1d, layers.averagePooling1d].flatMap((make) =>
    settings<Options>(make as (options: Options) => Layer, sequence, [
      {},
      { poolSize: 3, strides: 2, padding: "same" },
    ]),
  ),
  ...[layers.maxPooling2d, layers.averagePooling2d].flatMap((make) =>
    settings<Options>(make as (options: Options) => Layer, picture, [
      {},
      { poolSize: [3, 2], strides: [2, 1], padding: "same" },
      { poolSize: 3, strides: 1, padding: "valid" },
      { poolSize: 1, strides: 2, padding: "same" },
    ]),
  ),
  ...[layers.maxPooling3d, layers.averagePooling3d].flatMap((make) =>
    settings<Options>(make as (options: Options) => Layer, volume, [
      {},
      { poolSize: [3, 2, 2], strides: [2, 2, 1], padding: "same" },
    ]),
  ),
  ...settings(layers.maxPooling2d as (options: Options) => Layer, picture, [GAPS]),
  ...settings(layers.globalAveragePooling1d, sequence, [{}]),
  ...settings(layers.globalMaxPooling1d, sequence, [{}]),
  ...[layers.globalAveragePooling2d, layers.globalMaxPooling2d].flatMap((make) =>
    settings<Options>(make as (options: Options) => Layer, picture, [{}]),
  ),
];

const NORMALIZATIONS: Case[] = [
  ...[row, sequence, picture].flatMap((shapes) =>
    settings(layers.batchNormalization, shapes, [
      {},
      { axis: shapes[0]?.length ?? 1, epsilon: 0.01 },
      { scale: false },
      { center: false, axis: -1 },
    ]),
  ),
  ...[row, sequence, picture].flatMap((shapes) =>
    settings(layers.layerNormalization, shapes, [
      {},
      { axis: 1, epsilon: 0.01 },
      { scale: false, center: false },
    ]),
  ),
  ...settings(layers.layerNormalization, picture, [{ axis: [1, 3] }, { axis: [1, 2, 3], center: false }]),
];

const FORMS: Case[] = [
  ...[row, sequence, picture].flatMap((shapes) =>
    settings(layers.dense, shapes, [
      { units: 4 },
      { units: 1, useBias: false, activation: "sigmoid" },
      { units: 6, activation: "softmax" },
    ]),
  ),
  ...settings(layers.flatten, sequence, [{}]),
  ...settings(layers.flatten, picture, [{}]),
  ...settings(layers.flatten, [[1, 1, 6]], [{}]),
  ...settings(layers.reshape, picture, [
    { targetShape: [72, 3] },
    { targetShape: [4, -1] },
    { targetShape: [3, 8, 3, 3] },
  ]),
  ...settings(layers.reshape, row, [{ targetShape: [1, 1, 7] }]),
  ...settings(layers.permute, picture, [{ dims: [3, 1, 2] }, { dims: [2, 1, 3] }, { dims: [1, 2, 3] }]),
  ...settings(layers.permute, sequence, [{ dims: [2, 1] }]),
  ...settings(layers.repeatVector, row, [{ n: 3 }]),
  ...settings(layers.embedding, [[6]], [{ inputDim: 5, outputDim: 4 }], "int32"),
  ...settings(layers.embedding, [[2, 3]], [{ inputDim: 5, outputDim: 4, inputLength: [2, 3] }], "int32"),
  ...settings(layers.embedding, [[6]], [{ inputDim: 5, outputDim: 4 }]),
  ...settings(layers.dropout, picture, [{ rate: 0.5 }]),
  ...settings(layers.alphaDropout, picture, [{ rate: 0.5 }]),
  ...settings(layers.gaussianDropout, picture, [{ rate: 0.5 }]),
  ...settings(layers.gaussianNoise, picture, [{ stddev: 0.5 }]),
  ...settings(layers.spatialDropout1d, sequence, [{ rate: 0.5 }]),
  ...settings(layers.zeroPadding2d as (options: Options) => Layer, picture, [
    {},
    { padding: 2 },
    { padding: [1, 3] },
    {
      padding: [
        [0, 1],
        [2, 0],
      ],
    },
  ]),
  ...settings(layers.cropping2D, picture, [
    { cropping: [1, 2] },
    {
      cropping: [
        [0, 1],
        [3, 0],
      ],
    },
  ]),
  ...settings(layers.upSampling2d, picture, [
    {},
    { size: [3, 2] },
    { size: [2, 3], interpolation: "bilinear" },
    { size: [1, 4], interpolation: "bilinear" },
  ]),
  ...settings(layers.rescaling, picture, [{ scale: 1 / 127.5, offset: -1 }, { scale: 3 }]),
  ...settings(layers.rescaling, picture, [{ scale: 2, offset: 1 }], "int32"),
  // A wrapped layer is used up by the first model.
  {
    name: "TimeDistributed Dense",
    layer: () => layers.timeDistributed({ layer: layers.dense({ units: 4, activation: "relu" }) }),
    shapes: sequence,
  },
  {
    name: "TimeDistributed Conv2D",
    layer: () => layers.timeDistributed({ layer: layers.conv2d({ filters: 3, kernelSize: 2 }) }),
    shapes: [[3, 6, 5, 2]],
  },
];

const ACTIVATION_LAYERS: Case[] = [
  ...settings(layers.activation, row, ACTIVATIONS),
  ...settings(layers.activation, picture, ACTIVATIONS),
  ...settings(layers.reLU, picture, [{}, { maxValue: 0.5 }]),
  ...settings(layers.leakyReLU, picture, [{}, { alpha: 0.1 }]),
  ...settings(layers.prelu, picture, [{}, { sharedAxes: [1, 2] }, { sharedAxes: [2, 3] }]),
  ...settings(layers.prelu, row, [{}]),
  ...settings(layers.elu, picture, [{}]),
  ...settings(layers.thresholdedReLU, picture, [{}, { theta: 0.2 }]),
  ...settings(layers.softmax, row, [{}, { axis: -1 }]),
  ...settings(layers.softmax, picture, [{ axis: 3 }]),
];

const pair = [...picture, ...picture];
const MERGES: Case[] = [
  ...[layers.add, layers.multiply, layers.average, layers.maximum, layers.minimum].flatMap((make) => [
    ...settings<Options>(make, [...pair, ...picture], [{}]),
    ...settings<Options>(
      make,
      [
        [9, 8, 3],
        [1, 1, 3],
      ],
      [{}],
    ),
    ...settings<Options>(make, [[9, 8, 3], [3]], [{}]),
    ...settings<Options>(
      make,
      [
        [8, 3],
        [9, 8, 3],
      ],
      [{}],
    ),
  ]),
  ...settings(
    layers.concatenate,
    [
      [9, 8, 3],
      [9, 8, 2],
      [9, 8, 1],
    ],
    [{}, { axis: 3 }],
  ),
  ...settings(
    layers.concatenate,
    [
      [9, 8, 3],
      [4, 8, 3],
    ],
    [{ axis: 1 }],
  ),
  ...settings(layers.concatenate, [[4], [5]], [{}]),
  ...settings(layers.dot, [[4], [4]], [{ axes: 1 }, { axes: -1, normalize: true }]),
  ...settings(
    layers.dot,
    [
      [4, 5],
      [4, 5],
    ],
    [{ axes: 1 }, { axes: 2 }, { axes: -1, normalize: true }],
  ),
  ...settings(
    layers.dot,
    [
      [4, 5],
      [6, 4],
    ],
    [{ axes: [1, 2] }],
  ),
  ...settings(
    layers.dot,
    [
      [4, 5],
      [5, 6],
    ],
    [{ axes: [2, 1], normalize: true }],
  ),
  ...settings(layers.dot, [[4, 5], [5]], [{ axes: [2, 1] }]),
  ...settings(layers.dot, [[4], [4, 5]], [{ axes: [1, 1] }]),
];

const CASES = [...CONVOLUTIONS, ...POOLS, ...NORMALIZATIONS, ...FORMS, ...ACTIVATION_LAYERS, ...MERGES];

describe("as in TF.js", () => {
  test.each(CASES)("$name of $shapes", async ({ layer, shapes, dtype }) => {
    await expectSameModel(await saved(modelOf(layer(), shapes, { dtype: dtype ?? "float32" })));
  });

  const convolvable = CASES.filter(({ shapes, dtype }) => !dtype && shapes.some((shape) => shape.length > 1));
  test.each(convolvable)("$name of $shapes, channels first in memory", async ({ layer, shapes }) => {
    await expectSameModel(await saved(modelOf(layer(), shapes, { convolved: true })));
  });
});

/** The harness gives every open size as many rows: enough for each window. */
const OPEN = [...CONVOLUTIONS, ...POOLS, ...NORMALIZATIONS, ...ACTIVATION_LAYERS, ...FORMS].filter(
  ({ name, shapes, dtype }) =>
    !dtype &&
    shapes.some((shape) => shape.length > 1) &&
    // See below.
    !name.endsWith(JSON.stringify(GAPS)) &&
    // Those whose weights or form depend on the sizes; TF.js refuses them too.
    !/"axis":(?:\[1|1\b)|PReLU \{\}|"sharedAxes":\[2,3\]|^(?:Flatten|Reshape|TimeDistributed)/.test(name),
);
test.each(OPEN)("$name of any size", async ({ layer, shapes }) => {
  await expectSameModel(await saved(modelOf(layer(), shapes, { open: true })), { rows: 8 });
});

test("a pool with gaps, of any size, is not covered", async () => {
  const pool = layers.maxPooling2d as (options: Options) => Layer;
  const files = await saved(modelOf(pool(GAPS), picture, { open: true }));
  expect(() => compileLayersModel(files)).toThrow(expect.objectContaining({ name: "NotCovered" }));
});

test("every layer has a case", () => {
  const tried = new Set(CASES.map(({ layer }) => layer().getClassName()));
  expect(Object.keys(LAYERS).filter((name) => !tried.has(name))).toEqual([]);
});

/** TF.js forgets the multiplier when it saves such a layer. */
test("SeparableConv2D with a multiplier", async () => {
  const layer = layers.separableConv2d({ filters: 5, kernelSize: [3, 2], depthMultiplier: 2 });
  const files = await saved(modelOf(layer, picture));
  const text = JSON.stringify(files.model.modelTopology);
  const modelTopology = JSON.parse(text.replace('"filters":5', '"filters":5,"depth_multiplier":2'));
  await expectSameModel({ ...files, model: { ...files.model, modelTopology } });
});

/** TF.js normalises along the last axis whatever the layer says; between two permutations that is where it is. */
test.each([1, 2])("BatchNormalization along the axis %i of a picture", async (axis) => {
  const dims = axis === 1 ? [3, 2, 1] : [1, 3, 2];
  const input = layers.input({ shape: [4, 5, 6] });
  const chain = [
    layers.permute({ dims }),
    layers.batchNormalization({ name: "norm" }),
    layers.permute({ dims, name: "back" }),
  ];
  const turned = chain.reduce((x, layer) => layer.apply(x) as tf.SymbolicTensor, input);
  const files = await saved(tf.model({ inputs: input, outputs: turned }));
  const wanted = await expectSameModel(files);
  const direct = layers.batchNormalization({ name: "norm", axis }).apply(input) as tf.SymbolicTensor;
  const plain = await saved(tf.model({ inputs: input, outputs: direct }));
  const compiled = compileLayersModel({ ...files, model: plain.model });
  const x = floats([2, 4, 5, 6]);
  const name = input.name;
  const [expected] = await runOnnx(wanted, { [name]: x }, ["back"]);
  const [actual] = await runOnnx(compiled, { [name]: x }, ["norm"]);
  expect(actual?.shape).toEqual([2, 4, 5, 6]);
  expectClose(actual?.data ?? [], expected?.data ?? [], 1e-5);
});

describe("not covered", () => {
  const refusal = async (layer: Layer, shapes: readonly Sizes[]) => {
    const files = await saved(modelOf(layer, shapes));
    return () => compileLayersModel(files);
  };
  test.each<[string, Layer, readonly Sizes[], string]>([
    [
      "channels first",
      layers.conv2d({ filters: 2, kernelSize: 2, dataFormat: "channelsFirst" }),
      picture,
      "Conv2D with channels_first",
    ],
    [
      "dilation",
      layers.depthwiseConv2d({ kernelSize: 1, dilationRate: 2 }),
      picture,
      "DepthwiseConv2D with dilation",
    ],
    [
      "gaps in a volume",
      layers.maxPooling3d({ poolSize: 2, strides: 3, padding: "same" } as Parameters<
        typeof layers.maxPooling3d
      >[0]),
      volume,
      "MaxPooling3D with strides beyond its window",
    ],
    [
      "masks",
      layers.embedding({ inputDim: 5, outputDim: 4, maskZero: true }),
      [[6]],
      "Embedding with mask_zero",
    ],
    [
      "recurrence",
      layers.simpleRNN({ units: 2, recurrentInitializer: "zeros" }),
      sequence,
      "the layer SimpleRNN",
    ],
    [
      "one axis for another",
      layers.concatenate({ axis: -3 }),
      [
        [4, 8, 3],
        [4, 8, 3],
      ],
      "Concatenate along the axis -3",
    ],
  ])("%s", async (_, layer, shapes, message) => {
    expect(await refusal(layer, shapes)).toThrow(expect.objectContaining({ name: "NotCovered" }));
    expect(await refusal(layer, shapes)).toThrow(message);
  });
});
