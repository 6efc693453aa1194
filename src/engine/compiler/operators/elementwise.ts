/** Operators that compute each element of one tensor by itself, and what those of several tensors are made of. */
import { align } from "../alignment.ts";
import { type Attributes, DATA_TYPES, type Graph } from "../graph.ts";
import { type Call, inputAt, type Operator, type OperatorTable } from "../operator.ts";
import { type ElementType, knownElements, NotCovered, type Value } from "../value.ts";
import { noteRelu6 } from "./hard-sigmoid.ts";

/** One input; the result is of the same type and shape, or of the type that is given. */
export function unary(graph: Graph, op: string, x: Value, type: ElementType = x.type): Value {
  return graph.node(op, [x], { type, shape: x.shape, layout: x.layout });
}

/** Two or more inputs that are stretched to one shape; the type is the last one's, or the one that is given. */
export function broadcast(
  graph: Graph,
  op: string,
  operands: readonly Value[],
  more: { readonly type?: ElementType; readonly attributes?: Attributes } = {},
): Value {
  const { values, shape, layout } = align(graph, operands);
  const type = more.type ?? operands.at(-1)?.type ?? "float32";
  return graph.node(op, values, { type, shape, layout }, more.attributes);
}

/** Keeps what is below `min` at it, and what is above `max`. */
export function clip(graph: Graph, x: Value, min: number, max: number): Value {
  const limit = (value: number) => (Number.isFinite(value) ? graph.scalar(value, x.type) : undefined);
  return graph.node("Clip", [x, limit(min), limit(max)], { type: x.type, shape: x.shape, layout: x.layout });
}

/** Towards zero from float32 to whole numbers; to bool, whatever is not zero is true. */
export function cast(graph: Graph, x: Value, type: ElementType): Value {
  if (x.type === type) return x;
  // Numbers that become truth values would have to change.
  const known = type === "float32" || type === "bool" ? undefined : knownElements(x);
  const whole = x.type === "float32" ? undefined : known;
  return graph.node(
    "Cast",
    [x],
    { type, shape: x.shape, layout: x.layout, known: whole },
    { to: DATA_TYPES[type] },
  );
}

/** How much a type can hold: TF.js brings two operands to the one that holds more. */
const TYPES: readonly ElementType[] = ["bool", "int32", "int64", "float32"];

/** Both in the type to which TF.js brings them. */
export function matchTypes(graph: Graph, a: Value, b: Value): readonly [Value, Value] {
  const type = TYPES.indexOf(a.type) > TYPES.indexOf(b.type) ? a.type : b.type;
  return [cast(graph, a, type), cast(graph, b, type)];
}

/** The first input, which must be float32: ONNX has these functions for no other numbers, and TF.js refuses most. */
export function float32At(call: Call): Value {
  const x = inputAt(call, 0);
  if (x.type !== "float32") throw new NotCovered(`${call.op} of ${x.type}`);
  return x;
}

/** Float32 or int32; TF.js gives the same type. */
function numberAt(call: Call): Value {
  const x = inputAt(call, 0);
  if (x.type === "bool") throw new NotCovered(`${call.op} of bool`);
  return x;
}

const float =
  (op: string, type?: ElementType): Operator =>
  (graph, call) =>
    unary(graph, op, float32At(call), type);

const numeric =
  (op: string): Operator =>
  (graph, call) =>
    unary(graph, op, numberAt(call));

/** To even where two are as near. Whole numbers are what they are. */
const round: Operator = (graph, call) => {
  const x = numberAt(call);
  return x.type === "float32" ? unary(graph, "Round", x) : x;
};

const exp: Operator = (graph, call) => unary(graph, "Exp", cast(graph, numberAt(call), "float32"));

const square: Operator = (graph, call) => {
  const x = numberAt(call);
  return broadcast(graph, "Mul", [x, x]);
};

const rsqrt: Operator = (graph, call) => unary(graph, "Reciprocal", unary(graph, "Sqrt", float32At(call)));

const relu: Operator = (graph, call) => {
  const x = numberAt(call);
  return x.type === "float32" ? unary(graph, "Relu", x) : clip(graph, x, 0, Number.POSITIVE_INFINITY);
};

/**
 * log(1 + x) that is exact for small x too: the rounding error of u = 1 + x is the same in log(u) as in u − 1, so
 * log(u) · x / (u − 1) is free of it. (W. Kahan's; in N. Higham, Accuracy and Stability of Numerical Algorithms, 1.14.1)
 */
const log1p: Operator = (graph, call) => {
  const x = float32At(call);
  const one = graph.scalar(1);
  const u = broadcast(graph, "Add", [x, one]);
  const log = unary(graph, "Log", u);
  const rounded = broadcast(graph, "Sub", [u, one]);
  const corrected = broadcast(graph, "Mul", [log, broadcast(graph, "Div", [x, rounded])]);
  const isSmall = broadcast(graph, "Less", [unary(graph, "Abs", x), graph.scalar(0.5)], { type: "bool" });
  const isNothing = broadcast(graph, "Equal", [u, one], { type: "bool" });
  return broadcast(graph, "Where", [isNothing, x, broadcast(graph, "Where", [isSmall, corrected, log])]);
};

/** e^x − 1 as (e^x + 1) · tanh(x / 2), which is exact for small x too. */
const expm1: Operator = (graph, call) => {
  const x = float32At(call);
  const half = unary(graph, "Tanh", broadcast(graph, "Mul", [x, graph.scalar(0.5)]));
  return broadcast(graph, "Mul", [broadcast(graph, "Add", [unary(graph, "Exp", x), graph.scalar(1)]), half]);
};

const finite: Operator = (graph, call) => {
  const x = float32At(call);
  const isOther = ["IsNaN", "IsInf"].map((op) => unary(graph, op, x, "bool"));
  return unary(graph, "Not", broadcast(graph, "Or", isOther));
};

export const ELEMENTWISE: OperatorTable = {
  Abs: numeric("Abs"),
  Neg: numeric("Neg"),
  Sign: numeric("Sign"),
  Square: square,
  Sqrt: float("Sqrt"),
  Rsqrt: rsqrt,
  Reciprocal: float("Reciprocal"),
  Exp: exp,
  Expm1: expm1,
  Log: float("Log"),
  Log1p: log1p,
  Erf: float("Erf"),
  Floor: float("Floor"),
  Ceil: float("Ceil"),
  Round: round,
  Sin: float("Sin"),
  Cos: float("Cos"),
  Tan: float("Tan"),
  Asin: float("Asin"),
  Acos: float("Acos"),
  Atan: float("Atan"),
  Sinh: float("Sinh"),
  Cosh: float("Cosh"),
  Tanh: float("Tanh"),
  Asinh: float("Asinh"),
  Acosh: float("Acosh"),
  Atanh: float("Atanh"),
  Sigmoid: float("Sigmoid"),
  Softplus: float("Softplus"),
  Elu: float("Elu"),
  Selu: float("Selu"),
  Relu: relu,
  Relu6: (graph, call) => {
    const x = numberAt(call);
    return noteRelu6(clip(graph, x, 0, 6), x);
  },
  IsNan: float("IsNaN", "bool"),
  IsInf: float("IsInf", "bool"),
  IsFinite: finite,
  // From whatever type the input has come to have in TF.js, which the node's SrcT may not know.
  Cast: (graph, call) => cast(graph, inputAt(call, 0), call.attributes.type("DstT")),
};
