import { describe, expect, test } from "vitest";
import { compileGraphModel } from "../../../../src/engine/compiler/graph-model.ts";
import { attr, expectSame, floats, type GraphCase, ints, modelOf, type Tensor } from "../reference.ts";

const PICTURE = floats([2, 3, 5, 4]);

describe("LeakyRelu", () => {
  test("of the usual slope", () => expectSame({ op: "LeakyRelu", inputs: [PICTURE], convolved: [0] }));
  test("of a slope of its own", () =>
    expectSame({ op: "LeakyRelu", inputs: [PICTURE], attr: { alpha: attr.float(0.3) } }));
});

describe("Prelu", () => {
  test("a slope for each channel", () =>
    expectSame({
      op: "Prelu",
      inputs: [PICTURE, floats([4], 2)],
      weights: [1],
      convolved: [0],
      open: "all",
    }));
  test("a slope for each column of a matrix", () =>
    expectSame({ op: "Prelu", inputs: [floats([3, 4]), floats([4], 2)] }));
  test("a slope for each pixel", () =>
    expectSame({ op: "Prelu", inputs: [PICTURE, floats([3, 5, 1], 2)], weights: [1], convolved: [0] }));
});

describe("ClipByValue", () => {
  const limits = [floats([], 1), floats([], 2)].map((limit, i) => ({
    ...limit,
    data: Float32Array.of(i === 0 ? -0.25 : 0.5),
  }));
  test.each([[[1, 2]], [[]]])("float32, with the weights %j", (weights) =>
    expectSame({ op: "ClipByValue", inputs: [PICTURE, ...limits], convolved: [0], weights }),
  );
  test("int32", () =>
    expectSame({
      op: "ClipByValue",
      inputs: [ints([-5, 0, 2, 9]), ints([-1], []), ints([3], [])],
      weights: [1, 2],
    }));
});

const FUSED = ["Relu", "Relu6", "Elu", "Sigmoid", "LeakyRelu", "Prelu"];

describe.each(["_FusedConv2D", "FusedDepthwiseConv2dNative", "_FusedMatMul"])("%s", (op) => {
  const isProduct = op === "_FusedMatMul";
  const isDepthwise = op === "FusedDepthwiseConv2dNative";
  const filter = isProduct ? [7, 4] : isDepthwise ? [3, 2, 4, 1] : [3, 2, 4, 4];
  const inputs = [isProduct ? floats([5, 7]) : PICTURE, floats(filter, 2), floats([4], 3)];
  const window = isProduct
    ? {}
    : { strides: attr.list([1, 2, 2, 1]), padding: attr.text("SAME"), data_format: attr.text("NHWC") };

  test.each(isDepthwise ? FUSED.filter((name) => name !== "LeakyRelu") : FUSED)(
    "with a bias and %s",
    (name) => {
      const extra = name === "Prelu" ? [floats([4], 5)] : [];
      return expectSame({
        op,
        inputs: [...inputs, ...extra],
        weights: [1, 2, 3].slice(0, 2 + extra.length),
        attr: {
          ...window,
          num_args: attr.int(1 + extra.length),
          fused_ops: attr.texts(["BiasAdd", name]),
          leakyrelu_alpha: attr.float(0.3),
        },
      });
    },
  );
  test("with a bias", () =>
    expectSame({
      op,
      inputs,
      weights: [1, 2],
      attr: { ...window, num_args: attr.int(1), fused_ops: attr.texts(["BiasAdd"]) },
    }));
});

describe("relu6(x + 3) / 6", () => {
  const number = (value: number): Tensor => ({ type: "float32", shape: [], data: Float32Array.of(value) });
  const wide = { ...PICTURE, data: Float32Array.from(PICTURE.data, (x) => x * 20) };
  const hard = (op: string, input: readonly string[], last: number, shift = 3): GraphCase => ({
    op,
    inputs: [wide, number(shift), number(last)],
    weights: [1, 2],
    nodes: [
      { name: "sum", op: "AddV2", input: ["input1", "input0"] },
      { name: "relu", op: "Relu6", input: ["sum"] },
    ],
    input,
  });
  const isOne = (given: GraphCase): boolean =>
    Buffer.from(compileGraphModel(modelOf(given).files).model).includes("HardSigmoid");

  test.each([
    hard("Mul", ["relu", "input2"], 1 / 6),
    hard("Mul", ["input2", "relu"], 1 / 6),
    hard("RealDiv", ["relu", "input2"], 6),
  ])("becomes one node: $op $input", async (given) => {
    expect(isOne(given)).toBe(true);
    await expectSame(given);
  });
  test.each([
    hard("Mul", ["relu", "input2"], 0.16663),
    hard("Mul", ["relu", "input2"], 1 / 6, 2.5),
    hard("RealDiv", ["input2", "relu"], 6),
    hard("RealDiv", ["relu", "input2"], 0),
  ])("of other numbers stays what it is", async (given) => {
    expect(isOne(given)).toBe(false);
    await expectSame(given);
  });
});
