import { describe, test } from "vitest";
import { attr, expectSame, floats, type GraphCase } from "../reference.ts";

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
