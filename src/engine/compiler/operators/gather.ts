/** Operators that pick elements by index, or put them there. */
import type { Graph } from "../graph.ts";
import { inputAt, type Operator, type OperatorTable } from "../operator.ts";
import {
  axisInMemory,
  axisOf,
  isStatic,
  knownElements,
  knownNumbers,
  NotCovered,
  type Shape,
  type Value,
} from "../value.ts";
import { broadcast, cast } from "./elementwise.ts";
import { stretched } from "./fill.ts";
import { layoutWithout, reshaped, transposed, unsqueezed } from "./shape.ts";
import { asIntegers, END, followed, type Known } from "./whole-numbers.ts";

/** The slices of x at the indices along an axis: the axes of the indices come in place of that axis. */
export function gathered(graph: Graph, x: Value, indices: Value, axis: number): Value {
  const { type } = x;
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  const layout = indices.shape.length === 1 ? x.layout : layoutWithout(x, [axis]);
  const isKept = layout !== undefined && indices.shape.length <= 1;
  const from = isKept ? x : graph.channelsLast(x);
  return followed(graph, knownPicks(x, indices), () =>
    graph.node(
      "Gather",
      [from, graph.channelsLast(indices)],
      { type, shape, layout: isKept ? layout : "channels-last" },
      { axis: axisInMemory(axis, from) },
    ),
  );
}

/**
 * Indices that count from the front alone. ONNX takes negative ones as counted from the end, where TF.js refuses them:
 * beyond the end ONNX refuses them too.
 */
export function fromFront(graph: Graph, indices: Value): Value {
  const known = knownNumbers(indices);
  const negative = known?.find((index) => index < 0);
  if (negative !== undefined) throw new Error(`the index ${negative} is negative`);
  if (known) return indices;
  const { type } = indices;
  const isNegative = broadcast(graph, "Less", [indices, graph.scalar(0, type)], { type: "bool" });
  return broadcast(graph, "Where", [isNegative, graph.scalar(END, type), indices]);
}

function knownPicks(x: Value, indices: Value): Known | undefined {
  const elements = x.shape.length === 1 ? knownElements(x) : undefined;
  const picks = knownNumbers(indices);
  if (!elements || !picks) return undefined;
  return picks.map((index) => {
    if (index < 0 || index >= elements.length)
      throw new Error(`the index ${index} is not below ${elements.length}`);
    return elements[index] ?? null;
  });
}

/** As `gathered`, but the first axes of x and of the indices go together. */
function gatheredInBatches(graph: Graph, x: Value, indices: Value, axis: number, batch: number): Value {
  if (axis < batch) throw new Error(`GatherV2 along the axis ${axis} of ${batch} batch axes`);
  const order = x.shape.map((_, at) => at);
  // The axis comes to the front of what is not batch; after that its place is that of the indices' axes.
  const fronted = [...order.slice(0, batch), axis, ...order.slice(batch).filter((at) => at !== axis)];
  const from = graph.channelsLast(transposed(graph, x, fronted));
  const own = indices.shape.slice(batch);
  const shape = [...from.shape.slice(0, batch), ...own, ...from.shape.slice(batch + 1)];
  const column = unsqueezed(graph, graph.channelsLast(indices), [indices.shape.length]);
  const picked = graph.node(
    "GatherND",
    [from, asIntegers(graph, column)],
    { type: x.type, shape },
    { batch_dims: batch },
  );
  const between = axis - batch;
  const places = shape.map((_, at) => at);
  const back = [
    ...places.slice(0, batch),
    ...places.slice(batch + own.length, batch + own.length + between),
    ...places.slice(batch, batch + own.length),
    ...places.slice(batch + own.length + between),
  ];
  return transposed(graph, picked, back);
}

const gather: Operator = (graph, call) => {
  const [x, indices] = [inputAt(call, 0), cast(graph, inputAt(call, 1), "int32")];
  const [axis = Number.NaN] = call.inputs[2] ? (knownNumbers(call.inputs[2]) ?? []) : [0];
  if (Number.isNaN(axis)) throw new NotCovered(`${call.op} along an axis that only a run tells`);
  const given = call.attributes.int("batch_dims", 0);
  const batch = given < 0 ? given + indices.shape.length : given;
  const at = axisOf(axis, x.shape.length);
  const places = fromFront(graph, indices);
  return batch === 0 ? gathered(graph, x, places, at) : gatheredInBatches(graph, x, places, at, batch);
};

const gatherNd: Operator = (graph, call) => {
  const x = graph.channelsLast(inputAt(call, 0));
  const indices = graph.channelsLast(inputAt(call, 1));
  const depth = depthOf(indices);
  const shape = [...indices.shape.slice(0, -1), ...x.shape.slice(depth)];
  return graph.node("GatherND", [x, asIntegers(graph, indices)], { type: x.type, shape });
};

/** How many axes an index goes into. */
function depthOf(indices: Value): number {
  const depth = indices.shape.at(-1) ?? null;
  if (depth === null) throw new NotCovered("indices into as many axes as only a run tells");
  return depth;
}

/** `base` with the updates in the places of the indices, or added there. @param indices [..., axes of base] */
function scattered(
  graph: Graph,
  base: Value,
  indices: Value,
  updates: Value,
  reduction: "add" | "none",
): Value {
  const { type, shape } = base;
  const inputs = [base, asIntegers(graph, graph.channelsLast(indices)), graph.channelsLast(updates)];
  return graph.node("ScatterND", inputs, { type, shape }, { reduction });
}

/** Zeros with the updates added; those for the same place add up. */
const scatterNd: Operator = (graph, call) => {
  const [indices, updates, shape] = [inputAt(call, 0), inputAt(call, 1), inputAt(call, 2)];
  if (updates.type === "bool") throw new NotCovered("ScatterNd of truth values");
  const zeros = stretched(graph, graph.scalar(0, updates.type), shape);
  return scattered(graph, zeros, indices, updates, "add");
};

const tensorScatterUpdate: Operator = (graph, call) => {
  const base = graph.channelsLast(inputAt(call, 0));
  return scattered(graph, base, inputAt(call, 1), inputAt(call, 2), "none");
};

/** A default everywhere but at the indices, of which there may be one, a list, or a list of lists. */
const sparseToDense: Operator = (graph, call) => {
  const [indices, vector, values, fallback] = [
    inputAt(call, 0),
    inputAt(call, 1),
    inputAt(call, 2),
    inputAt(call, 3),
  ];
  const base = stretched(graph, cast(graph, fallback, values.type), vector);
  const [count = 1, depth = 1] = indices.shape;
  const lists: Value = indices.shape.length === 2 ? indices : reshaped(graph, indices, [count, depth]);
  const each = values.shape.length === 1 ? values : repeated(graph, values, lists);
  return scattered(graph, base, lists, each, "none");
};

/** One value for each row of a matrix. */
function repeated(graph: Graph, value: Value, rows: Value): Value {
  const shape: Shape = rows.shape.slice(0, 1);
  const sizes = isStatic(shape)
    ? graph.integers(shape)
    : graph.node("Shape", [rows], { type: "int64", shape: [1] }, { start: 0, end: 1 });
  return graph.node("Expand", [value, sizes], { type: value.type, shape });
}

export const GATHER: OperatorTable = {
  Gather: gather,
  GatherV2: gather,
  GatherNd: gatherNd,
  ScatterNd: scatterNd,
  TensorScatterUpdate: tensorScatterUpdate,
  SparseToDense: sparseToDense,
};
