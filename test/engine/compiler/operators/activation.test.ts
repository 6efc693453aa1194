import { describe, test } from "vitest";
import { attr, expectSame, floats, ints } from "../reference.ts";

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
