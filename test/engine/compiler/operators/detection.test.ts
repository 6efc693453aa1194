import { describe, test } from "vitest";
import { attr, expectSame, floats, type GraphCase, ints, type Tensor } from "../reference.ts";

const number = (value: number): Tensor => ({ type: "float32", shape: [], data: Float32Array.of(value) });

describe("TopKV2", () => {
  const topK = (x: Tensor, k: number): GraphCase => ({
    op: "TopKV2",
    inputs: [x, ints([k], [])],
    weights: [1],
    attr: { sorted: attr.bool(true) },
    outputs: 2,
  });
  test.each([1, 3, 7])("the best %i", (k) => expectSame(topK(floats([4, 7]), k)));
  test("of equal ones the first", () => expectSame(topK(ints([1, 5, 5, 1, 5, 0, 1, 1], [2, 4]), 3)));
  test("of channels that lie first", () =>
    expectSame({ ...topK(floats([2, 3, 5, 4]), 2), convolved: [0], open: "all" }));
  test.each(["first", "all", "none"] as const)("of no rows, of which %s are open", async (open) => {
    await expectSame({ ...topK(floats([0, 7]), 3), open });
    await expectSame({ ...topK(floats([2, 0, 7]), 3), open });
  });
  test("as many as are asked for", () => expectSame({ ...topK(floats([4, 7]), 3), weights: [] }));
});

/** Boxes of which some lie over one another, one is turned round, and two have the same score. */
const COUNT = 40;
const BOXES: Tensor = (() => {
  const { data } = floats([COUNT, 4], 5);
  const corners = Array.from({ length: COUNT }, (_, i) => {
    const [top = 0, left = 0, height = 0, width = 0] = data.slice(4 * i, 4 * i + 4);
    const box = [top, left, top + 0.5 + Math.abs(height), left + 0.5 + Math.abs(width)];
    return i === 3 ? [box[2] ?? 0, box[1] ?? 0, box[0] ?? 0, box[3] ?? 0] : box;
  });
  return { type: "float32", shape: [COUNT, 4], data: Float32Array.from(corners.flat()) };
})();
const SCORES: Tensor = (() => {
  const data = Float32Array.from(floats([COUNT], 8).data);
  data[7] = data[2] ?? 0;
  return { type: "float32", shape: [COUNT], data };
})();

describe.each([0.1, 0.5, 1])("with an overlap of %d", (overlap) => {
  const suppression = (version: number, most: number, ...more: readonly Tensor[]): GraphCase => ({
    op: `NonMaxSuppressionV${version}`,
    inputs: [BOXES, SCORES, ints([most], []), number(overlap), ...more],
    weights: [2, 3, 4, 5].slice(0, 2 + more.length),
    outputs: version > 3 ? 2 : 1,
  });
  test.each([5, 100])("NonMaxSuppressionV2 of %i", (most) => expectSame(suppression(2, most)));
  test.each([5, 100])("NonMaxSuppressionV3 of %i", (most) => expectSame(suppression(3, most, number(0.1))));
  test("NonMaxSuppressionV3, all given", () =>
    expectSame({ ...suppression(3, 5, number(-0.3)), weights: [3], open: "all" }));
  test.each([true, false])("NonMaxSuppressionV4, filled up: %s", (isFilled) =>
    expectSame({
      ...suppression(4, 30, number(0.2)),
      attr: { pad_to_max_output_size: attr.bool(isFilled) },
    }),
  );
  test("NonMaxSuppressionV4, filled up to all that there are", () =>
    expectSame({ ...suppression(4, 100, number(0.2)), attr: { pad_to_max_output_size: attr.bool(true) } }));
  test("NonMaxSuppressionV5", () => expectSame(suppression(5, 10, number(0), number(0))));
});

test("boxes that overlap just as much as the threshold", () =>
  expectSame({
    op: "NonMaxSuppressionV3",
    inputs: [
      { type: "float32", shape: [3, 4], data: Float32Array.from([0, 0, 2, 2, 0, 0, 2, 1, 4, 4, 5, 5]) },
      { type: "float32", shape: [3], data: Float32Array.from([0.9, 0.8, 0.7]) },
      ints([3], []),
      number(0.5),
      number(0),
    ],
    weights: [2, 3, 4],
  }));
