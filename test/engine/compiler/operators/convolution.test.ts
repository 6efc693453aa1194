import { describe, test } from "vitest";
import { attr, expectSame, floats, type GraphCase, ints } from "../reference.ts";

interface Options {
  readonly stride?: number;
  readonly dilation?: number;
  readonly padding?: "SAME" | "VALID";
  readonly depthwise?: boolean;
}

/** 9 × 7 pixels of 3 channels under a filter of 3 × 2: nothing is even. */
function picture({ stride = 1, dilation = 1, padding = "SAME", depthwise = false }: Options): GraphCase {
  return {
    op: depthwise ? "DepthwiseConv2dNative" : "Conv2D",
    inputs: [floats([2, 9, 7, 3]), floats([3, 2, 3, depthwise ? 2 : 5], 2)],
    weights: [1],
    attr: {
      T: attr.type("float32"),
      strides: attr.list([1, stride, stride, 1]),
      dilations: attr.list([1, dilation, dilation, 1]),
      padding: attr.text(padding),
      data_format: attr.text("NHWC"),
    },
  };
}

describe.each(["SAME", "VALID"] as const)("padding %s", (padding) => {
  test.each([1, 2, 3])("Conv2D of stride %i", (stride) => expectSame(picture({ padding, stride })));
  test("Conv2D of dilation 2", () => expectSame(picture({ padding, dilation: 2 })));
  test.each([1, 2])("DepthwiseConv2dNative of stride %i", (stride) =>
    expectSame(picture({ padding, stride, depthwise: true })),
  );
  test("DepthwiseConv2d, as older graphs name it", () =>
    expectSame({ ...picture({ padding, depthwise: true }), op: "DepthwiseConv2d" }));
  test("DepthwiseConv2dNative of dilation 2", () =>
    expectSame(picture({ padding, dilation: 2, depthwise: true })));
  test("a picture of any size", () => expectSame({ ...picture({ padding, stride: 2 }), open: "all" }));
  test("a filter that is an input", () => expectSame({ ...picture({ padding }), weights: [], open: "none" }));
});

test("explicit padding", () => {
  const { attr: attributes, ...rest } = picture({ stride: 2 });
  const explicit = {
    ...attributes,
    padding: attr.text("EXPLICIT"),
    explicit_paddings: attr.list([0, 0, 1, 2, 0, 3, 0, 0]),
  };
  return expectSame({ ...rest, attr: explicit });
});

describe.each(["SAME", "VALID"] as const)("padding %s", (padding) => {
  const attributes = (stride: number, dilation = 1) => ({
    strides: attr.list([1, stride, 1, stride, 1]),
    dilations: attr.list([1, dilation, dilation, dilation, 1]),
    padding: attr.text(padding),
    data_format: attr.text("NDHWC"),
  });
  const space = [floats([2, 5, 6, 7, 3]), floats([2, 3, 2, 3, 4], 2)];
  test("Conv3D", () => expectSame({ op: "Conv3D", inputs: space, weights: [1], attr: attributes(2) }));
  test("Conv3D of dilation 2", () =>
    expectSame({ op: "Conv3D", inputs: space, weights: [1], attr: attributes(1, 2), open: "all" }));
  test.each([
    [2, 1],
    [1, 2],
  ])("Conv1D of stride %i and dilation %i", (stride, dilation) =>
    expectSame({
      op: "Conv1D",
      inputs: [floats([2, 9, 3]), floats([3, 3, 4], 2)],
      weights: [1],
      attr: { stride: attr.int(stride), dilation: attr.int(dilation), padding: attr.text(padding) },
    }),
  );
  test("any size and a dilation of 2", () =>
    expectSame({ ...picture({ padding, dilation: 2 }), open: "all" }));
});

test("a bias for each channel of what lies channels first", () =>
  expectSame({
    op: "BiasAdd",
    inputs: [floats([2, 3, 5, 4]), floats([4], 2)],
    weights: [1],
    convolved: [0],
  }));

test("a bias for each column", () => expectSame({ op: "BiasAdd", inputs: [floats([3, 4]), floats([4], 2)] }));

/** Sizes, kernels and strides that leave nothing even, and several sizes that come of the same number of pixels. */
describe("Conv2DBackpropInput", () => {
  const backwards = (
    padding: string,
    size: readonly number[],
    kernel: readonly number[],
    strides: readonly number[],
  ) => {
    const small = size.map((length, axis) => {
      const reach = padding === "SAME" ? 1 : (kernel[axis] ?? 1);
      return Math.ceil((length - reach + 1) / (strides[axis] ?? 1));
    });
    return {
      op: "Conv2DBackpropInput",
      inputs: [ints([2, ...size, 3]), floats([...kernel, 3, 4], 2), floats([2, ...small, 4])],
      weights: [0, 1],
      attr: { strides: attr.list([1, ...strides, 1]), padding: attr.text(padding) },
    };
  };
  const cases = [
    { size: [8, 6], kernel: [4, 4], strides: [2, 2] },
    { size: [9, 7], kernel: [3, 2], strides: [2, 1] },
    { size: [10, 8], kernel: [3, 5], strides: [3, 2] },
    { size: [11, 9], kernel: [2, 1], strides: [3, 2] },
    { size: [7, 7], kernel: [3, 3], strides: [1, 1] },
  ];
  describe.each(["SAME", "VALID"])("padding %s", (padding) => {
    test.each(cases)("$size by $kernel and $strides", ({ size, kernel, strides }) =>
      expectSame(backwards(padding, size, kernel, strides)),
    );
    test.each(cases)("$size by $kernel and $strides, of any size", ({ size, kernel, strides }) =>
      expectSame({ ...backwards(padding, size, kernel, strides), open: "all" }),
    );
  });
});
