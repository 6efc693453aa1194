/** What the numbers in a model may make the compiler build is bounded: the next runtime takes such a model, or none. */
import { expect, test } from "vitest";
import { NotCovered } from "../../../src/engine/compiler/value.ts";
import { attr, floats, type GraphCase, ints, operatorsOf } from "./reference.ts";

const picture = floats([1, 2, 2, 1]);
const HUGE = 2 ** 30;

const pooling = (op: string): GraphCase => ({
  op,
  inputs: [picture],
  attr: {
    ksize: attr.list([1, 2 ** 40, 2, 1]),
    strides: attr.list([1, 1, 1, 1]),
    padding: attr.text("SAME"),
  },
});

const CASES: Readonly<Record<string, GraphCase>> = {
  "a picture of as many pixels": {
    op: "ResizeNearestNeighbor",
    inputs: [picture, ints([HUGE, 4])],
    weights: [1],
  },
  "crops of as many pixels": {
    op: "CropAndResize",
    inputs: [picture, floats([1, 4]), ints([0]), ints([2 ** 15, 2 ** 15])],
    weights: [3],
    attr: { method: attr.text("bilinear") },
  },
  "a mean over as many cells": pooling("AvgPool"),
  "the largest of as many cells": pooling("MaxPool"),
  "as many numbers": {
    op: "LinSpace",
    inputs: [floats([]), floats([]), ints([HUGE], [])],
    weights: [2],
    open: "none",
  },
  "as many parts": { op: "Unpack", inputs: [floats([1, HUGE / 2 ** 10])], attr: { axis: attr.int(1) } },
};

test.each(Object.entries(CASES))("%s", (_name, given) => {
  expect(() => operatorsOf(given)).toThrow(NotCovered);
});
