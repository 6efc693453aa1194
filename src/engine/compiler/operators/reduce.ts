/** Operators that draw whole axes together: sums, means, extremes and where these are. */
import type { Graph } from "../graph.ts";
import { axesOf } from "../graph-def.ts";
import { inputAt, numberAt, numbersAt, type Operator, type OperatorTable } from "../operator.ts";
import { axisInMemory, axisOf, type Layout, NotCovered, type Shape, type Value } from "../value.ts";
import { cast } from "./elementwise.ts";
import { layoutWithout } from "./shape.ts";
import { followed, type Known } from "./whole-numbers.ts";

type Reduction = "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL2";

export interface Kept {
  /** Leaves the axes in the shape, with the size 1. */
  readonly keepDims: boolean;
}

/** @param axes may count from the end */
export function reduce(
  graph: Graph,
  op: Reduction,
  x: Value,
  axes: readonly number[],
  { keepDims }: Kept,
): Value {
  const gone = axesOf(axes, x.shape.length);
  if (gone.length === 0) return x;
  const { value, layout, shape } = without(graph, x, gone, keepDims);
  const inMemory = gone.map((axis) => axisInMemory(axis, value)).sort((a, b) => a - b);
  return graph.node(
    op,
    [value, graph.integers(inMemory)],
    { type: x.type, shape, layout },
    { keepdims: keepDims ? 1 : 0 },
  );
}

/**
 * What is left when the axes are gone, and how it lies in memory. Where what stays would be in an order that no layout
 * has, the value is brought to channels last before.
 */
function without(
  graph: Graph,
  x: Value,
  gone: readonly number[],
  keepDims: boolean,
): { readonly value: Value; readonly layout: Layout; readonly shape: Shape } {
  if (keepDims) {
    const shape = x.shape.map((size, axis) => (gone.includes(axis) ? 1 : size));
    return { value: x, layout: x.layout, shape };
  }
  const shape = x.shape.filter((_, axis) => !gone.includes(axis));
  const layout = layoutWithout(x, gone);
  return { value: layout ? x : graph.channelsLast(x), layout: layout ?? "channels-last", shape };
}

/** What a reduction of a whole vector of numbers gives, as far as these are known. */
function knownResult(
  x: Value,
  axes: readonly number[],
  keepDims: boolean,
  compute: (numbers: readonly number[]) => number,
): Known | undefined {
  const elements = x.constant ? Array.from(x.constant, Number) : x.known;
  if (x.type !== "int32" || x.shape.length !== 1 || axes.length !== 1 || !elements) return undefined;
  if (keepDims && elements.length > 1024) return undefined;
  const numbers = elements.flatMap((element) => (element === null ? [] : [element]));
  return [numbers.length === elements.length ? compute(numbers) : null];
}

interface Reducing {
  readonly op: Reduction;
  /** The type in which TF.js reduces. */
  readonly type: (type: Value["type"]) => Value["type"];
  readonly compute?: (numbers: readonly number[]) => number;
}

const reducing =
  ({ op, type, compute }: Reducing): Operator =>
  (graph, call) => {
    const x = inputAt(call, 0);
    const axes = numbersAt(call, 1, "axes");
    const keepDims = call.attributes.bool("keep_dims", false);
    const known = compute && knownResult(x, axes, keepDims, compute);
    return followed(graph, known, () => {
      const reduced = reduce(graph, op, cast(graph, x, type(x.type)), axes, { keepDims });
      // The largest and the smallest are of the elements themselves.
      return op === "ReduceMax" || op === "ReduceMin" ? cast(graph, reduced, x.type) : reduced;
    });
  };

const number = (type: Value["type"]): Value["type"] => (type === "bool" ? "int32" : type);

const sumOf = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const productOf = (numbers: readonly number[]): number => numbers.reduce((a, b) => a * b, 1);

/** ONNX reduces no booleans. */
const ofBooleans =
  (op: "ReduceMax" | "ReduceMin"): Operator =>
  (graph, call) => {
    const x = inputAt(call, 0);
    if (x.type !== "bool") throw new NotCovered(`${call.op} of ${x.type}`);
    const keepDims = call.attributes.bool("keep_dims", false);
    const reduced = reduce(graph, op, cast(graph, x, "int32"), numbersAt(call, 1, "axes"), { keepDims });
    return cast(graph, reduced, "bool");
  };

/** Of several equal elements the first one counts, as in TF.js. */
const place =
  (op: "ArgMax" | "ArgMin"): Operator =>
  (graph, call) => {
    const x = inputAt(call, 0);
    const axis = axisOf(numberAt(call, 1, "axis"), x.shape.length);
    const { value, layout, shape } = without(graph, x, [axis], false);
    const found = graph.node(
      op,
      [cast(graph, value, number(x.type))],
      { type: "int64", shape, layout },
      { axis: axisInMemory(axis, value), keepdims: 0 },
    );
    return cast(graph, found, "int32");
  };

export const REDUCE: OperatorTable = {
  Sum: reducing({ op: "ReduceSum", type: number, compute: sumOf }),
  Prod: reducing({ op: "ReduceProd", type: number, compute: productOf }),
  Max: reducing({
    op: "ReduceMax",
    type: number,
    compute: (numbers) => numbers.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
  }),
  Min: reducing({
    op: "ReduceMin",
    type: number,
    compute: (numbers) => numbers.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
  }),
  // TF.js takes the mean of whole numbers as float32, where TensorFlow cuts it off.
  Mean: reducing({ op: "ReduceMean", type: () => "float32" }),
  EuclideanNorm: reducing({ op: "ReduceL2", type: () => "float32" }),
  All: ofBooleans("ReduceMin"),
  Any: ofBooleans("ReduceMax"),
  ArgMax: place("ArgMax"),
  ArgMin: place("ArgMin"),
};
