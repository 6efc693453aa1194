/** Convolutions. ONNX has them channels first alone: this is where that layout comes from. */
import type { Graph } from "../graph.ts";
import { inputAt, type Operator, type OperatorTable } from "../operator.ts";
import { isStatic, knownElements, NotCovered, type Shape, type Value } from "../value.ts";
import { activated } from "./activation.ts";
import { channelsLastOnly } from "./data-format.ts";
import { broadcast } from "./elementwise.ts";
import { transposedConvolution } from "./transposed-convolution.ts";
import { type Padding, paddingAttributes, paddingOf, slidShape, windowOf } from "./window.ts";

export interface ConvolutionOptions {
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padding: Padding;
  readonly bias?: Value | undefined;
  /** The filter has [height, width, channels, multiplier], and each channel is convolved by itself. */
  readonly depthwise?: boolean;
}

/**
 * @param x [rows, …spatial, channels], of 1 to 3 spatial dimensions
 * @param filter [...spatial, in, out], or as `depthwise` says
 */
export function convolution(graph: Graph, x: Value, filter: Value, options: ConvolutionOptions): Value {
  const { strides, dilations, padding, bias, depthwise = false } = options;
  const spatial = x.shape.length - 2;
  const [rows = null, ...sizes] = x.shape.slice(0, -1);
  const kernel = filter.shape.slice(0, spatial).map((size) => {
    if (size === null) throw new NotCovered("a convolution with a filter whose size only a run tells");
    return size;
  });
  const [inner = null, outer = null] = filter.shape.slice(spatial);
  const channels = x.shape.at(-1) ?? null;
  const group = depthwise ? inner : channels === null || inner === null ? 1 : channels / inner;
  if (group === null || !Number.isInteger(group) || group < 1)
    throw new Error(`a filter of [${filter.shape}] does not fit an input of [${x.shape}]`);
  const out = depthwise ? (inner === null || outer === null ? null : inner * outer) : outer;
  const given = { kernel, strides, dilations };
  const made = graph.node(
    "Conv",
    [graph.channelsFirst(x), reordered(graph, filter, depthwise), bias],
    { type: x.type, shape: [rows, ...slidShape(sizes, given, padding), out], layout: "channels-first" },
    {
      kernel_shape: kernel,
      strides,
      dilations,
      group,
      ...paddingAttributes(sizes, given, padding),
    },
  );
  origins.set(made, { x, filter, options });
  return made;
}

/** What a convolution is made of, for an operator after it that is drawn into it. */
export interface Convolution {
  readonly x: Value;
  readonly filter: Value;
  readonly options: ConvolutionOptions;
}

const origins = new WeakMap<Value, Convolution>();

/** @returns undefined when the value is not the result of a convolution */
export const convolutionOf = (value: Value): Convolution | undefined => origins.get(value);

/** [...spatial, in, out] → [out, in, ...spatial]; depthwise [...spatial, in, multiplier] → [in · multiplier, 1, ...spatial]. */
function reordered(graph: Graph, filter: Value, depthwise: boolean): Value {
  const rank = filter.shape.length;
  const spatial = Array.from({ length: rank - 2 }, (_, i) => i);
  if (!depthwise) return graph.transpose(filter, [rank - 1, rank - 2, ...spatial]);
  const turned = graph.transpose(filter, [rank - 2, rank - 1, ...spatial]);
  const [inner = null, multiplier = null, ...rest] = turned.shape;
  const shape: Shape = [inner === null || multiplier === null ? null : inner * multiplier, 1, ...rest];
  if (turned.constant) return graph.constant(turned.type, shape.map(Number), turned.constant);
  return graph.node("Reshape", [turned, graph.integers([-1, 1, ...rest.map(Number)])], {
    type: turned.type,
    shape,
  });
}

const plain =
  (depthwise: boolean): Operator =>
  (graph, call) =>
    convolution(graph, inputAt(call, 0), inputAt(call, 1), { ...windowOf(call), depthwise });

/** A convolution with what TensorFlow's optimizer drew into it: a bias, and an activation. */
const fused =
  (depthwise: boolean): Operator =>
  (graph, call) => {
    const names = call.attributes.texts("fused_ops", []);
    const [first, ...rest] = names;
    if (first !== "BiasAdd") {
      if (first !== undefined) throw new NotCovered(`${call.op} with ${names.join(" and ")}`);
      return plain(depthwise)(graph, call);
    }
    const convolved = convolution(graph, inputAt(call, 0), inputAt(call, 1), {
      ...windowOf(call),
      depthwise,
      bias: inputAt(call, 2),
    });
    return activated(graph, convolved, rest, call);
  };

/** The bias that follows a convolution; ONNX Runtime draws it into the convolution itself. */
const biasAdd: Operator = (graph, call) => {
  channelsLastOnly(call);
  return broadcast(graph, "Add", [inputAt(call, 0), inputAt(call, 1)]);
};

/** A convolution run backwards: the gradient of its input is what TensorFlow calls this. */
const backwards: Operator = (graph, call) => {
  const { strides, padding } = windowOf(call);
  const [rank = null] = inputAt(call, 0).shape;
  const sizes = knownElements(inputAt(call, 0))?.slice(1, -1);
  if (rank !== 4 || !sizes || !isStatic(sizes))
    throw new NotCovered(`${call.op} to sizes that only a run tells`);
  return transposedConvolution(graph, inputAt(call, 2), inputAt(call, 1), { strides, padding, sizes });
};

/** TF.js's own; TensorFlow writes it as a Conv2D. */
const oneDimensional: Operator = (graph, call) => {
  channelsLastOnly(call);
  const { attributes } = call;
  return convolution(graph, inputAt(call, 0), inputAt(call, 1), {
    strides: [attributes.int("stride")],
    dilations: [attributes.int("dilation", 1)],
    padding: paddingOf(call),
  });
};

export const CONVOLUTION: OperatorTable = {
  Conv1D: oneDimensional,
  Conv2D: plain(false),
  Conv3D: plain(false),
  DepthwiseConv2dNative: plain(true),
  DepthwiseConv2d: plain(true),
  _FusedConv2D: fused(false),
  FusedDepthwiseConv2dNative: fused(true),
  Conv2DBackpropInput: backwards,
  BiasAdd: biasAdd,
};
