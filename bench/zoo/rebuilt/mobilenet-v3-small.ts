/**
 * MobileNet v3-small: Howard et al., "Searching for MobileNetV3" (2019), table 2, with the squeeze-and-excite widths
 * and the order of operators of keras.applications. It takes channels from 0 to 255.
 */
import { type Graph, GraphBuilder } from "../graph.ts";
import {
  binary,
  convolution,
  depthwise,
  GAIN,
  type Maps,
  means,
  pad,
  reshape,
  scaled,
  softmax,
  unary,
} from "./blocks.ts";

interface Bottleneck {
  readonly kernel: 3 | 5;
  /** Channels between the two 1 × 1 convolutions. */
  readonly expanded: number;
  readonly channels: number;
  readonly excite: boolean;
  readonly activation: "relu" | "hard-swish";
  readonly stride: 1 | 2;
}

function bottleneck(
  kernel: 3 | 5,
  expanded: number,
  channels: number,
  excite: boolean,
  activation: "relu" | "hard-swish",
  stride: 1 | 2,
): Bottleneck {
  return { kernel, expanded, channels, excite, activation, stride };
}

const BOTTLENECKS: readonly Bottleneck[] = [
  bottleneck(3, 16, 16, true, "relu", 2),
  bottleneck(3, 72, 24, false, "relu", 2),
  bottleneck(3, 88, 24, false, "relu", 1),
  bottleneck(5, 96, 40, true, "hard-swish", 2),
  bottleneck(5, 240, 40, true, "hard-swish", 1),
  bottleneck(5, 240, 40, true, "hard-swish", 1),
  bottleneck(5, 120, 48, true, "hard-swish", 1),
  bottleneck(5, 144, 48, true, "hard-swish", 1),
  bottleneck(5, 288, 96, true, "hard-swish", 2),
  bottleneck(5, 576, 96, true, "hard-swish", 1),
  bottleneck(5, 576, 96, true, "hard-swish", 1),
];

const CLASSES = 1000;
const SEED = 3;

/** @param size pixels of a side of the input */
export function mobileNetV3Small(size: number): Graph {
  const graph = new GraphBuilder(SEED);
  const input = graph.placeholder("input_1", [size, size, 3]);
  const halved = scaled(graph, "rescaling/mul", "Mul", input, 1 / 127.5);
  const picture = scaled(graph, "rescaling/add", "AddV2", halved, -1);
  const stem = { kernel: 3, stride: 2, relu: false, gain: GAIN.none, padding: "SAME" } as const;
  let x = convolution(graph, "Conv", { node: picture, side: size, channels: 3 }, 16, stem);
  x = hardSwish(graph, "multiply", x);
  for (const [i, block] of BOTTLENECKS.entries()) x = inverted(graph, `expanded_conv_${i}`, x, block);
  x = hardSwish(graph, "multiply_head", pointwise(graph, "Conv_1", x, 576, GAIN.none));
  const pooled: Maps = { node: means(graph, "global_average_pooling2d", x, true), side: 1, channels: 576 };
  x = hardSwish(graph, "multiply_wide", pointwise(graph, "Conv_2", pooled, 1024, GAIN.pooled));
  const logits = reshape(graph, "flatten", pointwise(graph, "Logits", x, CLASSES, GAIN.logits).node, [
    CLASSES,
  ]);
  return graph.build([softmax(graph, "Predictions", logits), logits], [CLASSES]);
}

/** An inverted residual: widened, filtered channel by channel, excited, narrowed, added to its input if it fits. */
function inverted(graph: GraphBuilder, name: string, input: Maps, block: Bottleneck): Maps {
  const { kernel, expanded, channels, stride } = block;
  const relu = block.activation === "relu";
  const active = relu ? GAIN.relu : GAIN.swish;
  let x = input;
  if (expanded !== input.channels) {
    x = pointwise(graph, `${name}/expand`, x, expanded, GAIN.none, relu);
    if (!relu) x = hardSwish(graph, `${name}/expand/swish`, x);
  }
  if (stride === 2) x = pad(graph, `${name}/depthwise/pad`, x, kernel);
  const padding = stride === 2 ? "VALID" : "SAME";
  x = depthwise(graph, `${name}/depthwise`, x, { kernel, stride, relu, gain: active, padding });
  if (!relu) x = hardSwish(graph, `${name}/depthwise/swish`, x);
  if (block.excite) x = excite(graph, `${name}/squeeze_excite`, x);
  x = pointwise(graph, `${name}/project`, x, channels, active * (block.excite ? GAIN.excited : 1));
  if (stride === 2 || channels !== input.channels) return x;
  return { ...x, node: binary(graph, `${name}/add`, "AddV2", input.node, x.node) };
}

function pointwise(
  graph: GraphBuilder,
  name: string,
  x: Maps,
  channels: number,
  gain: number,
  relu = false,
): Maps {
  return convolution(graph, name, x, channels, { kernel: 1, stride: 1, relu, gain, padding: "SAME" });
}

/** Weighs each channel by what the means of all of them say. */
function excite(graph: GraphBuilder, name: string, x: Maps): Maps {
  const mean: Maps = { node: means(graph, `${name}/mean`, x, true), side: 1, channels: x.channels };
  const squeezed = pointwise(graph, `${name}/reduce`, mean, divisible(x.channels / 4), GAIN.pooled, true);
  const wide = pointwise(graph, `${name}/expand`, squeezed, x.channels, GAIN.relu);
  const weights = hardSigmoid(graph, name, wide.node);
  return { ...x, node: binary(graph, `${name}/mul`, "Mul", x.node, weights) };
}

/** To the nearest multiple of 8, and never less than nine tenths. */
function divisible(channels: number): number {
  const nearest = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return nearest < 0.9 * channels ? nearest + 8 : nearest;
}

/** ReLU6(x + 3) / 6 */
function hardSigmoid(graph: GraphBuilder, name: string, x: string): string {
  const shifted = scaled(graph, `${name}/hard/add`, "AddV2", x, 3);
  return scaled(
    graph,
    `${name}/hard/mul`,
    "Mul",
    unary(graph, `${name}/hard/relu6`, "Relu6", shifted),
    1 / 6,
  );
}

/** x · ReLU6(x + 3) / 6 */
function hardSwish(graph: GraphBuilder, name: string, x: Maps): Maps {
  return { ...x, node: binary(graph, name, "Mul", x.node, hardSigmoid(graph, name, x.node)) };
}
