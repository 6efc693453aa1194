/** Activations by the names that Keras has for them, and the layers that are nothing else. */
import type { Graph } from "../graph.ts";
import { leakyRelu, prelu } from "../operators/activation.ts";
import { broadcast, cast, clip, unary } from "../operators/elementwise.ts";
import { softmax } from "../operators/normalize.ts";
import { axisOf, NotCovered, type Value } from "../value.ts";
import { floatInputOf, type LayerCall, type LayerTable } from "./layer.ts";

type Activation = (graph: Graph, x: Value) => Value;

const same =
  (op: string): Activation =>
  (graph, x) =>
    unary(graph, op, x);

const swish: Activation = (graph, x) => broadcast(graph, "Mul", [unary(graph, "Sigmoid", x), x]);

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  linear: (_, x) => x,
  relu: same("Relu"),
  relu6: (graph, x) => clip(graph, x, 0, 6),
  elu: same("Elu"),
  selu: same("Selu"),
  sigmoid: same("Sigmoid"),
  softplus: same("Softplus"),
  softsign: same("Softsign"),
  tanh: same("Tanh"),
  // max(0, min(1, 0.2 x + 0.5)), which are ONNX's defaults too.
  hard_sigmoid: same("HardSigmoid"),
  softmax: (graph, x) => softmax(graph, x),
  log_softmax: (graph, x) => softmax(graph, x, -1, "LogSoftmax"),
  swish,
  silu: swish,
  mish: (graph, x) => broadcast(graph, "Mul", [x, unary(graph, "Tanh", unary(graph, "Softplus", x))]),
  gelu,
};

/** x Φ(x), Φ the normal distribution's cumulative function, by the error function. */
function gelu(graph: Graph, x: Value): Value {
  const erf = unary(graph, "Erf", broadcast(graph, "Div", [x, graph.scalar(Math.SQRT2)]));
  const twice = broadcast(graph, "Add", [erf, graph.scalar(1)]);
  return broadcast(graph, "Mul", [broadcast(graph, "Mul", [x, twice]), graph.scalar(0.5)]);
}

/** @throws NotCovered for an activation of another name, or with settings of its own */
export function activated(graph: Graph, x: Value, { className, config }: LayerCall): Value {
  if (!config.has("activation")) return x;
  const name = config.raw("activation");
  const activation =
    typeof name === "string" && Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (!activation)
    throw new NotCovered(`${className} with the activation ${JSON.stringify(name).slice(0, 80)}`);
  return activation(graph, x);
}

/** A setting of Keras that TF.js passes over. */
function refuse({ className, config }: LayerCall, name: string, neutral: number): void {
  if (config.number(name, neutral) !== neutral) throw new NotCovered(`${className} with ${name}`);
}

export const ACTIVATION: LayerTable = {
  Activation: (graph, call) => activated(graph, floatInputOf(call), call),
  ReLU: (graph, call) => {
    const x = floatInputOf(call);
    refuse(call, "negative_slope", 0);
    refuse(call, "threshold", 0);
    return call.config.has("max_value")
      ? clip(graph, x, 0, call.config.number("max_value"))
      : unary(graph, "Relu", x);
  },
  LeakyReLU: (graph, call) => leakyRelu(graph, floatInputOf(call), call.config.number("alpha", 0.3)),
  PReLU: (graph, call) => {
    const x = floatInputOf(call);
    const shared = call.config.ints("shared_axes", []);
    const shape = x.shape.slice(1).map((size, i) => (shared.includes(i + 1) ? 1 : size));
    if (shape.includes(null)) throw new Error("PReLU with a slope of unknown size");
    return prelu(graph, x, call.weight("alpha", shape));
  },
  ELU: (graph, call) => {
    refuse(call, "alpha", 1);
    return unary(graph, "Elu", floatInputOf(call));
  },
  ThresholdedReLU: (graph, call) => {
    const x = floatInputOf(call);
    const theta = graph.scalar(call.config.number("theta", 1));
    const isAbove = broadcast(graph, "Greater", [x, theta], { type: "bool" });
    return broadcast(graph, "Mul", [x, cast(graph, isAbove, "float32")]);
  },
  Softmax: (graph, call) => {
    const x = floatInputOf(call);
    const rank = x.shape.length;
    // 1 is TF.js's own default, where Keras has -1.
    const axes = call.config.ints("axis", [1]);
    if (axes.length !== 1 || axisOf(axes[0] ?? 1, rank) !== rank - 1)
      throw new NotCovered(`Softmax along the axis ${axes} of a tensor of rank ${rank}`);
    return softmax(graph, x);
  },
};
