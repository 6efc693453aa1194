/** Layers that make one tensor of several. */
import type { Graph } from "../graph.ts";
import { broadcast, unary } from "../operators/elementwise.ts";
import { concatenated } from "../operators/join.ts";
import { matrixProduct } from "../operators/matrix.ts";
import { reduce } from "../operators/reduce.ts";
import { squeezed, transposed, unsqueezed } from "../operators/shape.ts";
import { axisOf, NotCovered, type Value } from "../value.ts";
import type { Layer, LayerCall, LayerTable } from "./layer.ts";

function inputsOf({ className, inputs }: LayerCall): readonly Value[] {
  if (inputs.length < 2) throw new Error(`${className} takes two inputs or more, and has ${inputs.length}`);
  if (inputs.some(({ type }) => type !== "float32")) throw new NotCovered(`${className} of whole numbers`);
  return inputs;
}

/** Axes of size 1 come after the rows, until all have the same rank. */
function ofOneRank(graph: Graph, inputs: readonly Value[]): readonly Value[] {
  const rank = Math.max(...inputs.map(({ shape }) => shape.length));
  return inputs.map((x) =>
    unsqueezed(
      graph,
      x,
      Array.from({ length: rank - x.shape.length }, (_, i) => i + 1),
    ),
  );
}

const elementwise =
  (op: "Add" | "Mul" | "Max" | "Min"): Layer =>
  (graph, call) =>
    ofOneRank(graph, inputsOf(call)).reduce((all, next) => broadcast(graph, op, [all, next]));

const average: Layer = (graph, call) => {
  const sum = elementwise("Add")(graph, call);
  return broadcast(graph, "Mul", [sum, graph.scalar(1 / call.inputs.length)]);
};

const concatenate: Layer = (graph, call) => {
  const inputs = inputsOf(call);
  const rank = inputs[0]?.shape.length ?? 0;
  if (inputs.some(({ shape }) => shape.length !== rank))
    throw new Error("Concatenate of tensors of different ranks");
  const axis = call.config.int("axis", -1);
  // TF.js takes each negative axis for the last one.
  if (axis < -1) throw new NotCovered(`Concatenate along the axis ${axis}`);
  return concatenated(graph, inputs, axisOf(axis, rank));
};

/** Products of the rows of two tensors, summed up along one axis of each. */
const dot: Layer = (graph, call) => {
  const [a, b, ...more] = inputsOf(call);
  if (!a || !b || more.length > 0) throw new Error(`Dot takes two inputs, and has ${call.inputs.length}`);
  const [first = 0, second = first] = call.config.ints("axes");
  const [axisA, axisB] = [axisOf(first, a.shape.length), axisOf(second, b.shape.length)];
  const isMatrix = [a, b].every(({ shape }) => shape.length === 2 || shape.length === 3);
  if (!isMatrix || axisA === 0 || axisB === 0) throw new NotCovered(`Dot of [${a.shape}] and [${b.shape}]`);
  const normal = (x: Value, axis: number): Value =>
    call.config.bool("normalize", false) ? normalized(graph, x, axis) : x;
  const left = rows(graph, normal(a, axisA), axisA);
  const right = columns(graph, normal(b, axisB), axisB);
  const product = matrixProduct(graph, left, right);
  if (a.shape.length === 3 && b.shape.length === 3) return product;
  // The axis that a vector was given is gone again; of two vectors, one is left, as Keras has no rank of 1.
  return squeezed(graph, product, [a.shape.length === 2 ? 1 : 2]);
};

/** [n, rest, axis]; a vector is one row. */
const rows = (graph: Graph, x: Value, axis: number): Value =>
  x.shape.length === 2 ? unsqueezed(graph, x, [1]) : transposed(graph, x, [0, 3 - axis, axis]);

/** [n, axis, rest]; a vector is one column. */
const columns = (graph: Graph, x: Value, axis: number): Value =>
  x.shape.length === 2 ? unsqueezed(graph, x, [2]) : transposed(graph, x, [0, axis, 3 - axis]);

/** Divided by the length along an axis, which is at least √ε with Keras' ε. */
function normalized(graph: Graph, x: Value, axis: number): Value {
  const squares = reduce(graph, "ReduceSum", broadcast(graph, "Mul", [x, x]), [axis], { keepDims: true });
  const least = broadcast(graph, "Max", [squares, graph.scalar(1e-7)]);
  return broadcast(graph, "Div", [x, unary(graph, "Sqrt", least)]);
}

export const MERGE: LayerTable = {
  Add: elementwise("Add"),
  Multiply: elementwise("Mul"),
  Average: average,
  Maximum: elementwise("Max"),
  Minimum: elementwise("Min"),
  Concatenate: concatenate,
  Dot: dot,
};
