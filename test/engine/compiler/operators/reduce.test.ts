import { describe, expect, test } from "vitest";
import { REDUCE } from "../../../../src/engine/compiler/operators/reduce.ts";
import { attr, bools, expectSame, floats, type GraphCase, ints, type Tensor } from "../reference.ts";

const REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod"];
const LOGICAL = ["All", "Any"];
const PLACES = ["ArgMax", "ArgMin"];

interface Options {
  readonly axes: readonly number[];
  readonly keepDims?: boolean;
}

const reduction = (op: string, x: Tensor, { axes, keepDims = false }: Options): GraphCase => ({
  op,
  inputs: [x, ints(axes)],
  weights: [1],
  attr: { keep_dims: attr.bool(keepDims) },
});

const place = (op: string, x: Tensor, axis: number): GraphCase => ({
  op,
  inputs: [x, ints([axis], [])],
  weights: [1],
  attr: { output_type: attr.type("int32") },
});

const PICTURE = floats([2, 3, 5, 4]);
const AXES = [[0], [1], [-1], [1, 2], [-2, -3], [0, 3], [0, 1, 2, 3], []];
const WHOLE = ints([3, -1, 2, 2, 7, 0, 5, -4, 1, 1, -6, 2], [3, 4]);
const TRUTH = bools([true, true, false, true, true, true, false, false, false], [3, 3]);

describe.each([true, false])("keeping the dimensions: %s", (keepDims) => {
  describe.each(REDUCTIONS)("%s", (op) => {
    test.each(AXES.map((axes) => ({ axes })))("along $axes", ({ axes }) =>
      expectSame(reduction(op, PICTURE, { axes, keepDims })),
    );
    test.each(AXES.filter((axes) => axes.length > 0).map((axes) => ({ axes })))(
      "along $axes of what lies channels first",
      ({ axes }) =>
        expectSame({ ...reduction(op, PICTURE, { axes, keepDims }), convolved: [0], open: "all" }),
    );
  });
  test.each([[[1]], [[-1]], [[1, 2]]])("EuclideanNorm along %j", (axes) =>
    expectSame({ ...reduction("EuclideanNorm", PICTURE, { axes, keepDims }), convolved: [0] }),
  );
  test.each(REDUCTIONS)("%s of int32", (op) => expectSame(reduction(op, WHOLE, { axes: [-1], keepDims })));
  test.each([...LOGICAL, ...REDUCTIONS])("%s of truth values", (op) =>
    expectSame(reduction(op, TRUTH, { axes: [1], keepDims })),
  );
  test.each(REDUCTIONS)("%s of known numbers", (op) =>
    expectSame({ ...reduction(op, ints([3, -1, 4]), { axes: [0], keepDims }), weights: [0, 1] }),
  );
});

describe.each(PLACES)("%s", (op) => {
  test.each([0, 1, 2, 3, -1])("along %i", (axis) => expectSame(place(op, PICTURE, axis)));
  test.each([0, 1, 2, 3])("along %i of what lies channels first", (axis) =>
    expectSame({ ...place(op, PICTURE, axis), convolved: [0], open: "all" }),
  );
  test("of int32, where several are equal", () => expectSame(place(op, ints([5, 1, 5, 1, 1, 5], [2, 3]), 1)));
});

test("every operator has its cases", () => {
  expect([...REDUCTIONS, ...LOGICAL, ...PLACES, "EuclideanNorm"].sort()).toEqual(Object.keys(REDUCE).sort());
});
