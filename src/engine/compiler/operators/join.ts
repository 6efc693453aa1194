/** Operators that join tensors along an axis. */
import type { Graph } from "../graph.ts";
import { type Call, inputAt, numberAt, type Operator, type OperatorTable } from "../operator.ts";
import {
  axisInMemory,
  axisOf,
  isStatic,
  KNOWN_MAX,
  knownElements,
  NotCovered,
  type Shape,
  sizeOf,
  type Value,
} from "../value.ts";
import { reshaped, unsqueezed } from "./shape.ts";
import { followed, type Known } from "./whole-numbers.ts";

/** One after the other along an axis, counted from the front; all other sizes are the same. */
export function concatenated(graph: Graph, parts: readonly Value[], axis: number): Value {
  const [first, ...more] = parts;
  if (!first) throw new Error("there is nothing to concatenate");
  if (more.length === 0) return first;
  const isFirst = parts.some((part) => part.layout === "channels-first");
  const laid = parts.map(isFirst ? graph.channelsFirst : graph.channelsLast);
  const shape = joinedShape(parts, axis);
  const layout = isFirst ? "channels-first" : "channels-last";
  return followed(graph, axis === 0 ? knownJoint(parts) : undefined, () =>
    graph.node(
      "Concat",
      laid,
      { type: first.type, shape, layout },
      { axis: axisInMemory(axis, { shape, layout }) },
    ),
  );
}

function joinedShape(parts: readonly Value[], axis: number): Shape {
  const [first] = parts;
  return (first?.shape ?? []).map((_, at) => {
    const sizes = parts.map(({ shape }) => shape[at] ?? null);
    const sum = (total: number | null, size: number | null): number | null =>
      total === null || size === null ? null : total + size;
    if (at === axis) return sizes.reduce(sum, 0);
    const known = sizes.filter((size) => size !== null);
    if (known.some((size) => size !== known[0]))
      throw new Error(
        `tensors of ${parts.map(({ shape }) => `[${shape}]`).join(", ")} do not join at ${axis}`,
      );
    return known[0] ?? null;
  });
}

/** The elements of each part, one after the other, as they lie where the parts are joined at their first axis. */
function knownJoint(parts: readonly Value[]): Known | undefined {
  const known = parts.map((part) => {
    const { shape, type } = part;
    const own = knownElements(part);
    if (own || type === "float32" || !isStatic(shape) || sizeOf(shape) > KNOWN_MAX) return own;
    return Array.from({ length: sizeOf(shape) }, () => null);
  });
  const all = known.filter((elements) => elements !== undefined);
  const joint = all.flat();
  return all.length === parts.length && joint.length <= KNOWN_MAX ? joint : undefined;
}

const concat =
  (partsOf: (call: Call) => readonly Value[], axisInput: (call: Call) => number): Operator =>
  (graph, call) => {
    const parts = partsOf(call);
    const rank = parts[0]?.shape.length ?? 0;
    if (parts.some(({ shape }) => shape.length !== rank))
      throw new Error(`${call.op} of tensors of different ranks`);
    return concatenated(graph, parts, axisOf(numberAt(call, axisInput(call), "an axis"), rank));
  };

/** One after the other along a new axis. */
const pack: Operator = (graph, call) => {
  const first = inputAt(call, 0);
  const axis = axisOf(call.attributes.int("axis", 0), first.shape.length + 1);
  const parts = call.inputs.map((part) => unsqueezed(graph, likeFirst(graph, part, first), [axis]));
  return concatenated(graph, parts, axis);
};

/** TF.js packs tensors that differ from the first one only in axes of size 1. */
function likeFirst(graph: Graph, part: Value, first: Value): Value {
  if (part.shape.length === first.shape.length) return part;
  if (!isStatic(first.shape)) throw new NotCovered("Pack of tensors of different ranks");
  return reshaped(graph, part, first.shape);
}

export const JOIN: OperatorTable = {
  Concat: concat(
    ({ inputs }) => inputs.slice(1),
    () => 0,
  ),
  ConcatV2: concat(
    ({ inputs }) => inputs.slice(0, -1),
    ({ inputs }) => inputs.length - 1,
  ),
  Pack: pack,
};
