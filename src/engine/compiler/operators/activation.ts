/** Activations that TensorFlow's optimizer draws into a convolution or a matrix product. */
import type { Graph } from "../graph.ts";
import { type Call, inputAt } from "../operator.ts";
import { NotCovered, type Value } from "../value.ts";
import { broadcast, clip, unary } from "./elementwise.ts";

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
