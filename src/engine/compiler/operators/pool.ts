/** Pooling: the largest, or the mean, of the cells under a window. ONNX pools channels first alone. */
import type { Graph } from "../graph.ts";
import { type Call, inputAt, type Operator, type OperatorTable } from "../operator.ts";
import { isStatic, MADE_MAX, NotCovered, type Shape, type Value } from "../value.ts";
import { cast } from "./elementwise.ts";
import { type Padding, paddingAttributes, slidShape, type Window, windowOf } from "./window.ts";

export interface PoolOptions {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly padding: Padding;
}

/** Cells of a window along an axis: more than any picture has, and few enough to be walked through. */
const CELLS_MAX = 2 ** 12;

/**
 * @param x [rows, …spatial, channels], of 1 to 3 spatial dimensions
 * @param op AveragePool counts no cell beyond the edge
 */
export function pool(graph: Graph, op: "MaxPool" | "AveragePool", x: Value, options: PoolOptions): Value {
  const { shape, attributes } = pooled(x, options);
  return graph.node(
    op,
    [graph.channelsFirst(x)],
    { type: x.type, shape, layout: "channels-first" },
    attributes,
  );
}

function pooled(x: Value, { kernel, strides, padding }: PoolOptions) {
  if (x.type !== "float32") throw new NotCovered(`pooling of ${x.type}`);
  const [rows = null, ...sizes] = x.shape.slice(0, -1);
  if (sizes.length !== kernel.length)
    throw new Error(`a window of ${kernel.length} dimensions does not fit an input of [${x.shape}]`);
  if (kernel.some((cells) => cells > CELLS_MAX))
    throw new NotCovered(`pooling of ${kernel.join(" × ")} cells`);
  const window: Window = { kernel, strides, dilations: kernel.map(() => 1) };
  // ONNX Runtime computes a negative padding for some sizes then, and refuses that.
  const hasGaps = kernel.some(
    (cells, axis) => cells > 1 && cells < (strides[axis] ?? 1) && sizes[axis] === null,
  );
  if (padding.kind === "same" && hasGaps)
    throw new NotCovered("pooling that leaves out cells of a picture of any size");
  const shape: Shape = [rows, ...slidShape(sizes, window, padding), x.shape.at(-1) ?? null];
  return {
    shape,
    attributes: { kernel_shape: kernel, strides, ...paddingAttributes(sizes, window, padding) },
  };
}

function optionsOf(call: Call): PoolOptions {
  const { strides, padding } = windowOf(call);
  return { kernel: call.attributes.ints("ksize").slice(1, -1), strides, padding };
}

const pooling =
  (op: "MaxPool" | "AveragePool"): Operator =>
  (graph, call) =>
    pool(graph, op, inputAt(call, 0), optionsOf(call));

/**
 * The largest cells and where they were. ONNX counts places rows, channels, height, width, through the whole batch;
 * TF.js counts height, width, channels, and rows before these only if it is asked to.
 */
const maxPoolWithArgmax: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const { shape, attributes } = pooled(x, optionsOf(call));
  const inner = x.shape.slice(1);
  if (inner.length !== 3 || !isStatic(inner)) throw new NotCovered(`${call.op} of a picture of any size`);
  const [height = 0, width = 0, channels = 0] = inner;
  if (channels > MADE_MAX) throw new NotCovered(`${call.op} of ${channels} channels`);
  const area = height * width;
  const layout = "channels-first";
  const [max, place] = graph.nodes(
    "MaxPool",
    [graph.channelsFirst(x)],
    [
      { type: x.type, shape, layout },
      { type: "int64", shape, layout },
    ],
    attributes,
  );
  if (!max || !place) throw new Error("MaxPool has two outputs");
  const number = (op: string, a: Value, b: Value): Value =>
    graph.node(op, [a, b], { type: "int64", shape, layout });
  const channel = graph.constant(
    "int64",
    [channels, 1, 1],
    BigInt64Array.from({ length: channels }, (_, i) => BigInt(i)),
  );
  const pixel = number("Mod", place, graph.scalar(area, "int64"));
  const within = number("Add", number("Mul", pixel, graph.scalar(channels, "int64")), channel);
  if (!call.attributes.bool("include_batch_in_index", false)) return [max, cast(graph, within, "int32")];
  const before = number("Sub", place, number("Mod", place, graph.scalar(area * channels, "int64")));
  return [max, cast(graph, number("Add", before, within), "int32")];
};

export const POOL: OperatorTable = {
  MaxPool: pooling("MaxPool"),
  AvgPool: pooling("AveragePool"),
  MaxPool3D: pooling("MaxPool"),
  AvgPool3D: pooling("AveragePool"),
  MaxPoolWithArgmax: maxPoolWithArgmax,
};
