/** Activations that TensorFlow's optimizer draws into a convolution or a matrix product. */
import type { Graph } from "../graph.ts";
import { type Call, inputAt, type OperatorTable } from "../operator.ts";
import { NotCovered, type Value } from "../value.ts";
import { broadcast, cast, clip, float32At, unary } from "./elementwise.ts";

/** @param names what is left of `fused_ops` after the bias: nothing, or one activation */
export function activated(graph: Graph, x: Value, names: readonly string[], call: Call): Value {
  const [name, ...more] = names;
  if (more.length > 0) throw new NotCovered(`${call.op} with ${names.join(" and ")}`);
  switch (name) {
    case undefined:
      return x;
    case "Relu":
    case "Elu":
    case "Sigmoid":
    case "Tanh":
      return unary(graph, name, x);
    case "Relu6":
      return clip(graph, x, 0, 6);
    case "LeakyRelu":
      // 0.2 in TensorFlow and in TF.js.
      return leakyRelu(graph, x, call.attributes.float("leakyrelu_alpha", 0.2));
    case "Prelu":
      return prelu(graph, x, inputAt(call, 3));
    default:
      throw new NotCovered(`${call.op} with ${name}`);
  }
}

export function leakyRelu(graph: Graph, x: Value, alpha: number): Value {
  return graph.node(
    "LeakyRelu",
    [x],
    { type: x.type, shape: x.shape, layout: x.layout },
    { alpha: { float: alpha } },
  );
}

/** @param slope stretched to x */
export function prelu(graph: Graph, x: Value, slope: Value): Value {
  return broadcast(graph, "PRelu", [x, slope]);
}

/** Neither TensorFlow nor TF.js has these of whole numbers. */
export const ACTIVATION: OperatorTable = {
  LeakyRelu: (graph, call) => leakyRelu(graph, float32At(call), call.attributes.float("alpha", 0.2)),
  Prelu: (graph, call) => prelu(graph, float32At(call), inputAt(call, 1)),
  ClipByValue: (graph, call) => {
    const [x, min, max] = [0, 1, 2].map((index) => inputAt(call, index));
    if (!x || !min || !max) throw new Error(`${call.op} has three inputs`);
    if (x.type === "bool") throw new NotCovered(`${call.op} of bool`);
    if (min.shape.length + max.shape.length > 0)
      throw new NotCovered(`${call.op} with limits for each element`);
    const limits = [min, max].map((limit) => cast(graph, limit, x.type));
    return graph.node("Clip", [x, ...limits], { type: x.type, shape: x.shape, layout: x.layout });
  },
};
