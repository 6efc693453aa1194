/** Operators that choose by truth. */
import { align } from "../alignment.ts";
import type { Graph } from "../graph.ts";
import { inputAt, type Operator, type OperatorTable } from "../operator.ts";
import type { Value } from "../value.ts";
import { cast } from "./elementwise.ts";
import { transposed } from "./shape.ts";

/** Of each pair of elements the one of `yes` where the condition holds; all three are stretched to one shape. */
export function selected(graph: Graph, condition: Value, yes: Value, no: Value): Value {
  if (yes.type === "bool") {
    // ONNX Runtime chooses among numbers only.
    const asNumber = (side: Value): Value => cast(graph, side, "int32");
    return cast(graph, selected(graph, condition, asNumber(yes), asNumber(no)), "bool");
  }
  const { values, shape, layout } = align(graph, [cast(graph, condition, "bool"), yes, no]);
  return graph.node("Where", values, { type: yes.type, shape, layout });
}

const select: Operator = (graph, call) =>
  selected(graph, inputAt(call, 0), inputAt(call, 1), inputAt(call, 2));

/** The indices of all elements that hold, in their order: [count, rank]. */
const where: Operator = (graph, call) => {
  const condition = graph.channelsLast(inputAt(call, 0));
  const rank = condition.shape.length;
  const indices = graph.node("NonZero", [cast(graph, condition, "bool")], {
    type: "int64",
    shape: [rank, null],
  });
  return cast(graph, transposed(graph, indices, [1, 0]), "int32");
};

export const SELECT: OperatorTable = { Select: select, SelectV2: select, Where: where };
