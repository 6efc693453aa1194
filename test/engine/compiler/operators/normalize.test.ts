import { describe, test } from "vitest";
import { attr, expectSame, floats, type Tensor } from "../reference.ts";

const PICTURE = floats([2, 3, 5, 4]);

describe.each(["Softmax", "LogSoftmax"])("%s", (op) => {
  test.each([[[4]], [[3, 4]], [[2, 3, 4]], [[2, 3, 5, 4]]])("of %j", (shape) =>
    expectSame({ op, inputs: [floats(shape)], open: "all" }),
  );
  test("of what lies channels first", () => expectSame({ op, inputs: [PICTURE], convolved: [0] }));
});

describe.each(["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])("%s", (op) => {
  const positive = (tensor: Tensor): Tensor => ({
    ...tensor,
    data: Float32Array.from(tensor.data, Math.abs),
  });
  const inputs = [PICTURE, floats([4], 2), floats([4], 3), floats([4], 4), positive(floats([4], 5))];
  const attributes = {
    epsilon: attr.float(0.01),
    is_training: attr.bool(false),
    data_format: attr.text("NHWC"),
  };
  test("of weights", () => expectSame({ op, inputs, weights: [1, 2, 3, 4], attr: attributes }));
  test("after a convolution", () =>
    expectSame({ op, inputs, weights: [1, 2, 3, 4], convolved: [0], open: "all", attr: attributes }));
  test("of inputs", () => expectSame({ op, inputs, attr: attributes, open: "none" }));
});

describe("LRN", () => {
  test("with its own numbers", () =>
    expectSame({
      op: "LRN",
      inputs: [floats([2, 3, 4, 9])],
      attr: {
        depth_radius: attr.int(2),
        bias: attr.float(2),
        alpha: attr.float(0.3),
        beta: attr.float(0.75),
      },
    }));
  test("with the usual numbers, after a convolution", () =>
    expectSame({ op: "LRN", inputs: [PICTURE], convolved: [0] }));
});
