/** Folders that claim to be TF.js models: cut, damaged, lying and hostile ones, given to a real worker. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NODES_MAX } from "../../src/engine/compiler/graph-def.ts";
import { MODEL_JSON_BYTES_MAX, MODEL_JSON_DEPTH_MAX } from "../../src/engine/worker/model-json.ts";
import { WEIGHT_RANK_MAX, WEIGHT_SIZE_MAX } from "../../src/engine/worker/weights.ts";
import {
  type Files,
  type GraphNode,
  graphFiles,
  type Layer,
  layersFiles,
  placeholder,
  weight,
} from "../models/graph.ts";
import { uniform, writeMlp } from "../models/mlp.ts";
import { LoadingWorker, type Outcome } from "./loading.ts";

const worker = new LoadingWorker();
afterAll(() => worker.close());

const x = placeholder("x", [-1, 4]);
const picture = placeholder("x", [-1, 4, 4, 1]);
const relu = (name: string, input: string): GraphNode => ({ name, op: "Relu", input: [input] });

const chain = (length: number): readonly GraphNode[] => [
  x,
  ...Array.from({ length: length - 1 }, (_, i) => relu(`n${i + 1}`, i === 0 ? "x" : `n${i}`)),
];

/** y = x + the sum of `c`, of the type float32 and one dimension. */
const summed = (nodes: readonly GraphNode[]): Files =>
  graphFiles([
    x,
    ...nodes,
    weight("axes", [0]),
    { name: "sum", op: "Sum", input: ["c", "axes"] },
    { name: "y", op: "AddV2", input: ["x", "sum"] },
  ]);

const list = (values: readonly number[]) => ({ list: { i: values.map(String) } });
const text = (value: string) => ({ s: Buffer.from(value).toString("base64") });
const explicitPads = {
  strides: list([1, 1, 1, 1]),
  padding: text("EXPLICIT"),
  explicit_paddings: list([0, 0, 2 ** 30, 2 ** 30, 2 ** 30, 2 ** 30, 0, 0]),
};

/** Goes on for ever: `a < a` is never so. */
const ENDLESS = {
  library: {
    function: [
      {
        signature: { name: "C", inputArg: [{ name: "a", type: "DT_FLOAT" }], outputArg: [{ name: "r" }] },
        nodeDef: [
          { name: "less", op: "Less", input: ["a", "a"] },
          { name: "not", op: "LogicalNot", input: ["less:z:0"] },
        ],
        ret: { r: "not:y:0" },
      },
      {
        signature: { name: "B", inputArg: [{ name: "a", type: "DT_FLOAT" }], outputArg: [{ name: "r" }] },
        nodeDef: [{ name: "relu", op: "Relu", input: ["a"] }],
        ret: { r: "relu:activations:0" },
      },
    ],
  },
};

/** Files whose weights are described as they are not. */
function lyingWeights(shape: readonly number[], more: object = {}): Files {
  const files = graphFiles([
    x,
    weight("w", [1], [1], "float32"),
    { name: "y", op: "AddV2", input: ["x", "w"] },
  ]);
  const model = JSON.parse(String(files["model.json"]));
  Object.assign(model.weightsManifest[0].weights[0], { shape, ...more });
  return { ...files, "model.json": JSON.stringify(model) };
}

const lyingPaths = (...paths: string[]): Files => {
  const files = lyingWeights([1]);
  const model = JSON.parse(String(files["model.json"]));
  model.weightsManifest[0].paths = paths;
  return { ...files, "model.json": JSON.stringify(model) };
};

const json = (text: string): Files => ({ "model.json": text });
const nested = (depth: number): Files =>
  json(`{"modelTopology":{"a":${"[".repeat(depth - 2)}${"]".repeat(depth - 2)}}}`);

const dense = { units: 2 ** 40, activation: "linear", use_bias: true };
const row = (...names: string[]): readonly Layer[] =>
  names.map((name) => ({ className: "ReLU", name, config: {} }));

const REFUSED: Readonly<Record<string, readonly [Files, RegExp]>> = {
  "an empty model.json": [json(""), /model.json is not JSON/],
  "a model.json that is a number": [json("7"), /no modelTopology/],
  "another graph format": [json('{"modelTopology":{"node":7}}'), /./],
  "a million nodes": [json(million()), /more than 50000 nodes and layers/],
  "a chain 100,000 deep": [graphFiles(chain(100_000)), /more than 50000 nodes and layers/],
  "a node too many": [graphFiles(chain(NODES_MAX + 1)), /more than 50000 nodes and layers/],
  "a million layers": [
    json(`{"modelTopology":{"class_name":"Sequential","config":{"layers":[${"{},".repeat(999_999)}{}]}}}`),
    /more than 50000 nodes and layers/,
  ],
  "a million nodes in a function": [
    json(`{"modelTopology":{"node":[],"library":{"function":[{"nodeDef":[${"{},".repeat(999_999)}{}]}]}}}`),
    /more than 50000 nodes and layers/,
  ],
  "nesting 100,000 deep": [nested(100_000), /nested deeper than 200 levels/],
  "nesting a level too deep": [nested(MODEL_JSON_DEPTH_MAX + 1), /nested deeper than 200 levels/],
  "a byte too many": [json(" ".repeat(MODEL_JSON_BYTES_MAX + 1)), /has 33554433 bytes; at most 33554432/],
  "a weight of 2^31 × 2^31": [lyingWeights([2 ** 31, 2 ** 31]), /the weight w has the size 2147483648/],
  "a weight as large as a size can be": [
    lyingWeights([WEIGHT_SIZE_MAX, WEIGHT_SIZE_MAX]),
    /the weights need 18446744056529682000 bytes, and weights.bin \(4 bytes\) is cut short/,
  ],
  "a weight of a negative size": [lyingWeights([-1]), /the weight w has the size -1/],
  "a weight of too many dimensions": [
    lyingWeights(Array(WEIGHT_RANK_MAX + 1).fill(1)),
    /has 33 dimensions; at most 32 are allowed/,
  ],
  "a weight of more bytes than there are": [
    lyingWeights([2]),
    /need 8 bytes, and weights.bin \(4 bytes\) is cut/,
  ],
  "a weight of fewer bytes": [lyingWeights([0]), /has more/],
  "a weight of an unknown type": [lyingWeights([1], { dtype: "toString" }), /the unknown type toString/],
  "a weight file outside": [lyingPaths("../../etc/passwd"), /outside its folder/],
  "a weight file named twice": [
    lyingPaths("weights.bin", "weights.bin"),
    /names the weight file weights.bin twice/,
  ],
  "a weight file that is a folder": [lyingPaths("."), /outside its folder/],
  "a graph's cycle": [
    graphFiles([x, { name: "a", op: "AddV2", input: ["x", "b"] }, relu("b", "a"), relu("y", "b")]),
    /the graph has a cycle/,
  ],
  "a node listed twice": [graphFiles([x, relu("y", "x"), relu("y", "x")]), /two nodes y/],
  "a node's input that is not there": [
    graphFiles([x, { name: "y", op: "AddV2", input: ["x", "nobody"] }]),
    /the node y has the input nobody, which is not there/,
  ],
  "an operator that nobody knows": [
    graphFiles([x, { name: "y", op: "constructor", input: ["x"] }]),
    /constructor/,
  ],
  "an input of 2^31 × 2^31": [
    graphFiles([placeholder("x", [2 ** 31, 2 ** 31]), relu("y", "x")]),
    /the input x .* at most 268435456 are allowed/,
  ],
  "a fill of terabytes": [
    summed([
      weight("d", 2 ** 31 - 1),
      weight("n", [2 ** 20]),
      weight("v", 1, [], "float32"),
      { name: "shape", op: "Pack", input: ["d", "d"] },
      { name: "f", op: "Fill", input: ["shape", "v"] },
      { name: "c", op: "Reshape", input: ["f", "n"] },
    ]),
    /allocat|cannot be reshaped|overflow|array length/i,
  ],
  "a tile of terabytes": [
    graphFiles([x, weight("d", [2 ** 30, 2 ** 20]), { name: "y", op: "Tile", input: ["x", "d"] }]),
    /exceeds the supported maximum/,
  ],
  "a shape of terabytes": [
    graphFiles([x, weight("d", [2 ** 30, 2 ** 20, 4]), { name: "y", op: "BroadcastTo", input: ["x", "d"] }]),
    /Failed to allocate memory/,
  ],
  "a reshape that does not fit": [
    graphFiles([x, weight("d", [2 ** 30, 2 ** 30]), { name: "y", op: "Reshape", input: ["x", "d"] }]),
    /cannot be reshaped/,
  ],
  "a convolution padded to terabytes": [
    graphFiles([
      picture,
      weight("w", [1], [1, 1, 1, 1], "float32"),
      { name: "y", op: "Conv2D", input: ["x", "w"], attr: explicitPads },
    ]),
    /overflow|allocate/,
  ],
  "a picture enlarged to terabytes": [
    graphFiles([
      picture,
      weight("d", [2 ** 30, 2 ** 30]),
      { name: "y", op: "ResizeBilinear", input: ["x", "d"] },
    ]),
    /overflow|allocate/,
  ],
  "layers in a cycle": [
    layersFiles(
      [4],
      [
        { className: "Add", name: "a", from: ["x", "b"] },
        { className: "ReLU", name: "b", from: ["a"] },
        { className: "ReLU", name: "y", from: ["b"] },
      ],
    ),
    /in a cycle/,
  ],
  "a layer listed twice": [layersFiles([4], row("a", "a")), /two layers a/],
  "a layer's input that is not there": [
    layersFiles([4], [{ className: "ReLU", name: "y", from: ["nobody"] }]),
    /the layer y has the input nobody, which is not there/,
  ],
  "a dense layer of terabytes": [
    layersFiles([4], [{ className: "Dense", name: "y", config: dense }]),
    /y\/kernel|allocat|array length/i,
  ],
  "a layer that repeats to terabytes": [
    layersFiles([4], [{ className: "RepeatVector", name: "y", config: { n: 2 ** 40 } }]),
    /./,
  ],
  "a layer that pads to terabytes": [
    layersFiles(
      [4, 4, 1],
      [
        {
          className: "ZeroPadding2D",
          name: "y",
          config: {
            padding: [
              [2 ** 20, 2 ** 20],
              [2 ** 20, 2 ** 20],
            ],
            data_format: "channels_last",
          },
        },
      ],
    ),
    /allocate|overflow/i,
  ],
  "a layer that nobody knows": [layersFiles([4], [{ className: "Nonsense", name: "y" }]), /Nonsense/],
};

/** Some 40 bytes each. */
function million(): string {
  const nodes = Array.from({ length: 1_000_000 }, (_, i) => `{"name":"n${i}","op":"Abs"}`);
  return `{"format":"graph-model","modelTopology":{"node":[${nodes}]}}`;
}

test.each(Object.entries(REFUSED))("refused: %s", async (_name, [files, reason]) => {
  expect(await worker.load(files)).toEqual({ kind: "refused", text: expect.stringMatching(reason) });
});

test("at the edges it is served", async () => {
  // The longest chain takes seconds, on a machine that has nothing else to do.
  const patient = new LoadingWorker({ timeoutMs: 60_000 });
  try {
    const small = graphFiles([x, relu("y", "x")]);
    const padding = " ".repeat(MODEL_JSON_BYTES_MAX - Buffer.byteLength(String(small["model.json"])));
    const served = [
      graphFiles(chain(NODES_MAX)),
      { ...small, "model.json": `${small["model.json"]}${padding}` },
      graphFiles([x, relu("__proto__", "x"), relu("y", "__proto__")]),
      lyingWeights([1, 1]),
      layersFiles([4], row("a", "b")),
    ];
    for (const files of served) expect(await patient.load(files)).toMatchObject({ kind: "loaded" });
  } finally {
    await patient.close();
  }
  // Past these limits, though no runtime takes them.
  const { text: tooDeep } = await worker.load(nested(MODEL_JSON_DEPTH_MAX));
  expect(tooDeep).not.toContain("nested deeper");
  const { text: tooMany } = await worker.load(lyingWeights(Array(WEIGHT_RANK_MAX).fill(1)));
  expect(tooMany).not.toContain("dimensions; at most");
});

describe("what outgrows the worker ends it, and the next one serves", () => {
  test.each<readonly [string, Files]>([
    [
      "a range without end",
      summed([
        weight("a", 0),
        weight("b", 2 ** 31 - 1),
        weight("d", 1),
        { name: "r", op: "Range", input: ["a", "b", "d"] },
        {
          name: "c",
          op: "Cast",
          input: ["r"],
          attr: { SrcT: { type: "DT_INT32" }, DstT: { type: "DT_FLOAT" } },
        },
      ]),
    ],
    [
      "a vector of two thousand million",
      graphFiles([
        placeholder("x", [-1], "DT_INT32"),
        weight("d", 2 ** 31 - 1),
        weight("on", 1),
        weight("off", 0),
        { name: "y", op: "OneHot", input: ["x", "d", "on", "off"] },
      ]),
    ],
  ])("%s", async (_name, files) => {
    const outcome = await worker.load(files);
    expect(outcome.text).toMatch(/outgrew its memory|allocate/i);
    expect(await worker.load(graphFiles([x, relu("y", "x")]))).toMatchObject({ kind: "loaded" });
  });

  test("a loop without end", async () => {
    const impatient = new LoadingWorker({ timeoutMs: 4000 });
    try {
      const functions = { cond: { func: { name: "C" } }, body: { func: { name: "B" } } };
      const one = placeholder("x", []);
      const loop = graphFiles(
        [one, { name: "y", op: "StatelessWhile", input: ["x"], attr: functions }],
        ENDLESS,
      );
      expect(await impatient.load(loop)).toEqual({ kind: "died", text: "the worker was silent for 4000 ms" });
      expect(await impatient.load(graphFiles([x, relu("y", "x")]))).toMatchObject({ kind: "loaded" });
    } finally {
      await impatient.close();
    }
  });
});

test("where WebAssembly traps, the worker ends: the next model finds a sound memory", async () => {
  const wasm = new LoadingWorker({ runtime: "tfjs-wasm" });
  try {
    const tile = graphFiles([
      x,
      weight("d", [2 ** 14, 2 ** 14]),
      { name: "y", op: "Tile", input: ["x", "d"] },
    ]);
    const reason = "the worker crashed (the model reached beyond its memory)";
    expect(await wasm.load(tile)).toEqual({ kind: "died", text: reason });
    expect(await wasm.load(graphFiles([x, relu("y", "x")]))).toMatchObject({ kind: "loaded" });
  } finally {
    await wasm.close();
  }
});

describe("cut and flipped at many places", () => {
  let good: Files;
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), "auspex-mlp-"));
    await writeMlp(folder, { sizes: [64, 16, 10] });
    const read = (name: string) => readFile(join(folder, name));
    good = { "model.json": await read("model.json"), "weights.bin": await read("weights.bin") };
    await rm(folder, { recursive: true });
  });

  const graph = graphFiles([
    picture,
    weight("filter", Array(9).fill(0.1), [3, 3, 1, 1], "float32"),
    {
      name: "conv",
      op: "Conv2D",
      input: ["x", "filter"],
      attr: {
        T: { type: "DT_FLOAT" },
        strides: list([1, 1, 1, 1]),
        padding: text("SAME"),
        dilations: list([1, 1, 1, 1]),
      },
    },
    weight("shape", [-1, 16]),
    { name: "flat", op: "Reshape", input: ["conv", "shape"] },
    weight("axes", [1]),
    { name: "y", op: "Mean", input: ["flat", "axes"], attr: { keep_dims: { b: true } } },
  ]);

  test.each([
    ["a layers model", () => good, "model.json"],
    ["a graph model", () => graph, "model.json"],
    ["a graph model's weights", () => graph, "weights.bin"],
  ] as const)("%s is refused or right, never the worker's end", async (_name, files, damaged) => {
    const whole = Buffer.from(files()[damaged] ?? "");
    expect(await worker.load(files())).toMatchObject({ kind: "loaded" });
    const random = uniform(5);
    const tally: Record<Outcome["kind"], number> = { loaded: 0, refused: 0, died: 0 };
    for (let i = 0; i < 300; i++) {
      const at = Math.floor(random() * whole.length);
      const bytes = i % 4 === 0 ? whole.subarray(0, at) : Buffer.from(whole);
      if (i % 4 !== 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      const outcome = await worker.load({ ...files(), [damaged]: bytes });
      tally[outcome.kind]++;
      expect(outcome.text, `${i} at ${at}`).not.toBe("");
      expect(outcome.kind, `${i} at ${at}: ${outcome.text}`).not.toBe("died");
    }
    expect(tally.refused).toBeGreaterThan(50);
  });
});

test("the worker holds no more than before, after refusing much", async () => {
  const refused = summed([weight("a", Array(2 ** 20).fill(1)), { name: "c", op: "Nonsense", input: ["a"] }]);
  for (let i = 0; i < 3; i++) await worker.load(refused);
  const before = worker.memory;
  for (let i = 0; i < 40; i++) expect(await worker.load(refused)).toMatchObject({ kind: "refused" });
  // 4 MiB of weights each time.
  expect(worker.memory).toBeLessThan(before + 64 * 2 ** 20);
});
