/**
 * EfficientNet-B0: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019),
 * table 1, with the order of operators of keras.applications. It takes channels from 0 to 255.
 */
import { attribute, type Graph, GraphBuilder } from "../graph.ts";
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

interface Stage {
  readonly kernel: 3 | 5;
  /** How many times wider between the two 1 × 1 convolutions. */
  readonly expansion: 1 | 6;
  readonly channels: number;
  readonly blocks: number;
  /** Of the first block; the others have 1. */
  readonly stride: 1 | 2;
}

const STAGES: readonly Stage[] = [
  { kernel: 3, expansion: 1, channels: 16, blocks: 1, stride: 1 },
  { kernel: 3, expansion: 6, channels: 24, blocks: 2, stride: 2 },
  { kernel: 5, expansion: 6, channels: 40, blocks: 2, stride: 2 },
  { kernel: 3, expansion: 6, channels: 80, blocks: 3, stride: 2 },
  { kernel: 5, expansion: 6, channels: 112, blocks: 3, stride: 1 },
  { kernel: 5, expansion: 6, channels: 192, blocks: 4, stride: 2 },
  { kernel: 3, expansion: 6, channels: 320, blocks: 1, stride: 1 },
];

const STEM_CHANNELS = 32;
const HEAD_CHANNELS = 1280;
const CLASSES = 1000;
const SEED = 5;

/** Mean and standard deviation of ImageNet's channels, of values from 0 to 1. */
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];

/** @param size pixels of a side of the input */
export function efficientNetB0(size: number): Graph {
  const graph = new GraphBuilder(SEED);
  const input = graph.placeholder("input_1", [size, size, 3]);
  const rescaled = scaled(graph, "rescaling/mul", "Mul", input, 1 / 255);
  const centred = scaled(graph, "normalization/sub", "Sub", rescaled, MEAN);
  const inverse = DEVIATION.map((deviation) => 1 / deviation);
  const picture = scaled(graph, "normalization/truediv_recip", "Mul", centred, inverse);
  let x: Maps = { node: picture, side: size, channels: 3 };
  const stem = { kernel: 3, stride: 2, relu: false, gain: GAIN.none, padding: "VALID" } as const;
  x = convolution(graph, "stem_conv", pad(graph, "stem_conv_pad", x, 3), STEM_CHANNELS, stem);
  x = swish(graph, "stem_activation", x);
  for (const [i, stage] of STAGES.entries()) {
    for (let block = 0; block < stage.blocks; block++) {
      const stride = block === 0 ? stage.stride : 1;
      x = inverted(graph, `block${i + 1}${String.fromCharCode(97 + block)}`, x, { ...stage, stride });
    }
  }
  x = swish(graph, "top_activation", pointwise(graph, "top_conv", x, HEAD_CHANNELS, GAIN.none));
  const logits = dense(graph, "predictions", means(graph, "avg_pool", x, false), HEAD_CHANNELS);
  return graph.build([softmax(graph, "Softmax", logits), logits], [CLASSES]);
}

/** An inverted residual: widened, filtered channel by channel, excited, narrowed, added to its input if it fits. */
function inverted(graph: GraphBuilder, name: string, input: Maps, stage: Stage): Maps {
  const { kernel, expansion, channels, stride } = stage;
  let x = input;
  if (expansion > 1) {
    const wide = pointwise(graph, `${name}_expand_conv`, x, input.channels * expansion, GAIN.none);
    x = swish(graph, `${name}_expand_activation`, wide);
  }
  if (stride === 2) x = pad(graph, `${name}_dwconv_pad`, x, kernel);
  const padding = stride === 2 ? "VALID" : "SAME";
  x = depthwise(graph, `${name}_dwconv`, x, { kernel, stride, relu: false, gain: GAIN.swish, padding });
  x = excite(graph, `${name}_se`, swish(graph, `${name}_activation`, x), input.channels / 4);
  x = pointwise(graph, `${name}_project_conv`, x, channels, GAIN.swish * GAIN.excited);
  if (stride === 2 || channels !== input.channels) return x;
  return { ...x, node: binary(graph, `${name}_add`, "AddV2", x.node, input.node) };
}

function pointwise(graph: GraphBuilder, name: string, x: Maps, channels: number, gain: number): Maps {
  return convolution(graph, name, x, channels, { kernel: 1, stride: 1, relu: false, gain, padding: "SAME" });
}

/** Weighs each channel by what the means of all of them say. */
function excite(graph: GraphBuilder, name: string, x: Maps, squeezed: number): Maps {
  const mean = reshape(graph, `${name}_reshape`, means(graph, `${name}_squeeze`, x, false), [
    1,
    1,
    x.channels,
  ]);
  const narrow = pointwise(
    graph,
    `${name}_reduce`,
    { node: mean, side: 1, channels: x.channels },
    squeezed,
    GAIN.pooled,
  );
  const wide = pointwise(
    graph,
    `${name}_expand`,
    swish(graph, `${name}_swish`, narrow),
    x.channels,
    GAIN.swish,
  );
  const weights = unary(graph, `${name}_sigmoid`, "Sigmoid", wide.node);
  return { ...x, node: binary(graph, `${name}_excite`, "Mul", x.node, weights) };
}

/** x · sigmoid(x) */
function swish(graph: GraphBuilder, name: string, x: Maps): Maps {
  const weights = unary(graph, `${name}/Sigmoid`, "Sigmoid", x.node);
  return { ...x, node: binary(graph, `${name}/mul`, "Mul", x.node, weights) };
}

function dense(graph: GraphBuilder, name: string, x: string, fanIn: number): string {
  const weights = graph.random(`${name}/kernel`, [fanIn, CLASSES], Math.sqrt(GAIN.logits / fanIn));
  const bias = graph.random(`${name}/bias`, [CLASSES], 0.1);
  return graph.node(name, "_FusedMatMul", [x, weights, bias], {
    T: attribute.type("float32"),
    transpose_a: attribute.flag(false),
    transpose_b: attribute.flag(false),
    num_args: attribute.int(1),
    fused_ops: attribute.texts(["BiasAdd"]),
    epsilon: attribute.float(0),
  });
}
