/**
 * What convolutional networks are made of, as the TF.js converter writes it for a Keras model: batch norms folded
 * into weights and biases, biases and activations fused into the convolutions where TensorFlow's kernels take them.
 */
import { attribute, type GraphBuilder } from "../graph.ts";

/** Feature maps: a node, and what is known of its shape [rows, side, side, channels]. */
export interface Maps {
  readonly node: string;
  readonly side: number;
  readonly channels: number;
}

export interface Convolution {
  readonly kernel: number;
  readonly stride: 1 | 2;
  /** Fused after the bias. */
  readonly relu: boolean;
  /** What the weights make up for; see `GAIN`. */
  readonly gain: number;
  /** SAME pads inside the operator; VALID after `pad` does it as Keras does, with an operator of its own. */
  readonly padding: "SAME" | "VALID";
}

const float = { T: attribute.type("float32") };

/**
 * Variance of the weights times the inputs that one output has, which keeps outputs near 1: He et al., "Delving Deep
 * into Rectifiers" (2015), and the same reckoning for what else stands between two convolutions. A little less than
 * the balance where a network could blow up, since nothing here normalizes as training does.
 */
export const GAIN = {
  none: 1,
  /** Half of a normal distribution is cut off. */
  relu: 2,
  /** Large values are halved as above, small ones more. */
  swish: 2,
  /** Excitation multiplies with the sigmoid of something near 1, whose mean square is 0.29. */
  excited: 3.4,
  /** Means of maps vary less than the maps. */
  pooled: 4,
  /** Classes should differ. */
  logits: 25,
} as const;

/** Spread of biases, in units of the activations. */
const BIAS_DEVIATION = 0.1;

export function convolution(
  graph: GraphBuilder,
  name: string,
  x: Maps,
  channels: number,
  { kernel, stride, relu, gain, padding }: Convolution,
): Maps {
  const deviation = Math.sqrt(gain / (kernel * kernel * x.channels));
  const weights = graph.random(`${name}/weights`, [kernel, kernel, x.channels, channels], deviation);
  const bias = graph.random(`${name}/bias`, [channels], BIAS_DEVIATION);
  const node = graph.node(name, "_FusedConv2D", [x.node, weights, bias], {
    ...float,
    ...window(stride, padding),
    num_args: attribute.int(1),
    fused_ops: attribute.texts(relu ? ["BiasAdd", "Relu"] : ["BiasAdd"]),
    epsilon: attribute.float(0),
  });
  return { node, side: sideAfter(x.side, kernel, stride, padding), channels };
}

export function depthwise(
  graph: GraphBuilder,
  name: string,
  x: Maps,
  { kernel, stride, relu, gain, padding }: Convolution,
): Maps {
  const { channels } = x;
  const deviation = Math.sqrt(gain / (kernel * kernel));
  const weights = graph.random(`${name}/weights`, [kernel, kernel, channels, 1], deviation);
  const bias = graph.random(`${name}/bias`, [channels], BIAS_DEVIATION);
  const node = graph.node(name, "FusedDepthwiseConv2dNative", [x.node, weights, bias], {
    ...float,
    ...window(stride, padding),
    num_args: attribute.int(1),
    fused_ops: attribute.texts(relu ? ["BiasAdd", "Relu"] : ["BiasAdd"]),
  });
  return { node, side: sideAfter(x.side, kernel, stride, padding), channels };
}

function window(stride: number, padding: string) {
  return {
    strides: attribute.ints([1, stride, stride, 1]),
    dilations: attribute.ints([1, 1, 1, 1]),
    padding: attribute.text(padding),
    data_format: attribute.text("NHWC"),
  };
}

function sideAfter(side: number, kernel: number, stride: number, padding: "SAME" | "VALID"): number {
  return Math.ceil((padding === "SAME" ? side : side - kernel + 1) / stride);
}

/**
 * Zeros around a map before a VALID convolution of stride 2, so that its windows end with the map: one less before
 * than after where the side is even (`correct_pad` in keras.applications).
 */
export function pad(graph: GraphBuilder, name: string, x: Maps, kernel: number): Maps {
  const after = Math.floor(kernel / 2);
  const before = after - (x.side % 2 === 0 ? 1 : 0);
  const amounts = graph.constant(
    `${name}/paddings`,
    "int32",
    [4, 2],
    [0, 0, before, after, before, after, 0, 0],
  );
  const node = graph.node(name, "Pad", [x.node, amounts], { ...float, Tpaddings: attribute.type("int32") });
  return { ...x, node, side: x.side + before + after };
}

export type Binary = "AddV2" | "Sub" | "Mul";

/** An elementwise operator of two nodes. */
export function binary(graph: GraphBuilder, name: string, op: Binary, a: string, b: string): string {
  return graph.node(name, op, [a, b], float);
}

/** An elementwise operator with a constant on its right: a scalar, or one value for each channel. */
export function scaled(
  graph: GraphBuilder,
  name: string,
  op: Binary,
  x: string,
  values: number | readonly number[],
): string {
  const list = typeof values === "number" ? [values] : values;
  const sizes = typeof values === "number" ? [] : [values.length];
  return binary(graph, name, op, x, graph.constant(`${name}/y`, "float32", sizes, list));
}

export function unary(graph: GraphBuilder, name: string, op: "Relu6" | "Sigmoid", x: string): string {
  return graph.node(name, op, [x], float);
}

/** The mean of each map; `keep` leaves sides of 1. */
export function means(graph: GraphBuilder, name: string, x: Maps, keep: boolean): string {
  const axes = graph.constant(`${name}/reduction_indices`, "int32", [2], [1, 2]);
  return graph.node(name, "Mean", [x.node, axes], {
    ...float,
    Tidx: attribute.type("int32"),
    keep_dims: attribute.flag(keep),
  });
}

/**
 * Gives every row the sizes `to`. The number of rows is computed from the input's shape as the graph runs, as Keras
 * does where it is free.
 */
export function reshape(graph: GraphBuilder, name: string, x: string, to: readonly number[]): string {
  const int = { T: attribute.type("int32") };
  const ints = (part: string, values: readonly number[], sizes: readonly number[]): string =>
    graph.constant(`${name}/${part}`, "int32", sizes, values);
  const shape = graph.node(`${name}/Shape`, "Shape", [x], { ...float, out_type: attribute.type("int32") });
  const rows = graph.node(
    `${name}/strided_slice`,
    "StridedSlice",
    [shape, ints("stack", [0], [1]), ints("stack_1", [1], [1]), ints("stack_2", [1], [1])],
    {
      ...int,
      Index: attribute.type("int32"),
      begin_mask: attribute.int(0),
      end_mask: attribute.int(0),
      ellipsis_mask: attribute.int(0),
      new_axis_mask: attribute.int(0),
      shrink_axis_mask: attribute.int(1),
    },
  );
  const sizes = to.map((size, i) => ints(`shape/${i + 1}`, [size], []));
  const target = graph.node(`${name}/shape`, "Pack", [rows, ...sizes], {
    ...int,
    N: attribute.int(to.length + 1),
    axis: attribute.int(0),
  });
  return graph.node(name, "Reshape", [x, target], { ...float, Tshape: attribute.type("int32") });
}

export function softmax(graph: GraphBuilder, name: string, x: string): string {
  return graph.node(name, "Softmax", [x], float);
}
