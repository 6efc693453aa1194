import { describe, test } from "vitest";
import { bools, expectSame, floats, ints, type Tensor } from "../reference.ts";

/** True in an order without a pattern. */
function flags(shape: readonly number[]): Tensor {
  const { data } = floats(shape, 9);
  return bools(
    Array.from(data, (element) => element > 0),
    shape,
  );
}

describe.each(["Select", "SelectV2"])("%s", (op) => {
  test.each([
    [
      [2, 3],
      [2, 3],
      [2, 3],
    ],
    [[3], [2, 3], [2, 3]],
    [[2, 3], [], [3]],
    [[], [2, 3], [2, 1]],
    [[2, 1, 1], [3, 1], [4]],
  ])("where %j, %j, else %j", (condition, yes, no) =>
    expectSame({ op, inputs: [flags(condition), floats(yes), floats(no, 2)], open: "none" }),
  );
});

const layouts = Object.entries({
  plain: {},
  convolved: { convolved: [1] },
  "both convolved": { convolved: [1, 2] },
  open: { open: "all" },
} as const);

describe.each(layouts)("%s", (_, layout) => {
  test.each([[[2, 3, 5, 4]], [[2, 3, 5, 1]], [[1, 1, 1, 4]], [[4]], [[5, 1]]])(
    "by a condition of %j",
    (condition) =>
      expectSame({
        op: "SelectV2",
        inputs: [flags(condition), floats([2, 3, 5, 4]), floats([2, 3, 5, 4], 2)],
        weights: [0],
        ...layout,
      }),
  );
});

test("of whole numbers and truth values", async () => {
  const condition = bools([true, false, true]);
  await expectSame({ op: "SelectV2", inputs: [condition, ints([1, 2, 3]), ints([4, 5, 6])] });
  await expectSame({
    op: "SelectV2",
    inputs: [condition, bools([true, true, false]), bools([false, true, true])],
  });
});

describe("Where", () => {
  test.each([[[7]], [[3, 4]], [[2, 3, 4]], [[2, 2, 3, 3]]])("of shape %j", (shape) =>
    expectSame({ op: "Where", inputs: [flags(shape)], open: "all" }),
  );
  test("of numbers", () => expectSame({ op: "Where", inputs: [ints([0, 3, -1, 0])] }));
  test("of nothing that holds", () => expectSame({ op: "Where", inputs: [bools([false, false])] }));
});
