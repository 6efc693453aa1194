import { describe, expect, test } from "vitest";
import { POOL } from "../../../../src/engine/compiler/operators/pool.ts";
import { attr, expectSame, floats, type GraphCase } from "../reference.ts";

interface Options {
  readonly ksize: readonly number[];
  readonly strides: readonly number[];
  readonly padding: "SAME" | "VALID";
}

const whole = (sizes: readonly number[]): readonly number[] => [1, ...sizes, 1];

/** 9 × 7 pixels of 3 channels, or 5 × 6 × 4 in space. */
function pooling(op: string, { ksize, strides, padding }: Options): GraphCase {
  return {
    op,
    inputs: [floats(ksize.length === 3 ? [2, 5, 6, 4, 3] : [2, 9, 7, 3])],
    attr: {
      ksize: attr.list(whole(ksize)),
      strides: attr.list(whole(strides)),
      padding: attr.text(padding),
    },
  };
}

describe.each(["SAME", "VALID"] as const)("padding %s", (padding) => {
  describe.each(["MaxPool", "AvgPool"])("%s", (op) => {
    test.each([
      [
        [2, 2],
        [2, 2],
      ],
      [
        [3, 2],
        [1, 1],
      ],
      [
        [3, 5],
        [2, 3],
      ],
      [
        [1, 1],
        [2, 2],
      ],
    ])("a window of %j by steps of %j", (ksize, strides) =>
      expectSame(pooling(op, { ksize, strides, padding })),
    );
    test("of a picture of any size, that lies channels first", () =>
      expectSame({
        ...pooling(op, { ksize: [3, 2], strides: [2, 2], padding }),
        convolved: [0],
        open: "all",
      }));
    test("of all pixels", () => expectSame(pooling(op, { ksize: [9, 7], strides: [9, 7], padding })));
  });
  test.each(["MaxPool3D", "AvgPool3D"])("%s", (op) =>
    expectSame(pooling(op, { ksize: [2, 3, 2], strides: [2, 1, 2], padding })),
  );
  test.each([false, true])("MaxPoolWithArgmax, with the batch in the index: %s", (isWhole) => {
    const given = pooling("MaxPoolWithArgmax", { ksize: [3, 2], strides: [2, 2], padding });
    return expectSame({
      ...given,
      attr: { ...given.attr, include_batch_in_index: attr.bool(isWhole) },
      outputs: 2,
    });
  });
});

test("every operator has its cases", () => {
  expect(Object.keys(POOL).sort()).toEqual([
    "AvgPool",
    "AvgPool3D",
    "MaxPool",
    "MaxPool3D",
    "MaxPoolWithArgmax",
  ]);
});
