/** Operators that bring a tensor's elements to a common scale. */
import { elementsOf, type Graph } from "../graph.ts";
import { inputAt, type Operator, type OperatorTable } from "../operator.ts";
import { axisInMemory, axisOf, NotCovered, type Value } from "../value.ts";
import { channelsLastOnly } from "./data-format.ts";
import { float32At } from "./elementwise.ts";

/** e^x over its sum along the axis, or the logarithm of that. */
export function softmax(graph: Graph, x: Value, axis = -1, op: "Softmax" | "LogSoftmax" = "Softmax"): Value {
  const counted = axisOf(axis, x.shape.length);
  return graph.node(
    op,
    [x],
    { type: x.type, shape: x.shape, layout: x.layout },
    { axis: axisInMemory(counted, x) },
  );
}

export interface Normalization {
  /** All of [channels]. */
  readonly mean: Value;
  readonly variance: Value;
  /** Default: ones. */
  readonly scale?: Value | undefined;
  /** Default: zeros. */
  readonly offset?: Value | undefined;
  readonly epsilon: number;
}

/**
 * `(x − mean) / √(variance + epsilon) · scale + offset`, for each channel. ONNX Runtime draws it into the convolution
 * before it.
 *
 * @param x [rows, …, channels], of rank 2 or more
 */
export function batchNormalization(graph: Graph, x: Value, options: Normalization): Value {
  const { mean, variance, epsilon } = options;
  const channels = mean.shape[0] ?? null;
  const filled = (value: number): Value => {
    if (channels === null) throw new NotCovered("a batch normalization of channels that only a run counts");
    return graph.constant("float32", [channels], elementsOf("float32", Array(channels).fill(value)));
  };
  const { scale = filled(1), offset = filled(0) } = options;
  // ONNX takes the second axis for the channels; of two axes this is the last one too.
  const isMatrix = x.shape.length === 2;
  return graph.node(
    "BatchNormalization",
    [isMatrix ? x : graph.channelsFirst(x), scale, offset, mean, variance],
    { type: x.type, shape: x.shape, layout: isMatrix ? "channels-last" : "channels-first" },
    { epsilon: { float: epsilon } },
  );
}

/** Its first output; TF.js has no other, and takes the given mean and variance when training too. */
const fusedBatchNorm: Operator = (graph, call) => {
  channelsLastOnly(call);
  const [x, scale, offset, mean, variance] = [0, 1, 2, 3, 4].map((index) => inputAt(call, index));
  if (!x || !mean || !variance) throw new Error(`${call.op} has five inputs`);
  if (x.type !== "float32") throw new NotCovered(`${call.op} of ${x.type}`);
  const epsilon = call.attributes.float("epsilon", 0.001);
  return batchNormalization(graph, x, { scale, offset, mean, variance, epsilon });
};

/** Each element by the squares of those around it in the next channels; ONNX's alpha is for their mean. */
const localResponse: Operator = (graph, call) => {
  const x = float32At(call);
  if (x.shape.length !== 4) throw new NotCovered(`${call.op} of rank ${x.shape.length}`);
  const { attributes } = call;
  const size = 2 * attributes.int("depth_radius", 5) + 1;
  return graph.node(
    "LRN",
    [graph.channelsFirst(x)],
    { type: x.type, shape: x.shape, layout: "channels-first" },
    {
      size,
      alpha: { float: attributes.float("alpha", 1) * size },
      beta: { float: attributes.float("beta", 0.5) },
      bias: { float: attributes.float("bias", 1) },
    },
  );
};

export const NORMALIZE: OperatorTable = {
  Softmax: (graph, call) => softmax(graph, float32At(call)),
  LogSoftmax: (graph, call) => softmax(graph, float32At(call), -1, "LogSoftmax"),
  FusedBatchNorm: fusedBatchNorm,
  FusedBatchNormV2: fusedBatchNorm,
  FusedBatchNormV3: fusedBatchNorm,
  LRN: localResponse,
};
