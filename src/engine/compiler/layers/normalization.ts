/** Layers that normalise. */
import type { Graph } from "../graph.ts";
import { axesOf } from "../graph-def.ts";
import { broadcast, unary } from "../operators/elementwise.ts";
import { batchNormalization, type Normalization } from "../operators/normalize.ts";
import { reduce } from "../operators/reduce.ts";
import { reshaped } from "../operators/shape.ts";
import { axisOf, isStatic, NotCovered, sizeOf, type Value } from "../value.ts";
import { floatInputOf, type LayerCall, type LayerTable } from "./layer.ts";

/**
 * (x − mean) · γ / √(variance + ε) + β for each index of one axis, with the mean and the variance of the training.
 * Along the channels ONNX Runtime draws it into the convolution before.
 */
function batchNorm(graph: Graph, call: LayerCall): Value {
  const x = floatInputOf(call, [2, 3, 4]);
  const { config } = call;
  const [first = -1, ...others] = config.ints("axis", [-1]);
  if (others.length > 0) throw new NotCovered("BatchNormalization along several axes");
  const axis = axisOf(first, x.shape.length);
  const size = x.shape[axis] ?? null;
  if (size === null) throw new Error("BatchNormalization along an axis of unknown size");
  const normalization: Normalization = {
    mean: call.weight("moving_mean", [size]),
    variance: call.weight("moving_variance", [size]),
    scale: config.bool("scale", true) ? call.weight("gamma", [size]) : undefined,
    offset: config.bool("center", true) ? call.weight("beta", [size]) : undefined,
    epsilon: config.number("epsilon", 1e-3),
  };
  return axis === x.shape.length - 1
    ? batchNormalization(graph, x, normalization)
    : scaled(graph, x, axis, size, normalization);
}

/** The same along another axis, as Keras has it: TF.js' own backends in JavaScript take the last axis all the same. */
function scaled(graph: Graph, x: Value, axis: number, size: number, normalization: Normalization): Value {
  const { mean, variance, scale, offset, epsilon } = normalization;
  const element = (value: Value | undefined, i: number, none: number): number =>
    Number(value?.constant?.[i] ?? none);
  const indices = Array.from({ length: size }, (_, i) => i);
  const factors = Float32Array.from(
    indices,
    (i) => element(scale, i, 1) / Math.sqrt(element(variance, i, 1) + epsilon),
  );
  const offsets = Float32Array.from(
    indices,
    (i) => element(offset, i, 0) - element(mean, i, 0) * (factors[i] ?? 1),
  );
  const shape = x.shape.map((_, i) => (i === axis ? size : 1));
  const product = broadcast(graph, "Mul", [x, graph.constant("float32", shape, factors)]);
  return broadcast(graph, "Add", [product, graph.constant("float32", shape, offsets)]);
}

/** The same, with the mean and the variance of each row of the input itself, over some of its axes. */
function layerNormalization(graph: Graph, call: LayerCall): Value {
  const x = floatInputOf(call, [2, 3, 4]);
  const { config } = call;
  const axes = axesOf(config.ints("axis", [-1]), x.shape.length);
  // TF.js lays out the parameters in the order in which the axes are listed.
  if (axes.some((axis, i) => axis <= (axes[i - 1] ?? -1)))
    throw new NotCovered(`LayerNormalization along the axes ${axes}`);
  const sizes = axes.map((axis) => x.shape[axis] ?? null);
  if (!isStatic(sizes)) throw new Error("LayerNormalization along an axis of unknown size");
  const epsilon = config.number("epsilon", 1e-3);
  const gamma = config.bool("scale", true) ? call.weight("gamma", sizes) : undefined;
  const beta = config.bool("center", true) ? call.weight("beta", sizes) : undefined;
  const isTrailing = axes[0] === x.shape.length - axes.length;
  if (isTrailing) {
    const ones = () => graph.constant("float32", sizes, new Float32Array(sizeOf(sizes)).fill(1));
    return graph.node(
      "LayerNormalization",
      [graph.channelsLast(x), gamma ?? ones(), beta],
      { type: x.type, shape: x.shape },
      { axis: axes[0], epsilon: { float: epsilon } },
    );
  }
  const spread = x.shape.map((size, axis) => (axes.includes(axis) ? size : 1));
  const mean = (value: Value): Value => reduce(graph, "ReduceMean", value, axes, { keepDims: true });
  const centred = broadcast(graph, "Sub", [x, mean(x)]);
  const variance = mean(broadcast(graph, "Mul", [centred, centred]));
  const deviation = unary(graph, "Sqrt", broadcast(graph, "Add", [variance, graph.scalar(epsilon)]));
  const normal = broadcast(graph, "Div", [centred, deviation]);
  const grown = gamma ? broadcast(graph, "Mul", [normal, reshaped(graph, gamma, spread)]) : normal;
  return beta ? broadcast(graph, "Add", [grown, reshaped(graph, beta, spread)]) : grown;
}

export const NORMALIZATION: LayerTable = {
  BatchNormalization: batchNorm,
  LayerNormalization: layerNormalization,
};
