/** Layers that normalise. */
import type { Graph } from "../graph.ts";
import { broadcast } from "../operators/elementwise.ts";
import { axisInMemory, axisOf, NotCovered, type Value } from "../value.ts";
import { floatInputOf, type LayerCall, type LayerTable } from "./layer.ts";

/**
 * (x − mean) · γ / √(variance + ε) + β for each index of one axis, with the mean and the variance of the training.
 * As a node of its own where the axis is ONNX's, so that ONNX Runtime draws it into the convolution before.
 */
function batchNormalization(graph: Graph, call: LayerCall): Value {
  const x = floatInputOf(call, [2, 3, 4]);
  const { config } = call;
  const rank = x.shape.length;
  const [first = -1, ...others] = config.ints("axis", [-1]);
  if (others.length > 0) throw new NotCovered("BatchNormalization along several axes");
  const axis = axisOf(first, rank);
  const size = x.shape[axis] ?? null;
  if (size === null) throw new Error("BatchNormalization along an axis of unknown size");
  const filled = (value: number) => graph.constant("float32", [size], new Float32Array(size).fill(value));
  const parameters = [
    config.bool("scale", true) ? call.weight("gamma", [size]) : filled(1),
    config.bool("center", true) ? call.weight("beta", [size]) : filled(0),
    call.weight("moving_mean", [size]),
    call.weight("moving_variance", [size]),
  ];
  const epsilon = config.number("epsilon", 1e-3);
  const turned = axis === rank - 1 && rank > 2 ? graph.channelsFirst(x) : x;
  if (axisInMemory(axis, turned) !== 1) return scaled(graph, x, axis, parameters, epsilon);
  return graph.node(
    "BatchNormalization",
    [turned, ...parameters],
    { type: x.type, shape: x.shape, layout: turned.layout },
    { epsilon: { float: epsilon } },
  );
}

/** The same along any axis, as one product and one sum. */
function scaled(graph: Graph, x: Value, axis: number, parameters: readonly Value[], epsilon: number): Value {
  const [gamma, beta, mean, variance] = parameters.map(({ constant }) => Array.from(constant ?? [], Number));
  const shape = x.shape.map((size, i) => (i === axis ? (size ?? 1) : 1));
  const factors = Float32Array.from(gamma ?? [], (g, c) => g / Math.sqrt((variance?.[c] ?? 0) + epsilon));
  const offsets = Float32Array.from(beta ?? [], (b, c) => b - (mean?.[c] ?? 0) * (factors[c] ?? 0));
  const product = broadcast(graph, "Mul", [x, graph.constant("float32", shape, factors)]);
  return broadcast(graph, "Add", [product, graph.constant("float32", shape, offsets)]);
}

export const NORMALIZATION: LayerTable = { BatchNormalization: batchNormalization };
