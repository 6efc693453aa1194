/**
 * TensorArrays, by which a loop of TensorFlow 1 takes its inputs apart and puts its results together. The array's
 * "flow" stands for its contents: a tensor with one row for each element, once it is full.
 */

import type { Graph } from "../graph.ts";
import { type Call, inputAt, type OperatorTable } from "../operator.ts";
import { knownNumbers, NotCovered, type Value } from "../value.ts";

export type ArrayState =
  | { readonly kind: "empty" }
  /** As it was before, and one more element. */
  | { readonly kind: "written"; readonly before: Value; readonly index: Value; readonly element: Value };

const states = new WeakMap<Value, ArrayState>();
const counts = new WeakSet<Value>();

/** What is known of an array that is not full, by its flow; undefined for a tensor of all its elements. */
export const arrayState = (flow: Value): ArrayState | undefined => states.get(flow);

/** Notes that a vector is 0, 1, 2, …, so that what it picks is everything in its order. */
export function markCount(vector: Value): Value {
  counts.add(vector);
  return vector;
}

function isCount(vector: Value): boolean {
  return counts.has(vector) || (knownNumbers(vector)?.every((number, i) => number === i) ?? false);
}

function flowWith(graph: Graph, state: ArrayState): Value {
  const flow = { ...graph.scalar(0) };
  states.set(flow, state);
  return flow;
}

function full(call: Call, index: number): Value {
  const flow = inputAt(call, index);
  if (states.has(flow)) throw new NotCovered(`${call.op} of an array that is not full`);
  return flow;
}

function everything(call: Call, index: number): void {
  if (!isCount(inputAt(call, index))) throw new NotCovered(`${call.op} of some elements only`);
}

export const TENSOR_ARRAYS: OperatorTable = {
  TensorArrayV3: (graph) => [graph.scalar(0), flowWith(graph, { kind: "empty" })],
  TensorArrayScatterV3: (_graph, call) => {
    everything(call, 1);
    if (arrayState(inputAt(call, 3))?.kind !== "empty")
      throw new NotCovered("TensorArrayScatterV3 into an array that is not empty");
    return inputAt(call, 2);
  },
  TensorArrayReadV3: (graph, call) => {
    const elements = graph.channelsLast(full(call, 2));
    const shape = elements.shape.slice(1);
    return graph.node("Gather", [elements, inputAt(call, 1)], { type: elements.type, shape }, { axis: 0 });
  },
  TensorArrayWriteV3: (graph, call) =>
    flowWith(graph, {
      kind: "written",
      index: inputAt(call, 1),
      element: inputAt(call, 2),
      before: inputAt(call, 3),
    }),
  TensorArrayGatherV3: (_graph, call) => {
    everything(call, 1);
    return full(call, 2);
  },
  TensorArraySizeV3: (graph, call) => {
    const elements = full(call, 1);
    const [rows = null] = elements.shape;
    const sizes = graph.node("Shape", [elements], { type: "int64", shape: [1] }, { start: 0, end: 1 });
    const asInt = graph.node("Cast", [sizes], { type: "int32", shape: [1] }, { to: 6 });
    return graph.node("Squeeze", [asInt], { type: "int32", shape: [], known: [rows] });
  },
};
