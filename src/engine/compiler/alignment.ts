/** Brings the operands of an elementwise node into one layout, so that ONNX may stretch them as TF.js does. */
import type { Graph } from "./graph.ts";
import { broadcastShape, isStatic, type Layout, type Shape, type Value } from "./value.ts";

export interface Aligned {
  readonly values: readonly Value[];
  readonly shape: Shape;
  readonly layout: Layout;
}

/**
 * Channels first as soon as one operand of the full rank lies so: convolutions come before and after, and constants
 * cost nothing to reorder.
 */
export function align(graph: Graph, operands: readonly Value[]): Aligned {
  const shape = broadcastShape(operands.map((operand) => operand.shape));
  const isFirst = operands.some(
    (operand) => operand.layout === "channels-first" && operand.shape.length === shape.length,
  );
  if (!isFirst) return { values: operands.map(graph.channelsLast), shape, layout: "channels-last" };
  const values = operands.map((operand) =>
    // One element fits any layout.
    operand.shape.length === 0 ? operand : graph.channelsFirst(raise(graph, operand, shape.length)),
  );
  return { values, shape, layout: "channels-first" };
}

/** Sizes of 1 in front, up to the rank. */
function raise(graph: Graph, value: Value, rank: number): Value {
  const missing = rank - value.shape.length;
  if (missing === 0) return value;
  const last = graph.channelsLast(value);
  const shape = [...Array.from({ length: missing }, () => 1), ...last.shape];
  if (last.constant && isStatic(shape)) return graph.constant(last.type, shape, last.constant);
  const axes = graph.integers(Array.from({ length: missing }, (_, i) => i));
  return graph.node("Unsqueeze", [last, axes], { type: last.type, shape });
}
