/** Layers that change the size of pictures, or the range of what is in them. */
import type { Graph } from "../graph.ts";
import { broadcast, cast } from "../operators/elementwise.ts";
import { padded } from "../operators/pad.ts";
import { sliced } from "../operators/slice.ts";
import { END } from "../operators/whole-numbers.ts";
import { NotCovered, type Value } from "../value.ts";
import {
  channelsLastOnly,
  floatInputOf,
  inputOf,
  type Layer,
  type LayerCall,
  type LayerTable,
} from "./layer.ts";

/** Pixels at the top, the bottom, the left and the right. */
type Margins = readonly [top: number, bottom: number, left: number, right: number];

/** One number for all edges, two for height and width, or a pair for each of these. */
function marginsOf({ className, config }: LayerCall, name: string, fallback?: number): Margins {
  const given = config.raw(name) ?? fallback;
  const [height, width] = Array.isArray(given) && given.length === 2 ? given : [given, given];
  const pair = (side: unknown): unknown[] => (Array.isArray(side) ? side : [side, side]);
  const numbers = [...pair(height), ...pair(width)];
  const isWhole = (size: unknown): size is number => Number.isSafeInteger(size) && Number(size) >= 0;
  if (numbers.length !== 4 || !numbers.every(isWhole))
    throw new Error(`${className} with a ${name} of ${JSON.stringify(given)}`);
  const [top = 0, bottom = 0, left = 0, right = 0] = numbers;
  return [top, bottom, left, right];
}

const zeroPadding: Layer = (graph, call) => {
  channelsLastOnly(call);
  // As the convolution that follows wants it: ONNX Runtime draws the padding into that.
  const x = graph.channelsFirst(floatInputOf(call, [4]));
  const [top, bottom, left, right] = marginsOf(call, "padding", 1);
  return padded(graph, x, [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ]);
};

const cropping: Layer = (graph, call) => {
  channelsLastOnly(call);
  const x = inputOf(call, [4]);
  const [top, bottom, left, right] = marginsOf(call, "cropping");
  const end = (cut: number): number => (cut === 0 ? END : -cut);
  return sliced(graph, x, [
    { axis: 1, start: top, end: end(bottom) },
    { axis: 2, start: left, end: end(right) },
  ]);
};

/** Each pixel becomes several: copies of it, or steps on the way to the next one. */
const upSampling: Layer = (graph, call) => {
  channelsLastOnly(call);
  const x = graph.channelsFirst(floatInputOf(call, [4]));
  const [tall = 2, wide = 2] = call.config.perAxis("size", 2, 2);
  const interpolation = call.config.text("interpolation", "nearest");
  if (interpolation !== "nearest" && interpolation !== "bilinear")
    throw new NotCovered(`UpSampling2D with the interpolation ${interpolation}`);
  const shape = x.shape.map((size, axis) => (size === null ? null : size * ([1, tall, wide, 1][axis] ?? 1)));
  return graph.node(
    "Resize",
    [x, undefined, graph.constant("float32", [4], Float32Array.of(1, 1, tall, wide))],
    { type: x.type, shape, layout: x.layout },
    {
      mode: interpolation === "nearest" ? "nearest" : "linear",
      coordinate_transformation_mode: "asymmetric",
      nearest_mode: "floor",
    },
  );
};

function rescaling(graph: Graph, call: LayerCall): Value {
  const { config } = call;
  if (Array.isArray(config.raw("scale")) || Array.isArray(config.raw("offset")))
    throw new NotCovered("Rescaling with a scale for each channel");
  const x = cast(graph, inputOf(call), "float32");
  const scaled = broadcast(graph, "Mul", [x, graph.scalar(config.number("scale"))]);
  return broadcast(graph, "Add", [scaled, graph.scalar(config.number("offset", 0))]);
}

export const PICTURE: LayerTable = {
  ZeroPadding2D: zeroPadding,
  Cropping2D: cropping,
  UpSampling2D: upSampling,
  Rescaling: rescaling,
};
