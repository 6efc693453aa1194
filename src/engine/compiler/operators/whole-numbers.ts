/** Whole numbers that shapes are computed of: followed through a graph, and handed to ONNX, which wants int64. */
import { elementsOf, type Graph } from "../graph.ts";
import {
  isStatic,
  knownElements,
  knownNumbers,
  type Layout,
  NotCovered,
  permuted,
  toFirst,
  type Value,
} from "../value.ts";
import { cast } from "./elementwise.ts";

export type Known = readonly (number | null)[];

/**
 * The value that `make` gives, with what is known of its elements; a constant where all of them are, so that nothing
 * is left to compute.
 */
export function followed(graph: Graph, known: Known | undefined, make: () => Value): Value {
  const made = make();
  const { type, shape } = made;
  if (!known) return made;
  if (isStatic(shape) && known.every((element) => element !== null))
    return graph.constant(type, shape, elementsOf(type, known));
  return type === "float32" ? made : { ...made, known };
}

/** As int64. */
export function asIntegers(graph: Graph, value: Value): Value {
  const numbers = value.shape.length === 1 ? knownNumbers(value) : undefined;
  return numbers ? graph.integers(numbers) : cast(graph, value, "int64");
}

/** A vector with one number for each axis, as int64, in the order of the axes in memory. */
export function forAxes(graph: Graph, vector: Value, layout: Layout): Value {
  if (layout === "channels-last") return asIntegers(graph, vector);
  const order = toFirst(vector.shape[0] ?? 0);
  const numbers = knownNumbers(vector);
  if (numbers) return graph.integers(permuted(numbers, order));
  const { type, shape } = vector;
  return asIntegers(graph, graph.node("Gather", [vector, graph.integers(order)], { type, shape }));
}

/** One element of a vector, as a vector of int64 by itself. */
function elementAt(graph: Graph, vector: Value, index: number): Value {
  const element = graph.node("Gather", [vector, graph.integers([index])], { type: vector.type, shape: [1] });
  return asIntegers(graph, element);
}

/** The size of an axis, as a vector of int64 by itself. @param axis in memory */
export function sizeAt(graph: Graph, x: Value, axis: number): Value {
  return graph.node("Shape", [x], { type: "int64", shape: [1] }, { start: axis, end: axis + 1 });
}

/** A number, or a vector of int64 that has it as its one element when a model runs. */
export type OneNumber = number | Value;

/** A vector of int64 out of numbers. */
export function assembled(graph: Graph, parts: readonly OneNumber[]): Value {
  const numbers = parts.filter((part) => typeof part === "number");
  if (numbers.length === parts.length) return graph.integers(numbers);
  const pieces = parts.map((part) => (typeof part === "number" ? graph.integers([part]) : part));
  if (pieces.length === 1 && pieces[0]) return pieces[0];
  return graph.node("Concat", pieces, { type: "int64", shape: [parts.length] }, { axis: 0 });
}

/** More axes than any tensor has. */
const AXES_MAX = 32;

/** How many axes a vector with one number for each axis speaks of. @throws NotCovered if only a run tells */
export function axisCount({ shape: [count = null] }: Value): number {
  if (count === null) throw new NotCovered("a tensor of a rank that only a run tells");
  if (count > AXES_MAX) throw new Error(`there is no tensor of ${count} axes`);
  return count;
}

/** The elements of a vector: numbers as far as they are known. */
export function elementsAt(graph: Graph, vector: Value): readonly OneNumber[] {
  const known = knownElements(vector);
  return Array.from(
    { length: axisCount(vector) },
    (_, index) => known?.[index] ?? elementAt(graph, vector, index),
  );
}

/** Beyond the end of any axis; its negative is before the start. */
export const END = 2 ** 31 - 1;

/** An ONNX node of two vectors of int64. */
export function integerNode(graph: Graph, op: "Add" | "Sub" | "Mul" | "Div", a: Value, b: Value): Value {
  return graph.node(op, [a, b], { type: "int64", shape: a.shape });
}
