/** Arithmetic of two tensors that are stretched to one shape, and followed where it computes sizes. */
import type { Graph } from "../graph.ts";
import { type Call, inputAt, type Operator, type OperatorTable } from "../operator.ts";
import { knownElements, NotCovered, type Value } from "../value.ts";
import { broadcast, cast, matchTypes, unary } from "./elementwise.ts";
import { hardSigmoid, noteSum, onlyNumber } from "./hard-sigmoid.ts";
import { followed, type Known } from "./whole-numbers.ts";

/** Both inputs, as numbers of one type. */
function operandsOf(graph: Graph, call: Call): readonly [Value, Value] {
  const operands = matchTypes(graph, inputAt(call, 0), inputAt(call, 1));
  if (operands[0].type === "bool") throw new NotCovered(`${call.op} of bool`);
  return operands;
}

type Compute = (a: number, b: number) => number;

/** What a small whole-number node gives, as far as its inputs are known: sizes are computed like this. */
export function knownResult(operands: readonly Value[], compute: Compute): Known | undefined {
  const [a, b] = operands.map((operand) =>
    operand.type === "float32" || operand.shape.length > 1 ? undefined : knownElements(operand),
  );
  if (!a || !b) return undefined;
  const length = a.length === 1 ? b.length : a.length;
  if ([a, b].some((side) => side.length !== length && side.length !== 1)) return undefined;
  return Array.from({ length }, (_, i) => {
    const [left, right] = [a, b].map((side) => side[side.length === 1 ? 0 : i] ?? null);
    // As an int32 holds it: cut off, and nothing where there is no number.
    return left == null || right == null ? null : Math.trunc(compute(left, right)) | 0;
  });
}

const arithmetic =
  (op: string, compute: Compute): Operator =>
  (graph, call) => {
    const operands = operandsOf(graph, call);
    return followed(graph, knownResult(operands, compute), () => broadcast(graph, op, operands));
  };

const addition: Operator = (graph, call) => {
  const operands = operandsOf(graph, call);
  const known = knownResult(operands, (a, b) => a + b);
  return noteSum(
    followed(graph, known, () => broadcast(graph, "Add", operands)),
    operands,
  );
};

const multiplication: Operator = (graph, call) => {
  const operands = operandsOf(graph, call);
  const [a, b] = operands;
  const known = knownResult(operands, (left, right) => left * right);
  return (
    hardSigmoid(graph, a, onlyNumber(b)) ??
    hardSigmoid(graph, b, onlyNumber(a)) ??
    followed(graph, known, () => broadcast(graph, "Mul", operands))
  );
};

/** Truth values count as 0 and 1. */
const extreme =
  (op: string, compute: Compute): Operator =>
  (graph, call) => {
    const [a, b] = matchTypes(graph, inputAt(call, 0), inputAt(call, 1));
    const operands = a.type === "bool" ? [a, b].map((value) => cast(graph, value, "int32")) : [a, b];
    return followed(graph, knownResult(operands, compute), () => broadcast(graph, op, operands));
  };

/** Downwards, as TF.js divides whole numbers by any of its divisions. */
const floorDivision: Compute = (a, b) => Math.floor(a / b);

const division: Operator = (graph, call) => {
  const operands = operandsOf(graph, call);
  const [a, b] = operands;
  if (a.type === "float32")
    return hardSigmoid(graph, a, 1 / (onlyNumber(b) ?? 0)) ?? broadcast(graph, "Div", operands);
  return followed(graph, knownResult(operands, floorDivision), () =>
    wholeDivision(graph, operands, (a, b) =>
      broadcast(graph, "Div", [broadcast(graph, "Sub", [a, broadcast(graph, "Mod", [a, b])]), b]),
    ),
  );
};

/** TensorFlow and TF.js' native backends give float32 for float32; its plain one alone gives int32. */
const floorDiv: Operator = (graph, call) => {
  const operands = operandsOf(graph, call);
  if (operands[0].type !== "float32") return division(graph, call);
  return unary(graph, "Floor", broadcast(graph, "Div", operands));
};

/**
 * Divides as int64, since a processor stops the whole process at −2³¹ / −1 in 32 bits, and at any division of whole
 * numbers by zero: there TF.js gives 0.
 */
function wholeDivision(
  graph: Graph,
  [a, b]: readonly [Value, Value],
  divide: (a: Value, b: Value) => Value,
): Value {
  const [left, right] = [cast(graph, a, "int64"), cast(graph, b, "int64")];
  if (b.constant && !Array.from(b.constant, Number).includes(0))
    return cast(graph, divide(left, right), "int32");
  const [zero, one] = [graph.scalar(0, "int64"), graph.scalar(1, "int64")];
  const isZero = broadcast(graph, "Equal", [right, zero], { type: "bool" });
  const divided = divide(left, broadcast(graph, "Where", [isZero, one, right]));
  return cast(graph, broadcast(graph, "Where", [isZero, zero, divided]), "int32");
}

/** The remainder with the divisor's sign. ONNX has that for whole numbers alone. */
const modulo: Operator = (graph, call) => {
  const operands = operandsOf(graph, call);
  const [a, b] = operands;
  if (a.type !== "float32") {
    const known = knownResult(operands, (left, right) => ((left % right) + right) % right);
    return followed(graph, known, () =>
      wholeDivision(graph, operands, (left, right) => broadcast(graph, "Mod", [left, right])),
    );
  }
  const zero = graph.scalar(0);
  const remainder = (left: Value): Value => broadcast(graph, "Mod", [left, b], { attributes: { fmod: 1 } });
  const rest = remainder(a);
  const differ = broadcast(
    graph,
    "Xor",
    [
      broadcast(graph, "Less", [a, zero], { type: "bool" }),
      broadcast(graph, "Less", [b, zero], { type: "bool" }),
    ],
    { type: "bool" },
  );
  return broadcast(graph, "Where", [differ, remainder(broadcast(graph, "Add", [rest, b])), rest]);
};

/** Nothing where the divisor is zero. */
const divideNoNan: Operator = (graph, call) => {
  const operands = operandsOf(graph, call);
  const [a, b] = operands;
  if (a.type !== "float32") return division(graph, call);
  const zero = graph.scalar(0);
  const isZero = broadcast(graph, "Equal", [b, zero], { type: "bool" });
  return broadcast(graph, "Where", [isZero, zero, broadcast(graph, "Div", operands)]);
};

/** The angle of the point (x, y), of the inputs y and x. ONNX has the tangent's inverse of one input alone. */
const atan2: Operator = (graph, call) => {
  const operands = operandsOf(graph, call);
  const [y, x] = operands;
  if (y.type !== "float32") throw new NotCovered(`${call.op} of ${y.type}`);
  const zero = graph.scalar(0);
  const isBelow = (value: Value): Value => broadcast(graph, "Less", [value, zero], { type: "bool" });
  // A zero has a sign too, and its reciprocal shows it.
  const isNegative = (value: Value): Value =>
    broadcast(graph, "Or", [isBelow(value), isBelow(unary(graph, "Reciprocal", value))]);
  const isLevel = broadcast(graph, "Equal", [y, zero], { type: "bool" });
  const slope = broadcast(graph, "Where", [isLevel, y, broadcast(graph, "Div", operands)]);
  const half = broadcast(graph, "Where", [isNegative(y), graph.scalar(-Math.PI), graph.scalar(Math.PI)]);
  const turn = broadcast(graph, "Where", [isNegative(x), half, zero]);
  return broadcast(graph, "Add", [unary(graph, "Atan", slope), turn]);
};

const sum: Operator = (graph, { inputs, op }) => {
  const [first, ...rest] = inputs;
  if (!first) throw new Error(`${op} has no input`);
  return rest.reduce((total, next) => broadcast(graph, "Add", [total, next]), first);
};

const squaredDifference: Operator = (graph, call) => {
  const difference = broadcast(graph, "Sub", operandsOf(graph, call));
  return broadcast(graph, "Mul", [difference, difference]);
};

const power: Operator = (graph, call) => broadcast(graph, "Pow", operandsOf(graph, call));

export const ARITHMETIC: OperatorTable = {
  Add: addition,
  AddV2: addition,
  AddN: sum,
  Sub: arithmetic("Sub", (a, b) => a - b),
  Mul: multiplication,
  RealDiv: division,
  Div: division,
  DivNoNan: divideNoNan,
  FloorDiv: floorDiv,
  Mod: modulo,
  FloorMod: modulo,
  Maximum: extreme("Max", Math.max),
  Minimum: extreme("Min", Math.min),
  Pow: power,
  SquaredDifference: squaredDifference,
  Atan2: atan2,
};
