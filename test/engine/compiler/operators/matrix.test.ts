import { describe, test } from "vitest";
import { attr, expectSame, floats, ints } from "../reference.ts";

const turned = (shape: readonly number[], is: boolean): readonly number[] =>
  is ? [...shape.slice(0, -2), ...shape.slice(-2).reverse()] : shape;

const BOTH_WAYS = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const;

describe.each(BOTH_WAYS)("transposed: %s and %s", (a, b) => {
  const product = { transpose_a: attr.bool(a), transpose_b: attr.bool(b) };
  const batched = { adj_x: attr.bool(a), adj_y: attr.bool(b) };
  test.each([[[1]], [[]]])("MatMul with the weights %j", (weights) =>
    expectSame({
      op: "MatMul",
      inputs: [floats(turned([5, 7], a)), floats(turned([7, 3], b), 2)],
      weights,
      attr: product,
    }),
  );
  test("_FusedMatMul", () =>
    expectSame({
      op: "_FusedMatMul",
      inputs: [floats(turned([5, 7], a)), floats(turned([7, 3], b), 2), floats([3], 3)],
      weights: [1, 2],
      attr: { ...product, num_args: attr.int(1), fused_ops: attr.texts(["BiasAdd", "Relu"]) },
    }));
  test.each(["BatchMatMul", "BatchMatMulV2"])("%s", (op) =>
    expectSame({
      op,
      inputs: [floats(turned([2, 3, 5, 7], a)), floats(turned([2, 3, 7, 4], b), 2)],
      attr: batched,
      open: "all",
    }),
  );
  // TF.js' plain backend stretches no batches but of one matrix.
  test("BatchMatMulV2 of many matrices and one", () =>
    expectSame({
      op: "BatchMatMulV2",
      inputs: [floats(turned([2, 3, 5, 7], a)), floats(turned([7, 4], b), 2)],
      attr: batched,
    }));
  test("BatchMatMulV2 of matrices that lie channels first", () =>
    expectSame({
      op: "BatchMatMulV2",
      inputs: [floats([2, 3, 5, 5]), floats([2, 3, 5, 5], 2)],
      convolved: [0, 1],
      attr: batched,
    }));
});

test("MatMul of int32", () =>
  expectSame({ op: "MatMul", inputs: [ints([1, 2, 3, 4, 5, 6], [2, 3]), ints([7, 8, 9], [3, 1])] }));

test.each([
  ["ij,jk->ik", [3, 4], [4, 5]],
  ["abc,cd->abd", [2, 3, 4], [4, 5]],
  ["bqhd,bkhd->bhqk", [2, 3, 2, 4], [2, 5, 2, 4]],
  ["abc, abd -> acd", [2, 3, 4], [2, 3, 5]],
])("Einsum %s", (equation, a, b) =>
  expectSame({
    op: "Einsum",
    inputs: [floats(a), floats(b, 2)],
    attr: { equation: attr.text(equation), N: attr.int(2) },
    open: "all",
  }),
);
