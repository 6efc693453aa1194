import { describe, test } from "vitest";
import { attr, expectSame, floats, type GraphCase, ints, type Tensor } from "../reference.ts";

const CORNERS = [
  { align_corners: attr.bool(false), half_pixel_centers: attr.bool(false) },
  { align_corners: attr.bool(true), half_pixel_centers: attr.bool(false) },
  { align_corners: attr.bool(false), half_pixel_centers: attr.bool(true) },
];

/** From 5 × 7 pixels: larger, smaller, as large, several times as large, one alone. */
const SIZES = [
  [8, 15],
  [3, 2],
  [5, 7],
  [10, 21],
  [1, 1],
  [7, 5],
  [49, 98],
];

const PICTURE = floats([2, 5, 7, 3]);

const resize = (op: string, size: readonly number[], corners: GraphCase["attr"] = {}): GraphCase => ({
  op,
  inputs: [PICTURE, ints(size)],
  weights: [1],
  attr: corners,
});

describe.each(CORNERS)("$align_corners.b, $half_pixel_centers.b", (corners) => {
  describe.each(["ResizeBilinear", "ResizeNearestNeighbor"])("%s", (op) => {
    test.each(SIZES.map((size) => ({ size })))("to $size", ({ size }) =>
      expectSame(resize(op, size, corners)),
    );
    test.each(SIZES.map((size) => ({ size })))("to $size of what lies channels first", ({ size }) =>
      expectSame({ ...resize(op, size, corners), convolved: [0] }),
    );
    test("of int32", () =>
      expectSame({
        ...resize(op, [8, 15], corners),
        inputs: [ints([1, 9, 4, 7, 2, 0], [1, 2, 3, 1]), ints([5, 5])],
      }));
  });
  test("ResizeBilinear of pictures of any size", () =>
    expectSame({ ...resize("ResizeBilinear", [8, 15], corners), open: "all", convolved: [0] }));
  test("ResizeBilinear to a size that is given", () =>
    expectSame({ ...resize("ResizeBilinear", [8, 4], corners), open: "all", weights: [] }));
});

test("ResizeNearestNeighbor from few pixels to many, each a multiple of another", () =>
  expectSame({ ...resize("ResizeNearestNeighbor", [9, 98]), inputs: [floats([1, 3, 2, 1]), ints([9, 98])] }));

describe("CropAndResize", () => {
  const boxes: Tensor = {
    type: "float32",
    shape: [4, 4],
    data: Float32Array.from([0, 0, 1, 1, 0.1, 0.2, 0.7, 0.9, 0.9, 0.8, 0.2, 0.1, -0.5, 0.3, 1.5, 0.6]),
  };
  const crops = (size: readonly number[]): GraphCase => ({
    op: "CropAndResize",
    inputs: [PICTURE, boxes, ints([0, 1, 1, 0]), ints(size)],
    weights: [3],
    attr: { method: attr.text("bilinear"), extrapolation_value: attr.float(9) },
  });
  test.each([[[4, 3]], [[1, 6]], [[9, 1]]])("to %j", (size) => expectSame(crops(size)));
  test("of what lies channels first, of any size", () =>
    expectSame({ ...crops([4, 3]), convolved: [0], open: "all" }));
});
