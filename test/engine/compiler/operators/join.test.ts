import { describe, test } from "vitest";
import { attr, bools, expectSame, floats, ints } from "../reference.ts";

const layouts = Object.entries({
  plain: {},
  "one convolved": { convolved: [1] },
  "both convolved": { convolved: [0, 1] },
  open: { open: "all" },
} as const);

describe.each(layouts)("%s", (_, layout) => {
  test.each([0, 1, 2, 3, -1, -3])("ConcatV2 along %i", (axis) => {
    const shape = [2, 3, 5, 4];
    const other = shape.with(axis, 2);
    return expectSame({
      op: "ConcatV2",
      inputs: [floats(shape), floats(other, 2), ints([axis], [])],
      weights: [2],
      attr: { N: attr.int(2) },
      ...layout,
    });
  });

  test.each([0, 1, 2, 4, -1, -4])("Pack along %i", (axis) =>
    expectSame({
      op: "Pack",
      inputs: [floats([2, 3, 5, 4]), floats([2, 3, 5, 4], 2)],
      attr: { axis: attr.int(axis), N: attr.int(2) },
      ...layout,
    }),
  );
});

test("Concat has its axis first", () =>
  expectSame({
    op: "Concat",
    inputs: [ints([1], []), floats([2, 3]), floats([2, 4], 2)],
    weights: [0],
    attr: { N: attr.int(2) },
  }));

test("ConcatV2 of one", () =>
  expectSame({
    op: "ConcatV2",
    inputs: [floats([2, 3]), ints([1], [])],
    weights: [1],
    attr: { N: attr.int(1) },
  }));

test("ConcatV2 of a weight and an input, whole numbers and truth values", async () => {
  const axis = ints([0], []);
  await expectSame({
    op: "ConcatV2",
    inputs: [ints([1, 2]), ints([3, 4, 5]), axis],
    weights: [0, 2],
    attr: { N: attr.int(2) },
  });
  await expectSame({
    op: "ConcatV2",
    inputs: [bools([true, false]), bools([true]), axis],
    weights: [2],
    attr: { N: attr.int(2) },
  });
  await expectSame({
    op: "ConcatV2",
    inputs: [ints([1, 2]), ints([3]), axis],
    weights: [0, 1, 2],
    attr: { N: attr.int(2) },
  });
});

test("Pack of numbers", () =>
  expectSame({ op: "Pack", inputs: [ints([7], []), ints([8], []), ints([9], [])], weights: [1] }));

test("Pack of tensors that differ in axes of size 1", () =>
  expectSame({ op: "Pack", inputs: [floats([1, 3]), floats([3], 2)], open: "none" }));
