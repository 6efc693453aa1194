import { describe, expect, test } from "vitest";
import { attr, expectSame, floats, type GraphCase, ints, operatorsOf } from "../reference.ts";

const layouts = Object.entries({ plain: {}, convolved: { convolved: [0] }, open: { open: "all" } } as const);

describe.each(layouts)("%s", (name, layout) => {
  test.each([
    [
      [2, 2],
      [1, 0, 2, 1],
    ],
    [
      [3, 2],
      [1, 2, 0, 1],
    ],
    [[3], [0, 0]],
  ])("SpaceToBatchND by %j with paddings %j", (block, pads) =>
    expectSame({
      op: "SpaceToBatchND",
      inputs: [floats([2, 3, 5, 4]), ints(block), ints(pads, [block.length, 2])],
      weights: [1, 2],
      ...layout,
    }),
  );

  test.each([
    [
      [2, 2],
      [1, 0, 2, 1],
    ],
    [
      [3, 2],
      [1, 2, 0, 1],
    ],
    [[3], [0, 1]],
  ])("BatchToSpaceND by %j with crops %j", (block, crops) =>
    expectSame({
      op: "BatchToSpaceND",
      inputs: [floats([12, 3, 5, 4]), ints(block), ints(crops, [block.length, 2])],
      weights: [1, 2],
      ...layout,
    }),
  );

  test.each([2, 3])("DepthToSpace by %i", (block) =>
    expectSame({
      op: "DepthToSpace",
      inputs: [floats([2, 3, 5, 36])],
      attr: { block_size: attr.int(block), data_format: attr.text("NHWC") },
      tolerance: name === "convolved" ? 1e-4 : 1e-5,
      ...layout,
    }),
  );
});

interface Dilation {
  readonly block?: readonly number[];
  readonly pads: readonly number[];
  readonly crops: readonly number[];
  readonly open?: "first" | "all";
  readonly stride?: number;
}

/** A convolution, of every block-th pixel, between SpaceToBatchND and BatchToSpaceND. */
function dilation(
  { block = [2, 2], pads, crops, open = "first", stride = 1 }: Dilation,
  depthwise = true,
): GraphCase {
  return {
    op: "BatchToSpaceND",
    inputs: [
      floats([2, 9, 7, 3]),
      ints(block),
      ints(pads, [2, 2]),
      ints(crops, [2, 2]),
      floats([3, 2, 3, depthwise ? 2 : 5], 2),
    ],
    weights: [1, 2, 3, 4],
    open,
    nodes: [
      { name: "spread", op: "SpaceToBatchND", input: ["input0", "input1", "input2"] },
      {
        name: "filtered",
        op: depthwise ? "DepthwiseConv2dNative" : "Conv2D",
        input: ["spread", "input4"],
        attr: {
          strides: attr.list([1, stride, stride, 1]),
          dilations: attr.list([1, 1, 1, 1]),
          padding: attr.text("VALID"),
        },
      },
    ],
    input: ["filtered", "input1", "input3"],
  };
}

describe("a dilated convolution in old graphs", () => {
  const whole: Dilation = { pads: [2, 3, 1, 2], crops: [0, 1, 0, 1] };
  test.each([true, false])("is one convolution (depthwise: %s)", async (depthwise) => {
    await expectSame(dilation(whole, depthwise));
    expect(operatorsOf(dilation(whole, depthwise))).toEqual(["Transpose", "Conv", "Transpose"]);
  });
  test("of a picture of any size", async () => {
    await expectSame(dilation({ ...whole, open: "all" }));
    expect(operatorsOf(dilation({ ...whole, open: "all" }))).toEqual(["Transpose", "Conv", "Transpose"]);
  });
  test("with blocks that are not square", async () => {
    const oblong: Dilation = { block: [3, 2], pads: [3, 3, 1, 2], crops: [1, 2, 0, 0] };
    await expectSame(dilation(oblong));
    expect(operatorsOf(dilation(oblong))).toEqual(["Transpose", "Conv", "Transpose"]);
  });
  test("stays as it is where more is cropped than was padded", async () => {
    const cropped: Dilation = { pads: [0, 1, 0, 1], crops: [1, 0, 0, 1] };
    await expectSame(dilation(cropped));
    expect(operatorsOf(dilation(cropped))).toEqual(
      expect.arrayContaining(["Pad", "Conv", "Reshape", "Slice"]),
    );
  });
  test("stays as it is with a stride", async () => {
    const strided: Dilation = { pads: [2, 3, 1, 2], crops: [0, 1, 0, 1], stride: 2 };
    await expectSame(dilation(strided));
    expect(operatorsOf(dilation(strided))).toContain("Reshape");
  });
});
