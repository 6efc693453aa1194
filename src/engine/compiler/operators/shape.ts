/** Operators that tell a shape, or give the same elements another one. */
import type { Graph } from "../graph.ts";
import { axesOf } from "../graph-def.ts";
import { inputAt, numberAt, numbersAt, type Operator, type OperatorTable } from "../operator.ts";
import {
  axisInMemory,
  axisOf,
  inMemory,
  isStatic,
  knownElements,
  type Layout,
  NotCovered,
  permuted,
  type Shape,
  sizeOf,
  toFirst,
  toLast,
  type Value,
} from "../value.ts";
import { cast } from "./elementwise.ts";
import { asIntegers, axisCount, followed, type Known } from "./whole-numbers.ts";

/** The sizes of x as a vector of int32. */
export function shapeOf(graph: Graph, x: Value): Value {
  return followed(graph, x.shape, () => {
    const rank = x.shape.length;
    const type = "int64";
    const sizes = graph.node("Shape", [x], { type, shape: [rank] });
    const isLast = x.layout === "channels-last";
    const ordered = isLast
      ? sizes
      : graph.node("Gather", [sizes, graph.integers(toLast(rank))], { type, shape: [rank] });
    return cast(graph, ordered, "int32");
  });
}

const sizeOperator: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const known = [isStatic(x.shape) ? sizeOf(x.shape) : null];
  return followed(graph, known, () =>
    cast(graph, graph.node("Size", [x], { type: "int64", shape: [] }), "int32"),
  );
};

/** x for a node that sees its elements as one row. A tensor with one axis of more than one element lies in any layout. */
function inRows(graph: Graph, x: Value): Value {
  const [, ...inner] = x.shape;
  const isSame = inner.filter((size) => size !== 1).length <= 1 && x.layout === "channels-first";
  return isSame ? x : graph.channelsLast(x);
}

/**
 * The elements of x under another shape.
 * @param sizes null or -1 for what only a run tells; one such size follows from the others
 * @param vector the same sizes, computed by a run, where more than one is unknown
 * @throws NotCovered when more are unknown and there is no vector
 */
export function reshaped(graph: Graph, x: Value, sizes: Shape, vector?: Value): Value {
  const shape = completed(sizes, x.shape);
  const { type } = x;
  if (x.constant && isStatic(shape)) return graph.constant(type, shape, x.constant);
  const isImplied =
    shape.filter((size) => size === null).length <= 1 && (isStatic(shape) || !shape.includes(0));
  if (!isImplied && !vector) throw new NotCovered(`a tensor of [${x.shape}] as one of [${sizes}]`);
  const target =
    isImplied || !vector ? graph.integers(shape.map((size) => size ?? -1)) : asIntegers(graph, vector);
  return followed(graph, knownElements(x), () =>
    // A size of 0 is 0, and not the input's.
    graph.node("Reshape", [inRows(graph, x), target], { type, shape }, { allowzero: 1 }),
  );
}

/** Finds the one size that is left out. @throws Error when the elements do not fit */
function completed(sizes: Shape, from: Shape): Shape {
  const shape = sizes.map((size) => (size === null || size < 0 ? null : size));
  const unknown = shape.indexOf(null);
  if (!isStatic(from) || unknown !== shape.lastIndexOf(null)) return shape;
  const rest = sizeOf(shape.map((size) => size ?? 1));
  if (unknown < 0 ? rest === sizeOf(from) : sizeOf(from) % rest === 0)
    return shape.map((size) => size ?? sizeOf(from) / rest);
  throw new Error(`[${from}] cannot be reshaped to [${sizes}]`);
}

const reshape: Operator = (graph, call) => {
  const vector = inputAt(call, 1);
  const sizes: Known = knownElements(vector) ?? Array.from({ length: axisCount(vector) }, () => null);
  return reshaped(graph, inputAt(call, 0), sizes, vector);
};

/** x with axes of size 1 added. @param axes as counted in what comes out, from the front, rising */
export function unsqueezed(graph: Graph, x: Value, axes: readonly number[]): Value {
  if (axes.length === 0) return x;
  const shape = [...x.shape];
  for (const axis of axes) shape.splice(axis, 0, 1);
  const { type, constant } = x;
  if (constant && isStatic(shape)) return graph.constant(type, shape, constant);
  // Between the first axis and the last one, the order in memory stays what it is called.
  const isBetween = axes.every((axis) => axis > 0 && axis < shape.length - 1);
  const from = isBetween ? x : graph.channelsLast(x);
  const { layout } = from;
  const places = graph.integers(axes.map((axis) => axisInMemory(axis, { shape, layout })));
  return followed(graph, knownElements(x), () =>
    graph.node("Unsqueeze", [from, places], { type, shape, layout }),
  );
}

const expandDims: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const rank = x.shape.length + 1;
  return unsqueezed(graph, x, [axisOf(numberAt(call, 1, "an axis"), rank)]);
};

/** x without axes, which are of size 1. @param axes counted from the front */
export function squeezed(graph: Graph, x: Value, axes: readonly number[]): Value {
  if (axes.length === 0) return x;
  const large = axes.find((axis) => (x.shape[axis] ?? 1) !== 1);
  if (large !== undefined) throw new Error(`the axis ${large} of [${x.shape}] is not of size 1`);
  const shape = x.shape.filter((_, axis) => !axes.includes(axis));
  const { type, constant } = x;
  if (constant && isStatic(shape)) return graph.constant(type, shape, constant);
  const layout = layoutWithout(x, axes);
  const from = layout ? x : graph.channelsLast(x);
  const places = graph.integers(axes.map((axis) => axisInMemory(axis, from)));
  return followed(graph, knownElements(x), () =>
    graph.node("Squeeze", [from, places], { type, shape, layout: layout ?? "channels-last" }),
  );
}

/** The layout of what is left of x without axes; undefined when it is neither. */
export function layoutWithout(x: Value, axes: readonly number[]): Layout | undefined {
  const all = x.shape.map((_, axis) => axis);
  const left = inMemory(all, x.layout).filter((axis) => !axes.includes(axis));
  const last = all.filter((axis) => !axes.includes(axis));
  const first = last.length < 3 ? [] : permuted(last, toFirst(last.length));
  if (left.every((axis, i) => axis === last[i])) return "channels-last";
  return left.every((axis, i) => axis === first[i]) ? "channels-first" : undefined;
}

const squeeze: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const { attributes } = call;
  const given = attributes.ints("axis", attributes.ints("squeeze_dims", []));
  if (given.length > 0) return squeezed(graph, x, axesOf(given, x.shape.length));
  if (!isStatic(x.shape)) throw new NotCovered("Squeeze of whatever axes a run finds to be 1");
  return squeezed(
    graph,
    x,
    x.shape.flatMap((size, axis) => (size === 1 ? [axis] : [])),
  );
};

/**
 * x with its axes in another order. Where the elements lie already as one of the two layouts of the result has them,
 * nothing moves.
 */
export function transposed(graph: Graph, x: Value, order: readonly number[]): Value {
  if (x.constant || order.every((axis, i) => axis === i)) return graph.transpose(x, order);
  const shape = permuted(x.shape, order);
  const from = order.map((axis) => axisInMemory(axis, x));
  const layouts: readonly Layout[] =
    order.length < 3 ? ["channels-last"] : ["channels-last", "channels-first"];
  const layout = layouts.find((one) => inMemory(from, one).every((axis, i) => axis === i));
  if (layout) return { name: x.name, type: x.type, shape, layout };
  return graph.node("Transpose", [x], { type: x.type, shape }, { perm: from });
}

const transpose: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const order = axesOf(numbersAt(call, 1, "an order"), x.shape.length);
  if (order.length !== x.shape.length || new Set(order).size !== order.length)
    throw new Error(`Transpose of [${x.shape}] in the order ${order}`);
  return transposed(graph, x, order);
};

export const SHAPE: OperatorTable = {
  Shape: (graph, call) => shapeOf(graph, inputAt(call, 0)),
  Rank: (graph, call) => graph.scalar(inputAt(call, 0).shape.length, "int32"),
  Size: sizeOperator,
  Reshape: reshape,
  ExpandDims: expandDims,
  Squeeze: squeeze,
  Transpose: transpose,
};
