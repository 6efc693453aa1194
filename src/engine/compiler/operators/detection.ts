/** Operators that choose the best: of scores, or of boxes that lie over one another. */
import type { Graph } from "../graph.ts";
import { type Call, inputAt, numberAt, type Operator, type OperatorTable } from "../operator.ts";
import { axisInMemory, knownNumbers, NotCovered, type Value } from "../value.ts";
import { cast } from "./elementwise.ts";
import { gathered } from "./gather.ts";
import { padded } from "./pad.ts";
import { reshaped, squeezed, unsqueezed } from "./shape.ts";
import { sliced } from "./slice.ts";
import { asIntegers } from "./whole-numbers.ts";

/** The k largest along the last axis and where they were; of equal ones the first comes first. */
const topK: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  if (x.type === "bool") throw new NotCovered(`${call.op} of bool`);
  // In which order they come is then an accident of how TF.js looks for them.
  if (!call.attributes.bool("sorted", true)) throw new NotCovered(`${call.op} without order`);
  const k = inputAt(call, 1);
  // ONNX Runtime divides by the number of rows, and where there are none that ends the process: there is one more.
  const unsure = x.shape.slice(0, -1).flatMap((size, axis) => (size ? [] : [axis]));
  const pads = x.shape.map((_, axis): [number, number] => [0, unsure.includes(axis) ? 1 : 0]);
  const rows = padded(graph, x, pads);
  const shape = [...rows.shape.slice(0, -1), knownNumbers(k)?.[0] ?? null];
  const { type, layout } = rows;
  const made = graph.nodes(
    "TopK",
    [rows, one(graph, k)],
    [
      { type, shape, layout },
      { type: "int64", shape, layout },
    ],
    { axis: axisInMemory(x.shape.length - 1, rows) },
  );
  const ranges = unsure.map((axis) => ({ axis, start: 0, end: -1 }));
  const [values, places] = made.map((value) => sliced(graph, value, ranges));
  if (!values || !places) throw new Error("TopK has two outputs");
  return [values, cast(graph, places, "int32")];
};

/** A scalar as a vector of int64. */
const one = (graph: Graph, scalar: Value): Value => asIntegers(graph, reshaped(graph, scalar, [1]));

/** Which boxes stay, the best first: whole numbers of a count that only a run tells. */
function kept(graph: Graph, call: Call): Value {
  const [boxes, scores, most] = [inputAt(call, 0), inputAt(call, 1), inputAt(call, 2)];
  const least = call.inputs[4];
  const chosen = graph.node(
    "NonMaxSuppression",
    [
      unsqueezed(graph, boxes, [0]),
      unsqueezed(graph, scores, [0, 1]),
      one(graph, most),
      graph.constant("float32", [1], Float32Array.of(overlapOf(call))),
      least && reshaped(graph, least, [1]),
    ],
    { type: "int64", shape: [null, 3] },
  );
  // Each is a row of the batch, a class, and the box.
  return gathered(graph, chosen, graph.scalar(2, "int64"), 1);
}

/** TF.js drops a box that overlaps as much as the threshold, ONNX one that overlaps more: the float32 before it. */
function overlapOf(call: Call): number {
  const threshold = Math.fround(numberAt(call, 3, "a threshold of overlap"));
  if (!(threshold > 0 && threshold <= 1)) throw new NotCovered(`${call.op} with the threshold ${threshold}`);
  const bits = new DataView(new ArrayBuffer(4));
  bits.setFloat32(0, threshold);
  bits.setUint32(0, bits.getUint32(0) - 1);
  return bits.getFloat32(0);
}

const suppression: Operator = (graph, call) => cast(graph, kept(graph, call), "int32");

/** With how many they are; if so asked, filled up with zeros to as many as there may be. */
const countedSuppression: Operator = (graph, call) => {
  const boxes = kept(graph, call);
  const vector = { type: "int64", shape: [1] } as const;
  const count = graph.node("Shape", [boxes], vector);
  const counted = cast(graph, squeezed(graph, count, [0]), "int32");
  if (!call.attributes.bool("pad_to_max_output_size", false)) return [cast(graph, boxes, "int32"), counted];
  const all = graph.node("Shape", [inputAt(call, 1)], vector);
  const most = graph.node("Min", [one(graph, inputAt(call, 2)), all], vector);
  const missing = graph.node("Sub", [most, count], vector);
  const zeros = graph.node("Expand", [graph.integers([0]), missing], { type: "int64", shape: [null] });
  const filled = graph.node("Concat", [boxes, zeros], { type: "int64", shape: [null] }, { axis: 0 });
  return [cast(graph, filled, "int32"), counted];
};

/** With their scores. */
const scoredSuppression: Operator = (graph, call) => {
  const sigma = numberAt(call, 5, "a sigma");
  // Soft suppression lowers scores rather than dropping boxes.
  if (sigma !== 0) throw new NotCovered(`${call.op} with a sigma of ${sigma}`);
  const boxes = kept(graph, call);
  return [cast(graph, boxes, "int32"), gathered(graph, inputAt(call, 1), boxes, 0)];
};

export const DETECTION: OperatorTable = {
  TopKV2: topK,
  NonMaxSuppressionV2: suppression,
  NonMaxSuppressionV3: suppression,
  NonMaxSuppressionV4: countedSuppression,
  NonMaxSuppressionV5: scoredSuppression,
};
