/** Operators that move blocks of pixels to other axes, and the dilated convolutions that old graphs write with them. */
import type { Graph } from "../graph.ts";
import { inputAt, numbersAt, type Operator, type OperatorTable } from "../operator.ts";
import { NotCovered, sizeOf, type Value } from "../value.ts";
import { convolution, convolutionOf } from "./convolution.ts";
import { channelsLastOnly } from "./data-format.ts";
import { type Pads, padded, pairs } from "./pad.ts";
import { reshaped, transposed } from "./shape.ts";
import { sliced } from "./slice.ts";
import { assembled, END, integerNode, type OneNumber, sizeAt } from "./whole-numbers.ts";

interface Blocks {
  readonly x: Value;
  /** Pixels of a block along each spatial dimension. */
  readonly block: readonly number[];
  readonly pads: Pads;
}

/** What has been spread over the batch, for the convolution that may undo it. */
const spread = new WeakMap<Value, Blocks>();

/** [rows, …spatial, …rest] → [block · rows, …spatial / block, …rest]: each row holds the pixels of one place in the blocks. */
const spaceToBatch: Operator = (graph, call) => {
  const x = graph.channelsLast(inputAt(call, 0));
  const block = numbersAt(call, 1, "a block");
  const pads = pairs(numbersAt(call, 2, "paddings"));
  const count = block.length;
  const whole = padded(
    graph,
    x,
    x.shape.map((_, axis) => pads[axis - 1] ?? [0, 0]),
  );
  const sizes = x.shape.map((_, axis) => scaled(graph, whole, axis, 1 / (block[axis - 1] ?? 1)));
  const inner = sizes.slice(1, count + 1);
  const rest = sizes.slice(count + 1);
  const cut = shaped(graph, whole, [
    scaled(graph, whole, 0, 1),
    ...inner.flatMap((size, i) => [size, block[i] ?? 1]),
    ...rest,
  ]);
  const order = [
    ...block.map((_, i) => 2 * i + 2),
    0,
    ...block.map((_, i) => 2 * i + 1),
    ...rest.map((_, i) => 2 * count + 1 + i),
  ];
  const rows = scaled(graph, whole, 0, sizeOf(block));
  const made = shaped(graph, transposed(graph, cut, order), [rows, ...inner, ...rest]);
  spread.set(made, { x, block, pads });
  return made;
};

/** The way back, and then without the pixels that are to be cropped. */
const batchToSpace: Operator = (graph, call) => {
  const given = inputAt(call, 0);
  const block = numbersAt(call, 1, "a block");
  const crops = pairs(numbersAt(call, 2, "crops"));
  const folded = dilated(graph, given, block, crops);
  if (folded) return folded;

  const x = graph.channelsLast(given);
  const count = block.length;
  const rows = scaled(graph, x, 0, 1 / sizeOf(block));
  const sizes = x.shape.map((_, axis) => scaled(graph, x, axis, 1)).slice(1);
  const cut = shaped(graph, x, [...block, rows, ...sizes]);
  const order = [
    count,
    ...block.flatMap((_, i) => [count + 1 + i, i]),
    ...sizes.slice(count).map((_, i) => 2 * count + 1 + i),
  ];
  const joined = sizes.map((_, i) => scaled(graph, x, i + 1, block[i] ?? 1));
  const whole = shaped(graph, transposed(graph, cut, order), [rows, ...joined]);
  return sliced(
    graph,
    whole,
    crops.map(([before, after], i) => ({ axis: i + 1, start: before, end: after === 0 ? END : -after })),
  );
};

/**
 * A convolution of every block-th pixel, for each place in the blocks: that is one convolution whose filter's cells are
 * as far apart as a block is wide. Cropping its result is padding its input less.
 */
function dilated(graph: Graph, x: Value, block: readonly number[], crops: Pads): Value | undefined {
  const inner = convolutionOf(x);
  const blocks = inner && spread.get(inner.x);
  if (!blocks) return undefined;
  const { strides, dilations, padding } = inner.options;
  const pads = blocks.pads.map(([before, after], i): [number, number] => {
    const [first = 0, last = 0] = crops[i] ?? [];
    return [before - first, after - last];
  });
  const isOne =
    block.length === strides.length &&
    block.every((size, i) => size === blocks.block[i]) &&
    strides.every((stride) => stride === 1) &&
    padding.kind === "valid" &&
    pads.flat().every((pad) => pad >= 0);
  if (!isOne) return undefined;
  return convolution(graph, blocks.x, inner.filter, {
    ...inner.options,
    dilations: dilations.map((dilation, i) => dilation * (block[i] ?? 1)),
    padding: { kind: "explicit", pads },
  });
}

/** The size of an axis, times a whole number or a fraction of 1. */
function scaled(graph: Graph, x: Value, axis: number, factor: number): OneNumber {
  const size = x.shape[axis] ?? null;
  if (size !== null) {
    const result = Math.round(size * factor);
    if (Math.abs(result - size * factor) > 1e-6) throw new Error(`${size} is no multiple of ${1 / factor}`);
    return result;
  }
  const open = sizeAt(graph, x, axis);
  if (factor === 1) return open;
  return factor < 1
    ? integerNode(graph, "Div", open, graph.integers([Math.round(1 / factor)]))
    : integerNode(graph, "Mul", open, graph.integers([factor]));
}

const shaped = (graph: Graph, x: Value, sizes: readonly OneNumber[]): Value =>
  reshaped(
    graph,
    x,
    sizes.map((size) => (typeof size === "number" ? size : null)),
    assembled(graph, sizes),
  );

/** [rows, height, width, block² · channels] → [rows, block · height, block · width, channels]. */
const depthToSpace: Operator = (graph, call) => {
  channelsLastOnly(call);
  const x = inputAt(call, 0);
  if (x.type !== "float32") throw new NotCovered(`DepthToSpace of ${x.type}`);
  const block = call.attributes.int("block_size");
  const [rows = null, height = null, width = null, depth = null] = x.shape;
  const scale = (size: number | null, factor: number): number | null =>
    size === null ? null : size * factor;
  const shape = [rows, scale(height, block), scale(width, block), scale(depth, 1 / block ** 2)];
  return graph.node(
    "DepthToSpace",
    [graph.channelsFirst(x)],
    { type: x.type, shape, layout: "channels-first" },
    { blocksize: block, mode: "DCR" },
  );
};

export const SPACE: OperatorTable = {
  SpaceToBatchND: spaceToBatch,
  BatchToSpaceND: batchToSpace,
  DepthToSpace: depthToSpace,
};
