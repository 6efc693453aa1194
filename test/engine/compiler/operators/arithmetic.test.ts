import { describe, expect, test } from "vitest";
import { compileGraphModel } from "../../../../src/engine/compiler/graph-model.ts";
import { ARITHMETIC } from "../../../../src/engine/compiler/operators/arithmetic.ts";
import { COMPARISON } from "../../../../src/engine/compiler/operators/comparison.ts";
import { bools, expectClose, expectSame, floats, ints, modelOf, runOnnx, type Tensor } from "../reference.ts";

const positive = (tensor: Tensor): Tensor => ({ ...tensor, data: Float32Array.from(tensor.data, Math.abs) });

/** In quarters, so that some are equal, and some are zero. */
const quarters = (tensor: Tensor): Tensor => ({
  ...tensor,
  data: Float32Array.from(tensor.data, (x) => Math.round(x * 4) / 4),
});

const OF_FLOATS = ["Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Div", "Maximum", "Minimum", "Atan2"];
const MORE_OF_FLOATS = ["Mod", "FloorMod", "SquaredDifference", "DivNoNan"];
const DIVISIONS = ["RealDiv", "Div", "DivNoNan", "Mod", "FloorMod"];
const OF_INTS = [
  ...OF_FLOATS.filter((op) => op !== "Atan2"),
  "FloorDiv",
  "Mod",
  "FloorMod",
  "SquaredDifference",
];
const LOGICAL = ["LogicalAnd", "LogicalOr"];
const COMPARISONS = ["Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"];

describe.each([...OF_FLOATS, ...MORE_OF_FLOATS, ...COMPARISONS])("%s of float32", (op) => {
  const a = quarters(floats([3, 4, 5], 1));
  if (op !== "AddN") {
    test("stretched to the right", () => expectSame({ op, inputs: [a, quarters(floats([4, 1], 2))] }));
    test("stretched to the left", () => expectSame({ op, inputs: [quarters(floats([5], 2)), a] }));
    test("of one number", () =>
      expectSame({ op, inputs: [a, quarters(floats([], 9))], weights: [1], open: "all" }));
    test("of a picture that lies channels first and a row of channels", () =>
      expectSame({ op, inputs: [floats([2, 3, 5, 4]), floats([4], 2)], convolved: [0], weights: [1] }));
    // A picture that a convolution made has numbers near zero.
    if (!DIVISIONS.includes(op))
      test("of a row of channels and a picture that lies channels first", () =>
        expectSame({ op, inputs: [floats([4], 2), floats([2, 3, 5, 4])], convolved: [1], open: "all" }));
    test("of a picture that lies channels first and rows of pixels", () =>
      expectSame({ op, inputs: [floats([2, 3, 5, 4]), floats([3, 1, 4], 2)], convolved: [0] }));
  }
  test("of pictures that lie either way", () =>
    expectSame({ op, inputs: [floats([2, 3, 5, 4]), floats([2, 3, 5, 4], 2)], convolved: [0] }));
  test("of an axis of no known size", () =>
    expectSame({ op, inputs: [a, quarters(floats([3, 4, 5], 2))], open: "all" }));
});

const LEFT = ints([-7, -7, 7, 7, 0, 6, 5, -100]);
const RIGHT = ints([2, -2, 2, -2, 3, 3, 0, 5]);

describe.each([...OF_INTS, ...COMPARISONS])("%s of int32", (op) => {
  test("given", () => expectSame({ op, inputs: [LEFT, RIGHT] }));
  if (op === "AddN") return;
  test("and one number", () => expectSame({ op, inputs: [LEFT, ints([-3], [])], weights: [1] }));
  // All is computed before a run then.
  test("known", () => expectSame({ op, inputs: [LEFT, RIGHT], weights: [0, 1] }));
  test("and float32", () =>
    expectSame({ op: op === "FloorDiv" ? "Div" : op, inputs: [LEFT, floats([8], 4)] }));
});

describe.each(["FloorDiv", "Div", "FloorMod"])("%s of int32", (op) => {
  test("beyond what float32 holds", () =>
    expectSame({ op, inputs: [ints([2147483647, 2147483646, -2147483647]), ints([3, 2147483647, 2])] }));
  test("which no processor can divide in 32 bits", () =>
    expectSame({ op, inputs: [ints([-2147483648, -2147483648]), ints([-1, 0])] }));
});

/** TF.js' plain backend gives int32 here, TensorFlow and its other backends float32. */
test("FloorDiv of float32 gives float32", async () => {
  const { files, feeds } = modelOf({ op: "FloorDiv", inputs: [floats([3, 4]), floats([4], 2)] });
  const [got] = await runOnnx(compileGraphModel(files), feeds, ["out0"]);
  const [a, b] = Object.values(feeds).map(({ data }) => data);
  expect(got?.type).toBe("float32");
  expectClose(
    got?.data ?? [],
    Array.from(a ?? [], (x, i) => Math.floor(x / (b?.[i % 4] ?? 0))),
    0,
  );
});

describe("Pow", () => {
  const [x, y] = [positive(floats([3, 4], 1)), floats([4], 2)];
  test("of float32", () => expectSame({ op: "Pow", inputs: [x, y] }));
  test("to a constant power", () => expectSame({ op: "Pow", inputs: [x, floats([], 7)], weights: [1] }));
  test("of int32", () => expectSame({ op: "Pow", inputs: [ints([-3, 2, 5]), ints([3, 10, 0])] }));
});

describe("Atan2", () => {
  const values = [-2, 0, 3];
  const grid = (pick: (i: number) => number): Tensor => ({
    type: "float32",
    shape: [9],
    data: Float32Array.from({ length: 9 }, (_, i) => values[pick(i)] ?? 0),
  });
  test("in all quarters and on the axes", () =>
    expectSame({ op: "Atan2", inputs: [grid((i) => Math.floor(i / 3)), grid((i) => i % 3)] }));
});

describe("truth values", () => {
  const [a, b] = [bools([true, true, false, false]), bools([true, false, true, false])];
  test.each([...LOGICAL, "Maximum", "Minimum", "Equal", "NotEqual", "Less", "GreaterEqual"])("%s", (op) =>
    expectSame({ op, inputs: [a, b] }),
  );
  test("LogicalAnd stretched", () =>
    expectSame({ op: "LogicalAnd", inputs: [bools([true, false], [2, 1]), a] }));
  test("LogicalNot", () => expectSame({ op: "LogicalNot", inputs: [a] }));
  test("Mul with numbers", () => expectSame({ op: "Mul", inputs: [a, floats([4])] }));
});

test("AddN of three", () =>
  expectSame({ op: "AddN", inputs: [floats([3, 2]), floats([3, 2], 2), floats([3, 2], 3)] }));

test("every operator has its cases", () => {
  const given = [
    ...OF_FLOATS,
    ...MORE_OF_FLOATS,
    ...OF_INTS,
    ...COMPARISONS,
    ...LOGICAL,
    "LogicalNot",
    "Pow",
  ];
  expect([...new Set(given)].sort()).toEqual([...Object.keys(ARITHMETIC), ...Object.keys(COMPARISON)].sort());
});
