/** Operators that make tensors of elements that repeat or follow a rule. */
import type { Graph } from "../graph.ts";
import { inputAt, numberAt, type Operator, type OperatorTable } from "../operator.ts";
import {
  axisInMemory,
  axisOf,
  type ElementType,
  KNOWN_MAX,
  knownElements,
  knownNumbers,
  MADE_MAX,
  NotCovered,
  type Shape,
  type Value,
} from "../value.ts";
import { broadcast, cast } from "./elementwise.ts";
import { selected } from "./select.ts";
import { squeezed, unsqueezed } from "./shape.ts";
import { markCount } from "./tensor-array.ts";
import { axisCount, followed, forAxes } from "./whole-numbers.ts";

/** x, repeated along each axis. @param repeats a vector, one number for each axis */
export function tiled(graph: Graph, x: Value, repeats: Value): Value {
  const { type, layout } = x;
  if (repeats.shape[0] !== x.shape.length)
    throw new Error(`Tile of [${x.shape}] by [${repeats.shape}] numbers`);
  const times = knownElements(repeats);
  const shape = x.shape.map((size, axis) => {
    const count = times?.[axis] ?? null;
    return size === null || count === null ? null : size * count;
  });
  return graph.node("Tile", [x, forAxes(graph, repeats, layout)], { type, shape, layout });
}

/** x, stretched to the shape in a vector. */
export function stretched(graph: Graph, x: Value, vector: Value): Value {
  const rank = axisCount(vector);
  const known = knownElements(vector);
  const shape: Shape = Array.from({ length: rank }, (_, axis) => {
    // An axis of more than one element cannot be stretched.
    const own = x.shape[axis - rank + x.shape.length] ?? null;
    return known?.[axis] ?? (own === 1 ? null : own);
  });
  const isSameRank = rank === x.shape.length;
  const from = isSameRank ? x : graph.channelsLast(x);
  const { layout } = from;
  const elements = x.shape.length === 0 ? knownElements(x) : undefined;
  const size = rank === 1 ? (shape[0] ?? null) : null;
  const repeated =
    size === null || size > KNOWN_MAX || !elements
      ? undefined
      : Array.from({ length: size }, () => elements[0] ?? null);
  return followed(graph, repeated, () =>
    graph.node("Expand", [from, forAxes(graph, vector, layout)], { type: x.type, shape, layout }),
  );
}

/** One element, as often as x has elements, in the shape and layout of x. */
export function filledLike(graph: Graph, x: Value, element: number): Value {
  const { type, shape, layout } = x;
  const sizes = graph.node("Shape", [x], { type: "int64", shape: [shape.length] });
  return graph.node("Expand", [graph.scalar(element, type), sizes], { type, shape, layout });
}

const fill: Operator = (graph, call) => {
  const element = inputAt(call, 1);
  const type = call.attributes.type("T", element.type);
  return stretched(graph, cast(graph, element, type), inputAt(call, 0));
};

/** From `start` until before `limit`, `step` apart. */
const range: Operator = (graph, call) => {
  const type = call.attributes.type("Tidx", inputAt(call, 0).type);
  const [start, limit, step] = [0, 1, 2].map((index) => cast(graph, inputAt(call, index), type));
  if (!start || !limit || !step) throw new Error("Range has three inputs");
  const [from, to, by] = [start, limit, step].map((value) => knownNumbers(value)?.[0]);
  if (by === 0) throw new Error("Range with a step of 0");
  if (from === undefined || to === undefined || by === undefined) {
    const signed = by === undefined || by === 1 ? downwards(graph, start, limit, step) : step;
    const numbers = graph.node("Range", [start, limit, signed], { type, shape: [null] });
    return from === 0 && by === 1 ? markCount(numbers) : numbers;
  }
  const apart = by === 1 && to < from ? -1 : by;
  const count = Math.max(0, Math.ceil((to - from) / apart));
  const known = count > KNOWN_MAX ? undefined : Array.from({ length: count }, (_, i) => from + i * apart);
  return followed(graph, known, () =>
    graph.node("Range", [start, limit, graph.scalar(apart, type)], { type, shape: [count] }),
  );
};

/** TF.js turns a step of 1 round where the limit is below the start. @param step 1, or what only a run tells */
function downwards(graph: Graph, start: Value, limit: Value, step: Value): Value {
  const { type } = step;
  const test = (op: string, a: Value, b: Value): Value => graph.node(op, [a, b], { type: "bool", shape: [] });
  const isBelow = test("Less", limit, start);
  const isOne = (): Value => test("Equal", step, graph.scalar(1, type));
  const isTurned = knownNumbers(step) ? isBelow : test("And", isBelow, isOne());
  return graph.node("Where", [isTurned, graph.scalar(-1, type), step], { type, shape: [] });
}

/** `count` numbers, equally far apart, from `start` to `stop`, both included. */
const linSpace: Operator = (graph, call) => {
  const [start, stop] = [inputAt(call, 0), inputAt(call, 1)];
  const count = numberAt(call, 2, "a count");
  if (count < 1 || count > MADE_MAX) throw new NotCovered(`LinSpace of ${count} numbers`);
  const steps = Float32Array.from({ length: count }, (_, i) => (count > 1 ? i / (count - 1) : 0));
  const span = broadcast(graph, "Sub", [stop, start]);
  const away = broadcast(graph, "Mul", [graph.constant("float32", [count], steps), span]);
  return broadcast(graph, "Add", [away, start]);
};

/** Along a new last axis, `on` where the index is that of the element, and `off` elsewhere. */
const oneHot: Operator = (graph, call) => {
  const indices = graph.channelsLast(inputAt(call, 0));
  const { attributes } = call;
  const rank = indices.shape.length;
  // TF.js knows of no other axis.
  if (![-1, rank].includes(attributes.int("axis", -1))) throw new NotCovered("OneHot along an inner axis");
  const type: ElementType = attributes.type("T", "int32");
  const valueAt = (index: number): Value => cast(graph, inputAt(call, index), type);
  const places = classes(graph, inputAt(call, 1));
  const column = cast(graph, unsqueezed(graph, indices, [rank]), "int32");
  const shape = [...indices.shape, places.shape[0] ?? null];
  const isHot = graph.node("Equal", [column, places], { type: "bool", shape });
  return selected(graph, isHot, valueAt(2), valueAt(3));
};

/** 0, 1, … below a depth. */
function classes(graph: Graph, depth: Value): Value {
  const count = knownNumbers(depth)?.[0];
  if (count !== undefined && count <= KNOWN_MAX)
    return graph.constant(
      "int32",
      [count],
      Int32Array.from({ length: count }, (_, i) => i),
    );
  const limit = cast(graph, depth.shape.length === 0 ? depth : squeezed(graph, depth, [0]), "int32");
  const bounds = [graph.scalar(0, "int32"), limit, graph.scalar(1, "int32")];
  return graph.node("Range", bounds, { type: "int32", shape: [null] });
}

/** Sums of all elements up to each one along an axis. */
const cumsum: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const { type, shape, layout } = x;
  const axis = axisInMemory(axisOf(numberAt(call, 1, "an axis"), shape.length), x);
  return graph.node(
    "CumSum",
    [x, graph.scalar(axis, "int64")],
    { type, shape, layout },
    {
      exclusive: Number(call.attributes.bool("exclusive", false)),
      reverse: Number(call.attributes.bool("reverse", false)),
    },
  );
};

export const FILL: OperatorTable = {
  Tile: (graph, call) => tiled(graph, inputAt(call, 0), inputAt(call, 1)),
  BroadcastTo: (graph, call) => stretched(graph, inputAt(call, 0), inputAt(call, 1)),
  Fill: fill,
  ZerosLike: (graph, call) => filledLike(graph, inputAt(call, 0), 0),
  OnesLike: (graph, call) => filledLike(graph, inputAt(call, 0), 1),
  Range: range,
  LinSpace: linSpace,
  OneHot: oneHot,
  Cumsum: cumsum,
};
