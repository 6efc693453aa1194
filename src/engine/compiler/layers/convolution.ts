/** Layers that convolve. */
import type { Graph } from "../graph.ts";
import { convolution } from "../operators/convolution.ts";
import { transposedConvolution } from "../operators/transposed-convolution.ts";
import { NotCovered, type Value } from "../value.ts";
import { activated } from "./activation.ts";
import {
  channelsLastOnly,
  channelsOf,
  floatInputOf,
  type Layer,
  type LayerCall,
  type LayerTable,
  paddingOf,
} from "./layer.ts";

/** A kernel of [...spatial, in, out]. */
const plain =
  (dimensions: number): Layer =>
  (graph, call) => {
    const { x, strides, kernelSize, channels } = read(call, dimensions);
    const filters = call.config.int("filters");
    const convolved = convolution(graph, x, call.weight("kernel", [...kernelSize, channels, filters]), {
      strides,
      dilations: call.config.perAxis("dilation_rate", dimensions, 1),
      padding: paddingOf(call, kernelSize, strides),
      bias: biasOf(call, filters),
    });
    return activated(graph, convolved, call);
  };

/** A kernel of [...spatial, out, in]. */
const transposed =
  (dimensions: number): Layer =>
  (graph, call) => {
    const { x, strides, kernelSize, channels } = read(call, dimensions);
    const filters = call.config.int("filters");
    withoutDilation(call, dimensions);
    const kernel = call.weight("kernel", [...kernelSize, filters, channels]);
    const bias = biasOf(call, filters);
    const convolved = transposedConvolution(graph, x, kernel, {
      strides,
      padding: paddingOf(call, kernelSize, strides),
      bias,
    });
    return activated(graph, convolved, call);
  };

function depthwise(graph: Graph, call: LayerCall): Value {
  const { x, strides, kernelSize, channels } = read(call, 2);
  const multiplier = call.config.int("depth_multiplier", 1);
  withoutDilation(call, 2);
  const kernel = call.weight("depthwise_kernel", [...kernelSize, channels, multiplier]);
  const convolved = convolution(graph, x, kernel, {
    strides,
    dilations: [1, 1],
    padding: paddingOf(call, kernelSize, strides),
    bias: biasOf(call, channels * multiplier),
    depthwise: true,
  });
  return activated(graph, convolved, call);
}

/** Each channel by itself, and then all of them at each pixel. */
function separable(graph: Graph, call: LayerCall): Value {
  const { x, strides, kernelSize, channels } = read(call, 2);
  const filters = call.config.int("filters");
  const multiplier = call.config.int("depth_multiplier", 1);
  const apart = convolution(
    graph,
    x,
    call.weight("depthwise_kernel", [...kernelSize, channels, multiplier]),
    {
      strides,
      dilations: call.config.perAxis("dilation_rate", 2, 1),
      padding: paddingOf(call, kernelSize, strides),
      depthwise: true,
    },
  );
  const kernel = call.weight("pointwise_kernel", [1, 1, channels * multiplier, filters]);
  const together = convolution(graph, apart, kernel, {
    strides: [1, 1],
    dilations: [1, 1],
    padding: { kind: "valid" },
    bias: biasOf(call, filters),
  });
  return activated(graph, together, call);
}

function read(call: LayerCall, dimensions: number) {
  channelsLastOnly(call);
  const x = floatInputOf(call, [dimensions + 2]);
  return {
    x,
    strides: call.config.perAxis("strides", dimensions, 1),
    kernelSize: call.config.perAxis("kernel_size", dimensions),
    channels: channelsOf(call, x),
  };
}

function biasOf(call: LayerCall, channels: number): Value | undefined {
  return call.config.bool("use_bias", true) ? call.weight("bias", [channels]) : undefined;
}

/** TF.js passes over the dilation of these layers, where Keras heeds it. */
function withoutDilation({ className, config }: LayerCall, dimensions: number): void {
  if (config.perAxis("dilation_rate", dimensions, 1).some((rate) => rate !== 1))
    throw new NotCovered(`${className} with dilation`);
}

export const CONVOLUTION: LayerTable = {
  Conv1D: plain(1),
  Conv2D: plain(2),
  Conv3D: plain(3),
  Conv2DTranspose: transposed(2),
  Conv3DTranspose: transposed(3),
  DepthwiseConv2D: depthwise,
  SeparableConv2D: separable,
};
