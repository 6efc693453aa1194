/** Products of matrices, and sums over products of tensors. */
import type { Graph } from "../graph.ts";
import { inputAt, type Operator, type OperatorTable } from "../operator.ts";
import { broadcastShape, NotCovered, type Shape, type Value } from "../value.ts";
import { activated } from "./activation.ts";
import { broadcast, matchTypes } from "./elementwise.ts";

export interface ProductOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Added to each row. */
  readonly bias?: Value | undefined;
}

/** @param a [..., n, k] @param b [..., k, m], and what is before these is stretched to one shape */
export function matrixProduct(graph: Graph, a: Value, b: Value, options: ProductOptions = {}): Value {
  const { transposeA = false, transposeB = false, bias } = options;
  if (a.shape.length < 2 || b.shape.length < 2)
    throw new Error(`[${a.shape}] and [${b.shape}] are not both matrices`);
  const [left, right] = [graph.channelsLast(a), graph.channelsLast(b)];
  const [n, k] = sidesOf(left.shape, transposeA);
  const [inner, m] = sidesOf(right.shape, transposeB);
  if (k !== null && inner !== null && k !== inner)
    throw new Error(`matrices of [${a.shape}] and [${b.shape}] do not fit together`);
  const shape = [...broadcastShape([left.shape.slice(0, -2), right.shape.slice(0, -2)]), n, m];
  const { type } = left;
  if (shape.length === 2 && bias && type === "float32")
    return graph.node(
      "Gemm",
      [left, right, graph.channelsLast(bias)],
      { type, shape },
      { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0 },
    );
  const product = graph.node(
    "MatMul",
    [transposeA ? turned(graph, left) : left, transposeB ? turned(graph, right) : right],
    { type, shape },
  );
  return bias ? broadcast(graph, "Add", [product, bias]) : product;
}

function sidesOf(shape: Shape, isTransposed: boolean): readonly [number | null, number | null] {
  const [rows = null, columns = null] = shape.slice(-2);
  return isTransposed ? [columns, rows] : [rows, columns];
}

/** The last two axes changed for one another. ONNX Runtime draws this into the product. */
function turned(graph: Graph, x: Value): Value {
  const order = x.shape.map((_, axis) => axis);
  return graph.transpose(x, [...order.slice(0, -2), ...order.slice(-2).reverse()]);
}

const product =
  (names: readonly [string, string]): Operator =>
  (graph, call) => {
    const [a, b] = matchTypes(graph, inputAt(call, 0), inputAt(call, 1));
    if (a.type === "bool") throw new NotCovered(`${call.op} of bool`);
    const [transposeA, transposeB] = names.map((name) => call.attributes.bool(name, false));
    return matrixProduct(graph, a, b, { transposeA: transposeA === true, transposeB: transposeB === true });
  };

/** A product with what TensorFlow's optimizer drew into it: a bias, and an activation. */
const fused: Operator = (graph, call) => {
  const names = call.attributes.texts("fused_ops", []);
  const [first, ...rest] = names;
  if (first !== "BiasAdd") throw new NotCovered(`${call.op} with ${names.join(" and ") || "nothing"}`);
  const result = matrixProduct(graph, inputAt(call, 0), inputAt(call, 1), {
    transposeA: call.attributes.bool("transpose_a", false),
    transposeB: call.attributes.bool("transpose_b", false),
    bias: inputAt(call, 2),
  });
  return activated(graph, result, rest, call);
};

/** Sums over products, as an equation such as `ij,jk->ik` writes them. TF.js has no `...` in these. */
const einsum: Operator = (graph, call) => {
  const equation = call.attributes.text("equation").replaceAll(" ", "");
  const [terms = "", result, ...more] = equation.split("->");
  const labels = terms.split(",");
  if (result === undefined || more.length > 0 || labels.length !== call.inputs.length)
    throw new Error(`${equation} is no equation of ${call.inputs.length} tensors`);
  if (!/^[a-zA-Z,]*$/.test(terms + result)) throw new NotCovered(`${call.op} of ${equation}`);
  const sizes = new Map<string, number | null>();
  const inputs = call.inputs.map((input, i) => {
    if (input.shape.length !== labels[i]?.length)
      throw new Error(`a tensor of [${input.shape}] does not fit ${equation}`);
    for (const [axis, label] of [...labels[i]].entries())
      sizes.set(label, input.shape[axis] ?? sizes.get(label) ?? null);
    return graph.channelsLast(input);
  });
  const shape = [...result].map((label) => sizes.get(label) ?? null);
  return graph.node("Einsum", inputs, { type: inputs[0]?.type ?? "float32", shape }, { equation });
};

export const MATRIX: OperatorTable = {
  MatMul: product(["transpose_a", "transpose_b"]),
  BatchMatMul: product(["adj_x", "adj_y"]),
  BatchMatMulV2: product(["adj_x", "adj_y"]),
  _FusedMatMul: fused,
  Einsum: einsum,
};
