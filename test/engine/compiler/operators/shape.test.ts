import { describe, expect, test } from "vitest";
import { compileGraphModel } from "../../../../src/engine/compiler/graph-model.ts";
import { attr, bools, expectSame, floats, type GraphCase, ints, modelOf, operatorsOf } from "../reference.ts";

const picture = floats([2, 3, 5, 4]);
const lying = { plain: {}, convolved: { convolved: [0] }, open: { open: "all" } } as const;
const layouts = Object.entries(lying);

describe.each(layouts)("%s", (_, layout) => {
  test("Shape", () => expectSame({ op: "Shape", inputs: [picture], ...layout }));
  test("Size", () => expectSame({ op: "Size", inputs: [picture], ...layout }));
  test("Rank", () => expectSame({ op: "Rank", inputs: [picture], ...layout }));

  test.each([[[-1]], [[6, 20]], [[-1, 5, 4]], [[2, 3, 20]], [[2, 1, -1, 4, 1]]])("Reshape to %j", (shape) =>
    expectSame({ op: "Reshape", inputs: [picture, ints(shape)], weights: [1], ...layout }),
  );

  test.each([0, 1, 2, 4, -1, -2])("ExpandDims at %i", (axis) =>
    expectSame({ op: "ExpandDims", inputs: [picture, ints([axis], [])], weights: [1], ...layout }),
  );

  test.each([[[1]], [[2]], [[-1]], [[0, 2]], [[1, 2]], [[3, 0]]])("Squeeze of %j", (axes) => {
    const shape = picture.shape.map((size, axis) =>
      axes.includes(axis) || axes.includes(axis - 4) ? 1 : size,
    );
    return expectSame({
      op: "Squeeze",
      inputs: [floats(shape)],
      attr: { squeeze_dims: attr.list(axes) },
      ...layout,
    });
  });

  test.each([[[0, 3, 1, 2]], [[0, 2, 3, 1]], [[0, 1, 2, 3]], [[3, 2, 1, 0]], [[1, 0, 2, 3]], [[0, 2, 1, 3]]])(
    "Transpose in the order %j",
    (order) => expectSame({ op: "Transpose", inputs: [picture, ints(order)], weights: [1], ...layout }),
  );
});

test("a scalar's shape is empty", () => expectSame({ op: "Shape", inputs: [floats([])], open: "none" }));

test("Squeeze of all axes of one element", () =>
  expectSame({ op: "Squeeze", inputs: [floats([1, 3, 1, 2])], open: "none" }));

test("a shape that a run gives", () =>
  expectSame({ op: "Reshape", inputs: [picture, ints([3, -1, 2])], open: "none" }));

test("no elements", () =>
  expectSame({ op: "Reshape", inputs: [floats([0, 4]), ints([0, 2, 2])], open: "none" }));

test("truth values and whole numbers", async () => {
  const flags = bools([true, false, true, true, false, false], [2, 3]);
  await expectSame({ op: "Reshape", inputs: [flags, ints([3, 2])], weights: [1] });
  await expectSame({ op: "Transpose", inputs: [flags, ints([1, 0])], weights: [1] });
  await expectSame({ op: "Reshape", inputs: [ints([1, 2, 3, 4]), ints([2, 2])], weights: [1] });
  await expectSame({ op: "ExpandDims", inputs: [ints([1, 2, 3]), ints([0], [])], weights: [1] });
});

test("weights are reshaped at once", () =>
  expectSame({ op: "Reshape", inputs: [floats([2, 6]), ints([4, 3])], weights: [0, 1] }));

/** [rows, height · width, channels] as models write it: sizes are taken from the shape one by one, and packed. */
const flattened = (open: "first" | "all"): GraphCase => ({
  op: "Reshape",
  inputs: [picture, ints([0]), ints([1]), ints([1]), ints([15], []), ints([4], [])],
  weights: [1, 2, 3, 4, 5],
  open,
  nodes: [
    { name: "shape", op: "Shape", input: ["input0"] },
    {
      name: "rows",
      op: "StridedSlice",
      input: ["shape", "input1", "input2", "input3"],
      attr: { shrink_axis_mask: attr.int(1) },
    },
    { name: "sizes", op: "Pack", input: ["rows", "input4", "input5"] },
  ],
  input: ["input0", "sizes"],
});

test("sizes that are computed from a shape", () => expectSame(flattened("all")));

test("a batch that goes from Shape to Reshape costs nothing", () => {
  const given = flattened("first");
  const { outputs } = compileGraphModel(modelOf(given).files);
  expect(outputs[0]?.value.shape).toEqual([null, 15, 4]);
  expect(operatorsOf(given)).toEqual(["Reshape"]);
});

test("an order that undoes the layout moves nothing", () => {
  const given: GraphCase = {
    op: "Transpose",
    inputs: [picture, ints([0, 3, 1, 2])],
    weights: [1],
    convolved: [0],
  };
  expect(operatorsOf(given)).toEqual(["Transpose", "Conv"]);
});

test("a single pixel lies in both layouts at once", async () => {
  const given: GraphCase = {
    op: "Reshape",
    inputs: [floats([2, 1, 1, 4]), ints([-1, 2])],
    weights: [1],
    convolved: [0],
  };
  await expectSame(given);
  expect(operatorsOf(given)).toEqual(["Transpose", "Conv", "Reshape"]);
});

test("an axis is added and taken away where the pixels lie", () => {
  const at = (op: string): GraphCase => ({
    op,
    inputs: [floats([2, 1, 5, 4]), ints([1], [])],
    weights: [1],
    attr: { squeeze_dims: attr.list([1]) },
    convolved: [0],
  });
  // What follows is the transposition of the output.
  expect(operatorsOf(at("Squeeze"))).toEqual(["Transpose", "Conv", "Squeeze", "Transpose"]);
  expect(operatorsOf(at("ExpandDims"))).toEqual(["Transpose", "Conv", "Unsqueeze", "Transpose"]);
});
