/** Comparisons, and logic on what these give. */
import { inputAt, type Operator, type OperatorTable } from "../operator.ts";
import { NotCovered } from "../value.ts";
import { knownResult } from "./arithmetic.ts";
import { broadcast, cast, matchTypes, unary } from "./elementwise.ts";
import { followed } from "./whole-numbers.ts";

/** Truth values count as 0 and 1. */
const comparison =
  (op: string, compute: (a: number, b: number) => boolean, isNegated = false): Operator =>
  (graph, call) => {
    const [a, b] = matchTypes(graph, inputAt(call, 0), inputAt(call, 1));
    const operands = a.type === "bool" ? [a, b].map((value) => cast(graph, value, "int32")) : [a, b];
    const known = knownResult(operands, (left, right) => Number(compute(left, right)));
    return followed(graph, known, () => {
      const compared = broadcast(graph, op, operands, { type: "bool" });
      return isNegated ? unary(graph, "Not", compared) : compared;
    });
  };

const logical =
  (op: string): Operator =>
  (graph, call) => {
    const operands = call.inputs.map((input) => {
      // TF.js refuses these too.
      if (input.type !== "bool") throw new NotCovered(`${call.op} of ${input.type}`);
      return input;
    });
    return broadcast(graph, op, operands, { type: "bool" });
  };

export const COMPARISON: OperatorTable = {
  Equal: comparison("Equal", (a, b) => a === b),
  NotEqual: comparison("Equal", (a, b) => a !== b, true),
  Less: comparison("Less", (a, b) => a < b),
  LessEqual: comparison("LessOrEqual", (a, b) => a <= b),
  Greater: comparison("Greater", (a, b) => a > b),
  GreaterEqual: comparison("GreaterOrEqual", (a, b) => a >= b),
  LogicalAnd: logical("And"),
  LogicalOr: logical("Or"),
  LogicalNot: logical("Not"),
};
