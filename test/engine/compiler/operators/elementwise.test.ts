import { describe, expect, test } from "vitest";
import { ELEMENTWISE } from "../../../../src/engine/compiler/operators/elementwise.ts";
import { attr, bools, expectSame, floats, type GraphCase, ints, type Tensor } from "../reference.ts";

const numbers = (values: readonly number[]): Tensor => ({
  type: "float32",
  shape: [values.length],
  data: Float32Array.from(values),
});

/** Numbers on both sides of zero, near it and far from it. */
const ANY = numbers([-40, -3.5, -1, -0.75, -1e-6, 0, 1e-6, 0.25, 0.5, 1, 1.5, 2.5, 7, 40]);
const INTS = ints([-7, -1, 0, 1, 2, 6, 7, 300]);
const UNIT = numbers([-1, -0.9, -0.5, -1e-5, 0, 1e-5, 0.25, 0.99, 1]);
const POSITIVE = numbers([1e-6, 0.25, 1, 2, 1000]);
const ODD = numbers([0, -0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38]);

/** What each operator is given, besides a picture that comes from a convolution. */
const GIVEN: Readonly<Record<string, readonly Tensor[]>> = {
  Abs: [ANY, INTS],
  Neg: [ANY, INTS],
  Sign: [ANY, INTS],
  Square: [ANY, INTS],
  Sqrt: [POSITIVE],
  Rsqrt: [POSITIVE],
  Reciprocal: [POSITIVE],
  Exp: [numbers([-20, -1, 0, 1, 10]), ints([-2, 0, 3])],
  Expm1: [numbers([-200, -20, -1, -1e-5, 0, 1e-5, 1, 10])],
  Log: [POSITIVE],
  Log1p: [numbers([-1, -0.9, -0.5, -1e-5, 0, 1e-7, 1e-5, 0.4, 0.6, 1e9, Number.POSITIVE_INFINITY])],
  Erf: [numbers([-4, -1, -0.1, 0, 0.1, 1, 4])],
  Floor: [ANY],
  Ceil: [ANY],
  Round: [ANY, INTS],
  Sin: [ANY],
  Cos: [ANY],
  Tan: [UNIT],
  Asin: [UNIT],
  Acos: [UNIT],
  Atan: [ANY],
  Sinh: [UNIT],
  Cosh: [UNIT],
  Tanh: [ANY],
  Asinh: [ANY],
  Acosh: [numbers([1, 1.5, 100])],
  Atanh: [numbers([-0.9, -1e-4, 0, 0.5])],
  Sigmoid: [ANY],
  Softplus: [ANY],
  Elu: [ANY],
  Selu: [ANY],
  Relu: [ANY, INTS],
  Relu6: [ANY, INTS],
  IsNan: [ODD],
  IsInf: [ODD],
  IsFinite: [ODD],
};

const PICTURE = floats([2, 3, 5, 4], 3);
/** As wide as the domain of the operator: its square, at least 1. */
const OF_PICTURE = Object.keys(GIVEN).filter(
  (op) => !["Sqrt", "Rsqrt", "Log", "Log1p", "Acosh", "Asin", "Acos", "Atanh", "Reciprocal"].includes(op),
);

describe.each(Object.entries(GIVEN))("%s", (op, given) => {
  test.each(given)("of $type", (x) => expectSame({ op, inputs: [x] }));
});

test.each(OF_PICTURE)("%s of a picture that lies channels first", (op) =>
  expectSame({ op, inputs: [PICTURE], convolved: [0], open: "all" }),
);

test("every operator has its cases", () => {
  expect([...Object.keys(GIVEN), "Cast"].sort()).toEqual(Object.keys(ELEMENTWISE).sort());
});

describe("Cast", () => {
  const cases: readonly (readonly [string, Tensor, "float32" | "int32" | "bool"])[] = [
    ["float32 to int32", numbers([-2.7, -0.5, 0.5, 2.7]), "int32"],
    ["float32 to bool", numbers([-0.5, 0, 3]), "bool"],
    ["int32 to float32", INTS, "float32"],
    ["int32 to bool", INTS, "bool"],
    ["bool to float32", bools([true, false]), "float32"],
    ["bool to int32", bools([true, false]), "int32"],
    ["int32 to int32", INTS, "int32"],
  ];
  test.each(cases)("%s", (_, x, to) =>
    expectSame({ op: "Cast", inputs: [x], attr: { DstT: attr.type(to), SrcT: attr.type(x.type) } }),
  );
  test("of constants", () => {
    const given: GraphCase = { op: "Cast", inputs: [ints([0, 2, 3])], weights: [0] };
    return expectSame({ ...given, attr: { DstT: attr.type("bool"), SrcT: attr.type("int32") } });
  });
});
