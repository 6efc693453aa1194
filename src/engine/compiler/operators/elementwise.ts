/** Operators that compute each element by itself. */
import { align } from "../alignment.ts";
import type { Graph, Result } from "../graph.ts";
import { inputAt, type Operator, type OperatorTable } from "../operator.ts";
import { type ElementType, knownElements, NotCovered, type Value } from "../value.ts";

/** One input; the result is of the same type and shape, or of the type that is given. */
export function unary(graph: Graph, op: string, x: Value, type: ElementType = x.type): Value {
  return graph.node(op, [x], { type, shape: x.shape, layout: x.layout });
}

/** Two or more inputs that are stretched to one shape. */
export function broadcast(
  graph: Graph,
  op: string,
  operands: readonly Value[],
  more: { readonly type?: ElementType | undefined; readonly known?: Result["known"] } = {},
): Value {
  const { values, shape, layout } = align(graph, operands);
  const type = more.type ?? operands[0]?.type ?? "float32";
  return graph.node(op, values, { type, shape, layout, known: more.known });
}

/** Keeps what is below `min` at it, and what is above `max`. */
export function clip(graph: Graph, x: Value, min: number, max: number): Value {
  const limit = (value: number) => (Number.isFinite(value) ? graph.scalar(value, x.type) : undefined);
  return graph.node("Clip", [x, limit(min), limit(max)], { type: x.type, shape: x.shape, layout: x.layout });
}

const same =
  (op: string): Operator =>
  (graph, call) =>
    unary(graph, op, inputAt(call, 0));

const arithmetic =
  (op: string, compute?: (a: number, b: number) => number): Operator =>
  (graph, call) => {
    const operands = [inputAt(call, 0), inputAt(call, 1)];
    return broadcast(graph, op, operands, { known: compute && knownResult(operands, compute) });
  };

const comparison =
  (op: string): Operator =>
  (graph, call) =>
    broadcast(graph, op, [inputAt(call, 0), inputAt(call, 1)], { type: "bool" });

/** What a small whole-number node gives, as far as its inputs are known: sizes are computed like this. */
function knownResult(
  operands: readonly Value[],
  compute: (a: number, b: number) => number,
): readonly (number | null)[] | undefined {
  const [a, b] = operands.map((operand) =>
    operand.type === "float32" || operand.shape.length > 1 ? undefined : knownElements(operand),
  );
  if (!a || !b) return undefined;
  const length = Math.max(a.length, b.length);
  if ([a, b].some((side) => side.length !== length && side.length !== 1)) return undefined;
  return Array.from({ length }, (_, i) => {
    const [left, right] = [a, b].map((side) => side[side.length === 1 ? 0 : i] ?? null);
    return left == null || right == null ? null : Math.trunc(compute(left, right));
  });
}

/** ONNX's Div of whole numbers cuts off; TensorFlow's FloorDiv goes down. */
const floorDivision: Operator = (graph, call) => {
  const operands = [inputAt(call, 0), inputAt(call, 1)];
  const known = knownResult(operands, (a, b) => Math.floor(a / b));
  if (operands[0]?.type === "float32") return unary(graph, "Floor", broadcast(graph, "Div", operands));
  const asFloat = operands.map((operand) => cast(graph, operand, "float32"));
  const floored = unary(graph, "Floor", broadcast(graph, "Div", asFloat));
  return { ...cast(graph, floored, operands[0]?.type ?? "int32"), ...(known && { known }) };
};

export function cast(graph: Graph, x: Value, type: ElementType): Value {
  if (x.type === type) return x;
  const known = type === "float32" ? undefined : knownElements(x);
  return graph.node(
    "Cast",
    [x],
    { type, shape: x.shape, layout: x.layout, known },
    { to: TYPE_NUMBERS[type] },
  );
}

/** TensorProto.DataType. */
const TYPE_NUMBERS: Readonly<Record<ElementType, number>> = { float32: 1, int32: 6, int64: 7, bool: 9 };

const sum: Operator = (graph, { inputs, op }) => {
  const [first, ...rest] = inputs;
  if (!first) throw new Error(`${op} has no input`);
  return rest.reduce((total, next) => broadcast(graph, "Add", [total, next]), first);
};

const square: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  return broadcast(graph, "Mul", [x, x]);
};

const squaredDifference: Operator = (graph, call) => {
  const difference = broadcast(graph, "Sub", [inputAt(call, 0), inputAt(call, 1)]);
  return broadcast(graph, "Mul", [difference, difference]);
};

const rsqrt: Operator = (graph, call) => unary(graph, "Reciprocal", unary(graph, "Sqrt", inputAt(call, 0)));

export const ELEMENTWISE: OperatorTable = {
  Abs: same("Abs"),
  Add: arithmetic("Add", (a, b) => a + b),
  AddV2: arithmetic("Add", (a, b) => a + b),
  AddN: sum,
  Sub: arithmetic("Sub", (a, b) => a - b),
  Mul: arithmetic("Mul", (a, b) => a * b),
  RealDiv: arithmetic("Div"),
  Div: arithmetic("Div"),
  FloorDiv: floorDivision,
  Maximum: arithmetic("Max", Math.max),
  Minimum: arithmetic("Min", Math.min),
  Square: square,
  SquaredDifference: squaredDifference,
  Rsqrt: rsqrt,
  Sqrt: same("Sqrt"),
  Exp: same("Exp"),
  Log: same("Log"),
  Neg: same("Neg"),
  Sigmoid: same("Sigmoid"),
  Tanh: same("Tanh"),
  Relu: same("Relu"),
  Relu6: (graph, call) => clip(graph, inputAt(call, 0), 0, 6),
  Greater: comparison("Greater"),
  Less: comparison("Less"),
  Equal: comparison("Equal"),
  Cast: (graph, call) => {
    const x = inputAt(call, 0);
    const type = call.attributes.type("DstT");
    if (call.attributes.type("SrcT", x.type) !== x.type && x.type !== "int64")
      throw new NotCovered("Cast of another type than its input has");
    return cast(graph, x, type);
  },
};
