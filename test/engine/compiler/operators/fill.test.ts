import { describe, test } from "vitest";
import { attr, bools, expectSame, floats, type GraphCase, ints } from "../reference.ts";

const picture = floats([2, 3, 5, 4]);
const layouts = Object.entries({ plain: {}, convolved: { convolved: [0] }, open: { open: "all" } } as const);
const number = (value: number) => ints([value], []);
const float = (value: number) => ({ type: "float32", shape: [], data: Float32Array.of(value) }) as const;

describe.each(layouts)("%s", (_, layout) => {
  test.each([[[1, 2, 3, 1]], [[2, 1, 1, 3]], [[1, 1, 1, 1]]])("Tile by %j", (repeats) =>
    expectSame({ op: "Tile", inputs: [picture, ints(repeats)], weights: [1], ...layout }),
  );

  test.each(["ZerosLike", "OnesLike"])("%s", (op) => expectSame({ op, inputs: [picture], ...layout }));

  test.each([[[6, 3, 5, 4]], [[6, 1, 3, 5, 4]]])("BroadcastTo %j", (shape) =>
    expectSame({
      op: "BroadcastTo",
      inputs: [floats([1, 3, 1, 4]), ints(shape.with(-2, 7))],
      weights: [1],
      ...layout,
    }),
  );

  // TF.js itself counts no axis from behind here.
  test.each([0, 1, 3])("Cumsum along %i", (axis) =>
    expectSame({ op: "Cumsum", inputs: [picture, number(axis)], weights: [1], ...layout }),
  );
});

describe("vectors that a run gives", () => {
  test.each([{}, { convolved: [0] }])("Tile %j", (layout) =>
    expectSame({ op: "Tile", inputs: [picture, ints([1, 2, 1, 3])], open: "none", ...layout }),
  );
  test.each([{}, { convolved: [0] }])("BroadcastTo %j", (layout) =>
    expectSame({
      op: "BroadcastTo",
      inputs: [floats([2, 1, 5, 4]), ints([2, 3, 5, 4])],
      open: "none",
      ...layout,
    }),
  );
  test("Fill", () =>
    expectSame({
      op: "Fill",
      inputs: [ints([2, 3]), float(1.5)],
      attr: { T: attr.type("float32") },
      open: "none",
    }));
});

test.each(["ZerosLike", "OnesLike"])("%s of whole numbers and truth values", async (op) => {
  await expectSame({ op, inputs: [ints([5, 6, 7])] });
  await expectSame({ op, inputs: [bools([true, false])] });
});

test.each([
  [false, false],
  [true, false],
  [false, true],
  [true, true],
])("Cumsum, exclusive %s, reverse %s", async (exclusive, reverse) => {
  const attributes = { exclusive: attr.bool(exclusive), reverse: attr.bool(reverse) };
  await expectSame({ op: "Cumsum", inputs: [floats([3, 4]), number(1)], weights: [1], attr: attributes });
  await expectSame({
    op: "Cumsum",
    inputs: [ints([4, 5, 6, 7, 8, 9], [2, 3]), number(0)],
    weights: [1],
    attr: attributes,
  });
});

test.each([
  { value: float(-2.5), type: "float32" },
  { value: number(7), type: "int32" },
  { value: bools([true], []), type: "bool" },
] as const)("Fill of $type", async ({ value, type }) => {
  const given: GraphCase = { op: "Fill", inputs: [ints([2, 3]), value], attr: { T: attr.type(type) } };
  await expectSame({ ...given, weights: [0] });
  await expectSame({ ...given, weights: [0, 1] });
  await expectSame({ ...given, inputs: [ints([4]), value], weights: [0, 1] });
});

describe.each([
  [0, 5, 1],
  [3, 14, 4],
  [9, 0, -2],
  [5, 0, 1],
  [2, 2, 1],
  [4, 0, 3],
])("Range from %i to %i by %i", (start, limit, step) => {
  const inputs = [number(start), number(limit), number(step)];
  const attributes = { Tidx: attr.type("int32") };
  test.each([[[0, 1, 2]], [[0, 2]], [[2]], [[]]])("weights %j", (weights) =>
    expectSame({ op: "Range", inputs, weights, attr: attributes, open: "none" }),
  );
});

test("Range of float32", () =>
  expectSame({
    op: "Range",
    inputs: [float(0.5), float(3.2), float(0.75)],
    weights: [0, 2],
    attr: { Tidx: attr.type("float32") },
    open: "none",
  }));

test.each([1, 2, 7])("LinSpace of %i", (count) =>
  expectSame({
    op: "LinSpace",
    inputs: [float(-1.5), float(4), number(count)],
    weights: [1, 2],
    open: "none",
  }),
);

describe("OneHot", () => {
  const oneHot = (more: Partial<GraphCase>): GraphCase => ({
    op: "OneHot",
    inputs: [ints([0, 3, -1, 2, 4, 9], [2, 3]), number(4), float(1), float(0)],
    weights: [1, 2, 3],
    attr: { T: attr.type("float32"), axis: attr.int(-1) },
    ...more,
  });
  test("indices beyond the depth are nowhere", () => expectSame(oneHot({})));
  test("a depth that a run gives", () => expectSame(oneHot({ weights: [2, 3], open: "none" })));
  test("other values and types", () =>
    expectSame(
      oneHot({
        inputs: [ints([1, 0, 2]), number(3), number(5), number(-2)],
        attr: { T: attr.type("int32"), axis: attr.int(-1) },
      }),
    ));
});
