/** Pictures brought to other sizes, whole or in parts. */
import type { Graph } from "../graph.ts";
import { type Call, inputAt, numbersAt, type Operator, type OperatorTable } from "../operator.ts";
import {
  axisInMemory,
  isStatic,
  knownElements,
  MADE_MAX,
  NotCovered,
  type Shape,
  type Value,
} from "../value.ts";
import { broadcast, cast } from "./elementwise.ts";
import { gathered } from "./gather.ts";
import { reduce } from "./reduce.ts";
import { selected } from "./select.ts";
import { reshaped } from "./shape.ts";
import { asIntegers } from "./whole-numbers.ts";

/** Where in the old picture the pixels of the new one are taken. */
type Corners = "asymmetric" | "align_corners" | "half_pixel";

function cornersOf({ op, attributes }: Call): Corners {
  const isAligned = attributes.bool("align_corners", false);
  const isHalf = attributes.bool("half_pixel_centers", false);
  if (isAligned && isHalf) throw new Error(`${op} with aligned corners and half pixel centers`);
  if (isAligned) return "align_corners";
  return isHalf ? "half_pixel" : "asymmetric";
}

/** A Resize to the sizes in a vector, in the layout in which the pictures are. */
function resized(graph: Graph, x: Value, size: Value, attributes: Readonly<Record<string, string>>): Value {
  const [height = null, width = null] = knownElements(size) ?? [];
  const shape: Shape = [x.shape[0] ?? null, height, width, x.shape[3] ?? null];
  return graph.node(
    "Resize",
    [x, undefined, undefined, asIntegers(graph, size.shape[0] === 2 ? size : reshaped(graph, size, [2]))],
    { type: x.type, shape, layout: x.layout },
    { ...attributes, axes: [axisInMemory(1, x), axisInMemory(2, x)] },
  );
}

function picturesAt(call: Call): Value {
  const x = inputAt(call, 0);
  if (x.shape.length !== 4) throw new NotCovered(`${call.op} of rank ${x.shape.length}`);
  return x;
}

const resizeBilinear: Operator = (graph, call) =>
  resized(graph, cast(graph, picturesAt(call), "float32"), inputAt(call, 1), {
    mode: "linear",
    coordinate_transformation_mode: cornersOf(call),
  });

/** Each pixel is one of the old ones, the one that TF.js picks, where ONNX might round to the next. */
const resizeNearest: Operator = (graph, call) => {
  const x = picturesAt(call);
  const size = numbersAt(call, 1, "sizes");
  const old: Shape = x.shape.slice(1, 3);
  if (!isStatic(old)) throw new NotCovered(`${call.op} of pictures of any size`);
  if (size.some((pixels) => pixels > MADE_MAX))
    throw new NotCovered(`${call.op} to ${size.join(" × ")} pixels`);
  const places = old.map((before, axis) => nearest(before, size[axis] ?? 1, cornersOf(call)));
  // Where every pixel becomes so and so many there is nothing to round, and one node does it.
  if (places.every((picked, axis) => isRepeated(picked, old[axis] ?? 1)))
    return resized(graph, x, inputAt(call, 1), {
      mode: "nearest",
      coordinate_transformation_mode: "asymmetric",
      nearest_mode: "floor",
    });
  let picture = x;
  for (const [axis, picked] of places.entries())
    picture = gathered(graph, picture, graph.integers(picked), axis + 1);
  return picture;
};

const isRepeated = (places: readonly number[], before: number): boolean =>
  places.length % before === 0 &&
  places.every((place, i) => place === Math.floor((i * before) / places.length));

/** Which of the old pixels TF.js takes along one axis, in its own arithmetic. */
function nearest(before: number, after: number, corners: Corners): readonly number[] {
  const isAligned = corners === "align_corners";
  const scale = isAligned && after > 1 ? (before - 1) / (after - 1) : before / after;
  const center = corners === "half_pixel" ? 0.5 : 0;
  const round = isAligned ? Math.round : Math.floor;
  return Array.from({ length: after }, (_, i) => Math.min(before - 1, round(scale * (i + center))));
}

/**
 * Parts of pictures, each brought to one size: boxes of [top, left, bottom, right] in which 1 is the last pixel. What
 * is beyond the edges gets a value of its own.
 */
const cropAndResize: Operator = (graph, call) => {
  const x = graph.channelsFirst(cast(graph, picturesAt(call), "float32"));
  const [boxes, indices] = [inputAt(call, 1), inputAt(call, 2)];
  const [height = 1, width = 1] = numbersAt(call, 3, "sizes");
  if (height * width > MADE_MAX) throw new NotCovered(`${call.op} to ${height} × ${width} pixels`);
  const method = call.attributes.text("method", "bilinear");
  // ONNX rounds halves to even pixels, TF.js upwards.
  if (method !== "bilinear") throw new NotCovered(`${call.op} by ${method}`);
  // TF.js finds a row or column that is the only one wherever the box is.
  if (x.shape.slice(1, 3).includes(1)) throw new NotCovered(`${call.op} of a single row or column`);
  const parts = gathered(graph, x, indices, 0);
  const points = pointsIn(graph, boxes, height, width);
  const rows = parts.shape[0] ?? points.shape[0] ?? null;
  const grid = broadcast(graph, "Sub", [broadcast(graph, "Mul", [points, graph.scalar(2)]), graph.scalar(1)]);
  const sampled = graph.node(
    "GridSample",
    [parts, grid],
    { type: "float32", shape: [rows, height, width, x.shape[3] ?? null], layout: "channels-first" },
    { align_corners: 1, mode: "bilinear", padding_mode: "border" },
  );
  const isBeyond = broadcast(graph, "Or", [
    broadcast(graph, "Less", [points, graph.scalar(0)], { type: "bool" }),
    broadcast(graph, "Greater", [points, graph.scalar(1)], { type: "bool" }),
  ]);
  const beyond = reduce(graph, "ReduceMax", cast(graph, isBeyond, "int32"), [3], { keepDims: true });
  const outside = graph.scalar(call.attributes.float("extrapolation_value", 0));
  return selected(graph, beyond, outside, sampled);
};

/** Points in boxes, x before y, from edge to edge: [boxes, height, width, 2]. One alone is in the middle. */
function pointsIn(graph: Graph, boxes: Value, height: number, width: number): Value {
  const share = (i: number, count: number): number => (count > 1 ? i / (count - 1) : 0.5);
  const shares = Array.from({ length: height * width }, (_, i) => [
    share(i % width, width),
    share(Math.floor(i / width), height),
  ]).flat();
  const weight = (values: readonly number[]): Value =>
    graph.constant("float32", [1, height, width, 2], Float32Array.from(values));
  const corner = (columns: readonly number[]): Value =>
    reshaped(graph, gathered(graph, boxes, graph.integers(columns), 1), [boxes.shape[0] ?? null, 1, 1, 2]);
  return broadcast(graph, "Add", [
    broadcast(graph, "Mul", [corner([1, 0]), weight(shares.map((part) => 1 - part))]),
    broadcast(graph, "Mul", [corner([3, 2]), weight(shares)]),
  ]);
}

export const IMAGE: OperatorTable = {
  ResizeBilinear: resizeBilinear,
  ResizeNearestNeighbor: resizeNearest,
  CropAndResize: cropAndResize,
};
