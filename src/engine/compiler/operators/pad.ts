/** Operators that put elements around a tensor. */
import type { Graph } from "../graph.ts";
import { type Call, inputAt, numberAt, numbersAt, type Operator, type OperatorTable } from "../operator.ts";
import { inMemory, isStatic, knownElements, NotCovered, type Shape, toFirst, type Value } from "../value.ts";
import { concatenated } from "./join.ts";
import { reshaped, transposed } from "./shape.ts";
import { sliced } from "./slice.ts";
import { asIntegers, END } from "./whole-numbers.ts";

/** Elements before and after, for each axis. */
export type Pads = readonly (readonly [before: number, after: number])[];

export interface PadOptions {
  /** `reflect` leaves the outermost element out of its mirror. Default: `constant`. */
  readonly mode?: "constant" | "reflect";
  /** What a constant padding is made of. Default: 0. */
  readonly value?: number;
}

/** x with more elements at the ends of its axes. */
export function padded(graph: Graph, x: Value, pads: Pads, options: PadOptions = {}): Value {
  if (pads.length !== x.shape.length) throw new Error(`${pads.length} paddings for [${x.shape}]`);
  if (pads.every(([before, after]) => before === 0 && after === 0)) return x;
  const [befores, afters] = [0, 1].map((end) =>
    inMemory(
      pads.map((pad) => pad[end] ?? 0),
      x.layout,
    ),
  );
  const shape = x.shape.map((size, axis) => {
    const [before = 0, after = 0] = pads[axis] ?? [];
    return size === null ? null : before + size + after;
  });
  return padNode(graph, x, graph.integers([...(befores ?? []), ...(afters ?? [])]), shape, options);
}

function padNode(graph: Graph, x: Value, pads: Value, shape: Shape, options: PadOptions): Value {
  const { mode = "constant", value = 0 } = options;
  const { type, layout } = x;
  const filling = mode === "constant" ? graph.scalar(value, type) : undefined;
  return graph.node("Pad", [x, pads, filling], { type, shape, layout }, { mode });
}

/** @param paddings [rank, 2], which a run may compute */
function paddedBy(graph: Graph, x: Value, paddings: Value, options: PadOptions): Value {
  const rank = x.shape.length;
  const known = knownElements(paddings) ?? Array.from({ length: 2 * rank }, () => null);
  if (paddings.shape[0] !== rank || known.length !== 2 * rank)
    throw new Error(`paddings of [${paddings.shape}] for [${x.shape}]`);
  if (isStatic(known)) return padded(graph, x, pairs(known), options);
  const shape = x.shape.map((size, axis) => {
    const [before, after] = [known[2 * axis] ?? null, known[2 * axis + 1] ?? null];
    return size === null || before === null || after === null ? null : before + size + after;
  });
  const { type } = paddings;
  const rows =
    x.layout === "channels-last"
      ? paddings
      : graph.node("Gather", [paddings, graph.integers(toFirst(rank))], { type, shape: [rank, 2] });
  const ends = reshaped(graph, transposed(graph, rows, [1, 0]), [2 * rank]);
  return padNode(graph, x, asIntegers(graph, ends), shape, options);
}

/** [before, after, before, after, …] → one pair for each axis. */
export function pairs(numbers: readonly number[]): Pads {
  return Array.from({ length: numbers.length / 2 }, (_, axis): [number, number] => [
    numbers[2 * axis] ?? 0,
    numbers[2 * axis + 1] ?? 0,
  ]);
}

const pad =
  (fillingOf: (call: Call) => number): Operator =>
  (graph, call) =>
    paddedBy(graph, inputAt(call, 0), inputAt(call, 1), { value: fillingOf(call) });

const mirrorPad: Operator = (graph, call) => {
  const [x, paddings] = [inputAt(call, 0), inputAt(call, 1)];
  const mode = call.attributes.text("mode");
  switch (mode) {
    case "REFLECT":
      return paddedBy(graph, x, paddings, { mode: "reflect" });
    case "SYMMETRIC":
      return mirrored(graph, x, pairs(numbersAt(call, 1, "paddings")));
    default:
      throw new NotCovered(`MirrorPad with the mode ${mode}`);
  }
};

/** x with its own elements, the outermost first, on both ends of its axes. ONNX has no such padding. */
function mirrored(graph: Graph, x: Value, pads: Pads): Value {
  return pads.reduce((padding, [before, after], axis) => {
    const parts = [
      sliced(graph, padding, [{ axis, start: before - 1, end: -END, step: -1, size: before }]),
      padding,
      sliced(graph, padding, [{ axis, start: END, end: -after - 1, step: -1, size: after }]),
    ];
    const sizes = [before, 1, after];
    return concatenated(
      graph,
      parts.filter((_, i) => sizes[i] !== 0),
      axis,
    );
  }, x);
}

export const PAD: OperatorTable = {
  Pad: pad(({ attributes }) => attributes.float("constant_value", 0)),
  PadV2: pad((call) => numberAt(call, 2, "a value")),
  MirrorPad: mirrorPad,
};
