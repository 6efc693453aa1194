/** Files that claim to be ONNX models: cut, damaged, lying and hostile ones, given to a real worker. */
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { TensorProto_DataType as DataType } from "../../gen/onnx/onnx_pb.ts";
import {
  checkBytes,
  ONNX_BYTES_MAX,
  ONNX_NESTING_MAX,
  ONNX_NODES_MAX,
  readOnnxFile,
} from "../../src/engine/worker/onnx-file.ts";
import { INPUT_ELEMENTS_MAX } from "../../src/engine/worker/warm-up.ts";
import { uniform } from "../models/mlp.ts";
import {
  functionOf,
  type GraphInit,
  info,
  int64s,
  node,
  onnxModel,
  plusOne,
  sparse,
  tensor,
  withExternalData,
} from "../models/onnx.ts";
import { LoadingWorker } from "./loading.ts";

const worker = new LoadingWorker();
afterAll(() => worker.close());

const { FLOAT, INT64, BOOL } = DataType;
const x = info("x", FLOAT, ["rows", 4]);
const picture = info("x", FLOAT, ["rows", 1, 4, 4]);
const one = tensor("w", Float32Array.of(1), [1, 1, 1, 1]);

/** y from these nodes. */
const model = (nodes: GraphInit["node"], constants: GraphInit["initializer"] = [], input = x): Uint8Array =>
  onnxModel({ input: [input], output: [info("y", FLOAT)], initializer: constants, node: nodes ?? [] });

/** y = x + the sum of `c`. */
const summed = (nodes: NonNullable<GraphInit["node"]>, constants: GraphInit["initializer"]): Uint8Array =>
  model([...nodes, node("ReduceSum", ["c"], ["sum"]), node("Add", ["x", "sum"], ["y"])], constants);

const chain = (length: number): Uint8Array =>
  model(
    Array.from({ length }, (_, i) =>
      node("Relu", [i === 0 ? "x" : `n${i}`], [i === length - 1 ? "y" : `n${i + 1}`]),
    ),
  );

const loop = (trips: bigint, body: GraphInit): Uint8Array =>
  model(
    [node("Loop", ["trips", "yes", "x"], ["y"], { body })],
    [int64s("trips", [trips], true), tensor("yes", Uint8Array.of(1), [], BOOL)],
  );

/** A turn of a loop whose value is `next` of the turn before. */
const turn = (next: NonNullable<GraphInit["node"]>): GraphInit => ({
  input: [info("i", INT64, []), info("go", BOOL, []), info("state", FLOAT)],
  output: [info("again", BOOL, []), info("next", FLOAT)],
  node: [node("Identity", ["go"], ["again"]), ...next],
});

/** An If within an If, so many times. */
function branches(depth: number): Uint8Array {
  const passing = (name: string): GraphInit => ({
    output: [info(name, FLOAT)],
    node: [node("Identity", ["x"], [name])],
  });
  const choice = (i: number, then: GraphInit) =>
    node("If", ["yes"], [i === 0 ? "y" : `b${i}`], { then_branch: then, else_branch: passing(`e${i}`) });
  let inner = passing(`b${depth}`);
  for (let i = depth - 1; i > 0; i--) inner = { output: [info(`b${i}`, FLOAT)], node: [choice(i, inner)] };
  return model([choice(0, inner)], [tensor("yes", Uint8Array.of(1), [], BOOL)]);
}

const domains = (names: readonly string[]) => ({ domains: names });

/** Each function calls the next one twice. */
const doubling = (levels: number): Uint8Array =>
  onnxModel(
    { input: [x], output: [info("y", FLOAT)], node: [node("F0", ["x"], ["y"], {}, "me")] },
    {
      ...domains(["me"]),
      functions: Array.from({ length: levels }, (_, i) =>
        functionOf("me", `F${i}`, [
          node(i === levels - 1 ? "Relu" : `F${i + 1}`, ["a"], ["m"], {}, i === levels - 1 ? "" : "me"),
          node(i === levels - 1 ? "Relu" : `F${i + 1}`, ["m"], ["b"], {}, i === levels - 1 ? "" : "me"),
        ]),
      ),
    },
  );

const REFUSED: Readonly<Record<string, readonly [Uint8Array, RegExp]>> = {
  "an empty file": [new Uint8Array(), /no graph/],
  text: [
    new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"),
    /damaged or cut off|no graph/,
  ],
  "weights that claim more bytes than there are": [
    model([node("Add", ["x", "w"], ["y"])], [tensor("w", Float32Array.of(1, 2), [4])]),
    /the tensor w \[4\] needs 16 bytes, and has 8/,
  ],
  "weights of 2^31 × 2^31": [
    model([node("Add", ["x", "w"], ["y"])], [tensor("w", new Float32Array(), [2 ** 31, 2 ** 31])]),
    /the tensor w \[2147483648, 2147483648\] has 0 elements only/,
  ],
  "weights as numbers, the last one cut": [
    model(
      [node("Add", ["x", "w"], ["y"])],
      [Object.assign(tensor("w", new Float32Array(), [2]), { floatData: new Uint8Array(7) })],
    ),
    /the tensor w \[2\] has 1 elements only/,
  ],
  "weights whose size overflows 64 bits to a small one": [
    model([node("Add", ["x", "w"], ["y"])], [tensor("w", Float32Array.of(1), [2n ** 32n, 2n ** 32n])]),
    /needs 73786976294838206464 bytes, and has 4/,
  ],
  "a negative size": [
    model([node("Add", ["x", "w"], ["y"])], [tensor("w", Float32Array.of(1), [-1, -1])]),
    /the tensor w has the size -1/,
  ],
  "an unknown type": [
    model([node("Add", ["x", "w"], ["y"])], [tensor("w", Float32Array.of(1), [1], 999 as DataType)]),
    /the tensor w has the unknown type 999/,
  ],
  "a sparse tensor that stands for terabytes": [
    onnxModel({
      input: [x],
      output: [info("y", FLOAT)],
      sparseInitializer: [sparse("w", [2 ** 40])],
      node: [node("Add", ["x", "w"], ["y"])],
    }),
    /the sparse tensor w stands for 4398046511104 bytes/,
  ],
  "a constant within a node that lies": [
    model([
      node("Constant", [], ["c"], { value: { tensor: tensor("c", Float32Array.of(1), [1000]) } }),
      node("Add", ["x", "c"], ["y"]),
    ]),
    /the tensor c \[1000\] needs 4000 bytes, and has 4/,
  ],
  "an input of 2^31 × 2^31": [
    model([node("Relu", ["x"], ["y"])], [], info("x", FLOAT, [2n ** 31n, 2n ** 31n])),
    /the input x .* at most 268435456 are allowed/,
  ],
  "an input without a shape": [
    model([node("Relu", ["x"], ["y"])], [], info("x", FLOAT)),
    /no declared shape/,
  ],
  "a fill of terabytes": [
    summed([node("ConstantOfShape", ["s"], ["c"])], [int64s("s", [2 ** 40])]),
    /Failed to allocate memory for requested buffer of size 4398046511104/,
  ],
  "a fill whose size overflows": [
    summed([node("ConstantOfShape", ["s"], ["c"])], [int64s("s", [2 ** 31, 2 ** 33, 2 ** 40])]),
    /Integer overflow/,
  ],
  "a range without end": [
    summed(
      [node("Range", ["a", "b", "d"], ["r"]), node("Cast", ["r"], ["c"], { to: 1n })],
      [int64s("a", [0], true), int64s("b", [2n ** 62n], true), int64s("d", [1], true)],
    ),
    /overflow/i,
  ],
  "a tile of terabytes": [
    model([node("Tile", ["x", "s"], ["y"])], [int64s("s", [2 ** 30, 2 ** 10])]),
    /exceeds the supported maximum/,
  ],
  "a pad of terabytes": [
    model([node("Pad", ["x", "s"], ["y"])], [int64s("s", [0, 0, 2 ** 20, 2 ** 20])]),
    /Failed to allocate memory/,
  ],
  "a pad whose size overflows": [
    model([node("Pad", ["x", "s"], ["y"])], [int64s("s", [0, 0, 2n ** 62n, 2n ** 62n])]),
    /Integer overflow/,
  ],
  "a convolution padded to terabytes": [
    model([node("Conv", ["x", "w"], ["y"], { pads: Array(4).fill(2n ** 40n) })], [one], picture),
    /Integer overflow|Failed to allocate/,
  ],
  "a reshape that does not fit": [
    model([node("Reshape", ["x", "s"], ["y"])], [int64s("s", [2n ** 31n, 2n ** 31n, -1])]),
    /cannot be reshaped/,
  ],
  "an index beyond the tensor": [
    model([node("Gather", ["x", "s"], ["y"], { axis: 1n })], [int64s("s", [2n ** 60n])]),
    /out of data bounds/,
  ],
  "a cycle": [
    model([node("Add", ["x", "b"], ["a"]), node("Add", ["a", "x"], ["b"]), node("Identity", ["b"], ["y"])]),
    /not acyclic/,
  ],
  "a node listed twice": [
    model([node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"])]),
    /two nodes with same node name|Duplicate definition/,
  ],
  "an input that is not there": [model([node("Add", ["x", "nobody"], ["y"])]), /Node input 'nobody' is not/],
  "an operator of somebody's own": [
    onnxModel(
      { input: [x], output: [info("y", FLOAT)], node: [node("Foo", ["x"], ["y"], {}, "com.example")] },
      domains(["com.example"]),
    ),
    /com\.example:Foo\(-1\) is not a registered function\/op/,
  ],
  "an operator set of the future": [onnxModel(plusOne, { opset: 9999n }), /Opset 9999 is under development/],
  "a function that calls itself": [
    onnxModel(
      { input: [x], output: [info("y", FLOAT)], node: [node("F", ["x"], ["y"], {}, "me")] },
      { ...domains(["me"]), functions: [functionOf("me", "F", [node("F", ["a"], ["b"], {}, "me")])] },
    ),
    /the function F calls itself/,
  ],
  "functions that double twenty times": [doubling(20), /more than 50000 nodes/],
  "too many nodes": [chain(ONNX_NODES_MAX + 1), /more than 50000 nodes/],
  "a chain 100,000 deep": [chain(100_000), /more than 50000 nodes/],
  "graphs too deep inside one another": [branches(ONNX_NESTING_MAX + 1), /deep inside one another|recursion/],
};

test.each(Object.entries(REFUSED))("refused: %s", async (_name, [bytes, reason]) => {
  expect(await worker.load({ "model.onnx": bytes })).toEqual({
    kind: "refused",
    text: expect.stringMatching(reason),
  });
});

describe("at the edges", () => {
  test("the largest number of nodes, and the deepest graphs, are served", async () => {
    expect(await worker.load({ "model.onnx": chain(ONNX_NODES_MAX) })).toMatchObject({ kind: "loaded" });
    expect(await worker.load({ "model.onnx": branches(ONNX_NESTING_MAX) })).toMatchObject({ kind: "loaded" });
    expect(await worker.load({ "model.onnx": doubling(10) })).toMatchObject({ kind: "loaded" });
  });

  test("a branch within a loop is served", async () => {
    const then_branch = { output: [info("a", FLOAT)], node: [node("Relu", ["state"], ["a"])] };
    const else_branch = { output: [info("b", FLOAT)], node: [node("Identity", ["state"], ["b"])] };
    const body = turn([node("If", ["go"], ["next"], { then_branch, else_branch })]);
    expect(await worker.load({ "model.onnx": loop(3n, body) })).toMatchObject({ kind: "loaded" });
  });

  test("a file of a byte too many is refused before it is read", async () => {
    expect(() => checkBytes(ONNX_BYTES_MAX, "model.onnx")).not.toThrow();
    const folder = await mkdtemp(join(tmpdir(), "auspex-large-"));
    try {
      await writeFile(join(folder, "model.onnx"), "");
      // Takes no room on the disk.
      await truncate(join(folder, "model.onnx"), ONNX_BYTES_MAX + 1);
      await expect(readOnnxFile(folder)).rejects.toThrow("model.onnx has 2147483648 bytes");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("an input of one number too many is refused before it is made", async () => {
    const input = info("x", FLOAT, [1, INPUT_ELEMENTS_MAX + 1]);
    const nodes = [node("Shape", ["x"], ["shape"]), node("Cast", ["shape"], ["y"], { to: 1n })];
    expect(await worker.load({ "model.onnx": model(nodes, [], input) })).toEqual({
      kind: "refused",
      text: expect.stringContaining("takes 268435457 numbers a row; at most 268435456 are allowed"),
    });
    const roomy = new LoadingWorker({ memoryBytes: 4 * 2 ** 30 });
    try {
      const largest = model(nodes, [], info("x", FLOAT, [1, INPUT_ELEMENTS_MAX]));
      expect(await roomy.load({ "model.onnx": largest })).toMatchObject({ kind: "loaded" });
    } finally {
      await roomy.close();
    }
  });
});

describe("tensors in other files", () => {
  const weighted: GraphInit = { ...plusOne, initializer: [tensor("one", Float32Array.of(1, 2, 3, 4), [4])] };

  test.each([
    ["../../../../../../etc/passwd", /lies in a file outside the model folder/],
    ["/etc/passwd", /lies in a file outside the model folder/],
    ["weights/../../passwd", /lies in a file outside the model folder/],
    ["", /lies in a file outside the model folder/],
    ["nowhere.bin", /the weight file nowhere.bin is missing/],
    ["weights", /the weight file weights is missing/],
  ])("at %j are refused", async (location, reason) => {
    const { model: bytes, data } = withExternalData(weighted, location, 0);
    expect(await worker.load({ "model.onnx": bytes, "weights/data": data })).toEqual({
      kind: "refused",
      text: expect.stringMatching(reason),
    });
  });

  test("beyond the end of their file are refused, up to it served", async () => {
    const { model: bytes, data } = withExternalData(weighted, "data.bin", 100);
    expect(await worker.load({ "model.onnx": bytes, "data.bin": data })).toMatchObject({ kind: "loaded" });
    expect(await worker.load({ "model.onnx": bytes, "data.bin": data.subarray(1) })).toEqual({
      kind: "refused",
      text: "the tensor one takes 16 bytes from 100 on, and data.bin has 115",
    });
  });
});

test("a loop without end is ended with its worker, and the next one serves", async () => {
  const impatient = new LoadingWorker({ timeoutMs: 3000 });
  try {
    const endless = loop(2n ** 63n - 1n, turn([node("Relu", ["state"], ["next"])]));
    expect(await impatient.load({ "model.onnx": endless })).toEqual({
      kind: "died",
      text: "the worker was silent for 3000 ms",
    });
    expect(await impatient.load({ "model.onnx": onnxModel(plusOne) })).toMatchObject({ kind: "loaded" });
  } finally {
    await impatient.close();
  }
});

test("a loop that fills the memory is ended with its worker, and the next one serves", async () => {
  const small = new LoadingWorker({ memoryBytes: 2 ** 29 });
  try {
    const double = node("Concat", ["state", "state"], ["next"], { axis: 0n });
    const outcome = await small.load({ "model.onnx": loop(100n, turn([double])) });
    // Whichever comes first: the worker's limit, or an allocation that no machine could serve.
    expect(outcome.text).toMatch(/outgrew its memory|Failed to allocate memory/);
    expect(await small.load({ "model.onnx": onnxModel(plusOne) })).toMatchObject({ kind: "loaded" });
  } finally {
    await small.close();
  }
});

/** A real one, with loops and constants: 20 dense layers. */
function network(): Uint8Array {
  const random = uniform(7);
  const weights = (name: string) =>
    tensor(
      name,
      Float32Array.from({ length: 16 }, () => random() - 0.5),
      [4, 4],
    );
  const layers = Array.from({ length: 20 }, (_, i) => i);
  return model(
    layers.flatMap((i) => [
      node("MatMul", [i === 0 ? "x" : `r${i - 1}`, `w${i}`], [`m${i}`]),
      node("Relu", [`m${i}`], [i === 19 ? "y" : `r${i}`]),
    ]),
    layers.map((i) => weights(`w${i}`)),
  );
}

test("cut and flipped at many places, it is refused or right, never the worker's end", async () => {
  const whole = network();
  const random = uniform(11);
  const tally = { loaded: 0, refused: 0, died: 0 };
  for (let i = 0; i < 400; i++) {
    const at = Math.floor(random() * whole.length);
    const bytes = i % 4 === 0 ? whole.slice(0, at) : whole.slice();
    if (i % 4 !== 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    const outcome = await worker.load({ "model.onnx": bytes });
    tally[outcome.kind]++;
    expect(outcome.text, `${i} at ${at}`).not.toBe("");
  }
  expect(tally.died).toBe(0);
  expect(tally.refused).toBeGreaterThan(100);
});

test("the worker holds no more than before, after all of that", async () => {
  // Large enough that what a refused one left behind would show.
  const constants = [tensor("w", new Float32Array(2 ** 22), [2 ** 22])];
  const large = model([node("Gather", ["w", "x"], ["c"]), node("Add", ["c", "c"], ["y"])], constants);
  await worker.load({ "model.onnx": large });
  const before = worker.memory;
  for (let i = 0; i < 30; i++) await worker.load({ "model.onnx": large });
  expect(worker.memory).toBeLessThan(before + 5 * 2 ** 24);
});
