import { describe, test } from "vitest";
import { attr, bools, expectSame, floats, type GraphCase, ints, type Tensor } from "../reference.ts";

const picture = floats([3, 5, 7, 4]);
const layouts = Object.entries({ plain: {}, convolved: { convolved: [0] }, open: { open: "all" } } as const);

interface Masks {
  readonly begin?: number;
  readonly end?: number;
  readonly ellipsis?: number;
  readonly newAxis?: number;
  readonly shrink?: number;
}

type Numbers = readonly number[];

function strided(x: Tensor, begin: Numbers, end: Numbers, strides: Numbers, masks: Masks = {}): GraphCase {
  return {
    op: "StridedSlice",
    inputs: [x, ints(begin), ints(end), ints(strides)],
    weights: [1, 2, 3],
    attr: {
      begin_mask: attr.int(masks.begin ?? 0),
      end_mask: attr.int(masks.end ?? 0),
      ellipsis_mask: attr.int(masks.ellipsis ?? 0),
      new_axis_mask: attr.int(masks.newAxis ?? 0),
      shrink_axis_mask: attr.int(masks.shrink ?? 0),
    },
  };
}

const cases: readonly (readonly [string, Numbers, Numbers, Numbers, Masks?])[] = [
  ["a part", [0, 1, 2, 1], [2, 4, 6, 3], [1, 1, 1, 1]],
  ["every second", [0, 1, 0, 0], [3, 5, 7, 4], [1, 2, 3, 2]],
  ["backwards", [2, 4, 5, 3], [0, 0, 1, 0], [-1, -2, -3, -1]],
  ["backwards to the start", [2, -1, -2, 0], [0, 0, 0, 4], [-1, -1, -2, 1], { begin: 3, end: 15 }],
  ["ends that are counted from behind", [-3, -4, 0, -2], [-1, -1, -2, 4], [1, 1, 1, 1]],
  ["ends beyond the axis", [0, 2, -20, 1], [9, 9, 20, 9], [1, 1, 1, 1]],
  ["masks", [1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1], { begin: 5, end: 10 }],
  ["fewer numbers than axes", [1, 2], [3, 4], [1, 1]],
  ["an ellipsis", [1, 0, 1], [3, 0, 3], [1, 1, 1], { ellipsis: 2 }],
  ["an ellipsis in front", [0, -1], [0, 0], [1, 1], { ellipsis: 1, shrink: 2 }],
  ["an ellipsis of no axes", [1, 0, 1, 1, 2], [3, 0, 3, 3, 4], [1, 1, 1, 1, 1], { ellipsis: 2 }],
  ["one of an axis", [1, 2], [2, 3], [1, 1], { shrink: 2 }],
  ["the last one of axes", [-1, 0, -1, -1], [0, 0, 0, 0], [1, 1, 1, 1], { begin: 2, end: 2, shrink: 13 }],
  ["one pixel", [0, 2, 3, 0], [0, 3, 4, 0], [1, 1, 1, 1], { begin: 9, end: 9, shrink: 6 }],
  ["one element", [1, 2, 3, 2], [2, 3, 4, 3], [1, 1, 1, 1], { shrink: 15 }],
  ["a new axis", [0, 0, 1], [0, 0, 3], [1, 1, 1], { newAxis: 2 }],
  ["new axes and one of an axis", [0, 1, 0, 0], [0, 2, 0, 5], [1, 1, 1, 1], { newAxis: 5, shrink: 2 }],
  ["a new axis behind an ellipsis", [0, 0, 0], [0, 0, 1], [1, 1, 1], { ellipsis: 1, newAxis: 2, shrink: 4 }],
  ["nothing", [0, 3], [3, 3], [1, 1]],
];

describe.each(layouts)("%s", (name, layout) => {
  test.each(cases.map(([what, ...ranges]) => ({ what, ranges })))("StridedSlice: $what", ({ ranges }) =>
    expectSame({ ...strided(picture, ...ranges), ...layout }),
  );

  test.each([
    [
      [0, 1, 2, 3],
      [3, 2, 5, 1],
    ],
    [
      [1, 0, 2, 0],
      [-1, -1, 3, -1],
    ],
    [
      [0, 0, 0, 0],
      [3, 5, 7, 4],
    ],
    [
      [0, 0, 0, 0],
      [-1, -1, -1, -1],
    ],
  ])("Slice from %j by %j", (begin, size) =>
    expectSame({ op: "Slice", inputs: [picture, ints(begin), ints(size)], weights: [1, 2], ...layout }),
  );

  test.each([
    [0, 3],
    [3, 2],
    [-1, 4],
    [1, 5],
  ])("Split along %i into %i", (axis, count) =>
    expectSame({
      op: "Split",
      inputs: [picture, ints([axis], [])],
      input: [name === "convolved" ? "convolved0" : "input0"].toSpliced(0, 0, "input1"),
      weights: [1],
      attr: { num_split: attr.int(count) },
      outputs: count,
      ...layout,
    }),
  );

  test.each([
    [3, [1, 3]],
    [-2, [2, 4, 1]],
    [0, [1, 2]],
  ])("SplitV along %i into %j", (axis, sizes) =>
    expectSame({
      op: "SplitV",
      inputs: [picture, ints(sizes), ints([axis], [])],
      weights: [1, 2],
      outputs: sizes.length,
      ...layout,
    }),
  );

  test.each([0, 1, 2, -1])("Unpack along %i", (axis) =>
    expectSame({
      op: "Unpack",
      inputs: [picture],
      attr: { axis: attr.int(axis), num: attr.int(picture.shape.at(axis) ?? 0) },
      outputs: picture.shape.at(axis) ?? 0,
      ...layout,
    }),
  );

  test.each([[[0]], [[1, -1]], [[2]], [[0, 1, 2, 3]], [[]]])("ReverseV2 along %j", (axes) =>
    expectSame({ op: "ReverseV2", inputs: [picture, ints(axes)], weights: [1], ...layout }),
  );

  test("Reverse", () =>
    expectSame({
      op: "Reverse",
      inputs: [picture, bools([false, true, false, true])],
      weights: [1],
      ...layout,
    }));
});

describe("StridedSlice backwards from before the start", () => {
  test.each([{}, { convolved: [0] }])("%j", async (layout) => {
    await expectSame({ ...strided(picture, [0, -9], [3, -20], [1, -1]), ...layout });
    await expectSame({ ...strided(picture, [0, 0, -8], [3, 5, 0], [1, 1, -2], { end: 4 }), ...layout });
  });
});

test("SplitV with one size that follows from the others", () =>
  expectSame({
    op: "SplitV",
    inputs: [picture, ints([2, -1, 1]), ints([2], [])],
    weights: [1, 2],
    outputs: 3,
  }));

describe("numbers that a run gives", () => {
  const runs = { weights: [3], open: "none" } as const;
  test.each([{}, { convolved: [0] }])("StridedSlice %j", (layout) =>
    expectSame({ ...strided(picture, [0, 1, -3, 1], [2, 4, 7, 3], [1, 2, 1, 1]), ...runs, ...layout }),
  );
  test.each([-1, 0, 2])("StridedSlice of the one at %i", (index) =>
    expectSame({ ...strided(picture, [index, 1], [0, 4], [1, 1], { shrink: 1 }), ...runs }),
  );
  test("StridedSlice with masks", () =>
    expectSame({ ...strided(picture, [1, 1], [0, 3], [-1, 1], { begin: 2, end: 1 }), ...runs }));
  test.each([{}, { convolved: [0] }])("Slice %j", (layout) =>
    expectSame({
      op: "Slice",
      inputs: [picture, ints([0, 1, 2, 0]), ints([3, -1, 4, 2])],
      open: "none",
      ...layout,
    }),
  );
  test("Slice by sizes alone", () =>
    expectSame({
      op: "Slice",
      inputs: [picture, ints([0, 0, 2, 0]), ints([3, -1, 4, -1])],
      weights: [1],
      open: "none",
    }));
});

describe("whole numbers and truth values", () => {
  const numbers = ints([5, 6, 7, 8, 9, 10], [3, 2]);
  const flags = bools([true, false, false, true, true, false], [3, 2]);
  test.each([numbers, flags])("$type", async (x) => {
    await expectSame(strided(x, [2, 0], [0, 2], [-1, 1]));
    await expectSame({ op: "Unpack", inputs: [x], attr: { axis: attr.int(1) }, outputs: 2 });
    await expectSame({ op: "ReverseV2", inputs: [x, ints([0])], weights: [1] });
  });
  test("weights", async () => {
    const vector = ints([4, 5, 6, 7]);
    await expectSame({ ...strided(vector, [-1], [0], [-2], { end: 1 }), weights: [0, 1, 2, 3] });
    await expectSame({ op: "Unpack", inputs: [vector], weights: [0], outputs: 4 });
    await expectSame({
      op: "SplitV",
      inputs: [vector, ints([1, 3]), ints([0], [])],
      weights: [0, 1, 2],
      outputs: 2,
    });
  });
});
