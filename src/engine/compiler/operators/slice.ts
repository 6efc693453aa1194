/** Operators that take a part of a tensor, cut it into parts, or turn it round. */
import type { Graph } from "../graph.ts";
import { axesOf } from "../graph-def.ts";
import { inputAt, numberAt, numbersAt, type Operator, type OperatorTable } from "../operator.ts";
import { axisInMemory, axisOf, knownElements, NotCovered, type Value } from "../value.ts";
import { squeezed, unsqueezed } from "./shape.ts";
import {
  assembled,
  END,
  elementsAt,
  followed,
  integerNode,
  type Known,
  type OneNumber,
} from "./whole-numbers.ts";

/** What to take along one axis, as ONNX's Slice counts: negative numbers from the end, and cut to what is there. */
export interface Range {
  readonly axis: number;
  readonly start: OneNumber;
  readonly end: OneNumber;
  readonly step?: number;
  /** How many elements that is, where the numbers do not tell. */
  readonly size?: number | null;
}

/** Where a range begins in an axis of a known size, and how many elements it has; undefined if only a run tells. */
function extent(
  { start, end, step = 1, size }: Range,
  length: number | null,
): { readonly first?: number; readonly count: number } | undefined {
  if (typeof start === "number" && typeof end === "number" && length !== null) {
    const from = (index: number): number => (index < 0 ? index + length : index);
    const clamp = (index: number, low: number, high: number): number => Math.min(Math.max(index, low), high);
    const first = step > 0 ? clamp(from(start), 0, length) : clamp(from(start), -1, length - 1);
    const stop = step > 0 ? clamp(from(end), 0, length) : clamp(from(end), -1, length - 1);
    return { first, count: Math.max(0, Math.ceil((stop - first) / step)) };
  }
  if (typeof size === "number") return { count: size };
  return undefined;
}

const isWhole = ({ start, end, step = 1 }: Range): boolean => start === 0 && end === END && step === 1;

/** Going backwards from before the first element, ONNX begins at that one, where TF.js takes nothing. */
function emptied(range: Range, length: number | null): Range {
  const { axis, start, step = 1 } = range;
  const isBefore = step < 0 && typeof start === "number" && length !== null && start + length < 0;
  return isBefore ? { axis, start: 0, end: 0 } : range;
}

/** The part of x that lies in all of the ranges, one for an axis at most; axes that no range names are left whole. */
export function sliced(graph: Graph, x: Value, ranges: readonly Range[]): Value {
  const parts = ranges
    .filter((range) => !isWhole(range))
    .map((range) => emptied(range, x.shape[range.axis] ?? null));
  if (parts.length === 0) return x;
  const { type, layout } = x;
  const shape = [...x.shape];
  for (const part of parts) shape[part.axis] = extent(part, x.shape[part.axis] ?? null)?.count ?? null;
  const axes = parts.map(({ axis }) => axisInMemory(axis, x));
  const [only] = parts;
  return followed(graph, x.shape.length === 1 && only ? knownPart(x, only) : undefined, () =>
    graph.node(
      "Slice",
      [
        x,
        assembled(
          graph,
          parts.map(({ start }) => start),
        ),
        assembled(
          graph,
          parts.map(({ end }) => end),
        ),
        graph.integers(axes),
        graph.integers(parts.map(({ step = 1 }) => step)),
      ],
      { type, shape, layout },
    ),
  );
}

function knownPart(x: Value, range: Range): Known | undefined {
  const known = knownElements(x);
  const { first, count } = extent(range, x.shape[0] ?? null) ?? { count: 0 };
  if (!known || first === undefined) return undefined;
  return Array.from({ length: count }, (_, i) => known[first + i * (range.step ?? 1)] ?? null);
}

/** TensorFlow's Slice: begin and size of each axis, where a size of -1 is all that is left. */
const slice: Operator = (graph, call) => {
  const [x, begin, size] = [inputAt(call, 0), inputAt(call, 1), inputAt(call, 2)];
  const rank = x.shape.length;
  if (begin.shape[0] !== rank || size.shape[0] !== rank)
    throw new NotCovered("Slice with other than one begin and one size for each axis");
  const begins = elementsAt(graph, begin);
  const sizes = elementsAt(graph, size);
  const ranges = x.shape.map((length, axis): Range => {
    const [start = 0, count = -1] = [begins[axis], sizes[axis]];
    if (typeof count === "number") {
      const isRest = count < 0 || (start === 0 && count === length);
      const end = isRest ? END : plus(graph, start, count);
      return { axis, start, end, size: count < 0 ? null : count };
    }
    const isRest = graph.node("Less", [count, graph.integers([0])], { type: "bool", shape: [1] });
    return { axis, start, end: either(graph, isRest, END, plus(graph, start, count)) };
  });
  return sliced(graph, x, ranges);
};

function plus(graph: Graph, a: OneNumber, b: OneNumber): OneNumber {
  if (typeof a === "number" && typeof b === "number") return a + b;
  return integerNode(graph, "Add", assembled(graph, [a]), assembled(graph, [b]));
}

function either(graph: Graph, condition: Value, yes: OneNumber, no: OneNumber): Value {
  const operands = [condition, assembled(graph, [yes]), assembled(graph, [no])];
  return graph.node("Where", operands, { type: "int64", shape: [1] });
}

/** What one entry of begin, end and strides is about. */
interface Entry {
  readonly kind: "part" | "one" | "new";
  /** Axis of the input, or before which the new one comes. */
  readonly axis: number;
  readonly index: number;
}

/** Lays the entries of a StridedSlice over the axes: its ellipsis stands for all axes that no other entry names. */
function entriesOf({ attributes, op }: Parameters<Operator>[1], count: number, rank: number): Entry[] {
  const mask = (name: string): ((index: number) => boolean) => {
    const bits = attributes.int(name, 0);
    return (index) => (bits & (1 << index)) !== 0;
  };
  const [isEllipsis, isNew, isOne] = ["ellipsis_mask", "new_axis_mask", "shrink_axis_mask"].map(mask);
  const indices = Array.from({ length: count }, (_, index) => index);
  const named = indices.filter((index) => !isEllipsis?.(index) && !isNew?.(index)).length;
  if (named > rank || indices.filter((index) => isEllipsis?.(index)).length > 1)
    throw new Error(`${op} of a tensor of rank ${rank} with ${count} ranges`);
  let axis = 0;
  return indices.flatMap((index): Entry[] => {
    if (isEllipsis?.(index)) {
      axis += rank - named;
      return [];
    }
    if (isNew?.(index)) return [{ kind: "new", axis, index }];
    return [{ kind: isOne?.(index) ? "one" : "part", axis: axis++, index }];
  });
}

const stridedSlice: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const [begin, end] = [inputAt(call, 1), inputAt(call, 2)];
  const strides = numbersAt(call, 3, "strides");
  if (begin.shape[0] !== strides.length || end.shape[0] !== strides.length)
    throw new Error("StridedSlice has not one begin and one end for each stride");
  const [begins, ends] = [elementsAt(graph, begin), elementsAt(graph, end)];
  const entries = entriesOf(call, strides.length, x.shape.length);
  const isFree = (name: string, index: number): boolean =>
    (call.attributes.int(name, 0) & (1 << index)) !== 0;
  const ranges = entries.flatMap(({ kind, axis, index }): Range[] => {
    const step = strides[index] ?? 1;
    if (step === 0) throw new Error("StridedSlice with a stride of 0");
    const start = begins[index] ?? 0;
    if (kind === "one") return [{ axis, start, end: afterOne(graph, start), size: 1 }];
    if (kind === "new") return [];
    const [from, to] = step > 0 ? [0, END] : [END, -END];
    return [
      {
        axis,
        start: isFree("begin_mask", index) ? from : start,
        end: isFree("end_mask", index) ? to : (ends[index] ?? to),
        step,
      },
    ];
  });
  const ones = entries.flatMap(({ kind, axis }) => (kind === "one" ? [axis] : []));
  const added = entries.flatMap((entry, i) =>
    entry.kind === "new"
      ? [entry.axis - ones.filter((one) => one < entry.axis).length + newBefore(entries, i)]
      : [],
  );
  return unsqueezed(graph, squeezed(graph, sliced(graph, x, ranges), ones), added);
};

const newBefore = (entries: readonly Entry[], index: number): number =>
  entries.slice(0, index).filter(({ kind }) => kind === "new").length;

/** The end of the range of one element; behind the last element, -1, there is the end of the axis. */
function afterOne(graph: Graph, start: OneNumber): OneNumber {
  if (typeof start === "number") return start === -1 ? END : start + 1;
  const isLast = graph.node("Equal", [start, graph.integers([-1])], { type: "bool", shape: [1] });
  return either(graph, isLast, END, plus(graph, start, 1));
}

/** More parts than any model cuts; each is an output of its own. */
const PARTS_MAX = 4096;

/** The number of parts. @throws NotCovered when there are too many */
function partCount(count: number): number {
  if (count < 1 || count > PARTS_MAX) throw new NotCovered(`a tensor in ${count} parts`);
  return count;
}

/** x cut along an axis into parts of the given sizes; null where only a run tells, and then all are equal. */
export function split(graph: Graph, x: Value, axis: number, sizes: Known): readonly Value[] {
  const numbers = sizes.filter((size) => size !== null);
  const isEven = numbers.length < sizes.length;
  const { type, layout } = x;
  const shapes = sizes.map((size) => x.shape.map((length, at) => (at === axis ? size : length)));
  const known = x.shape.length === 1 && !isEven ? knownElements(x) : undefined;
  const made = graph.nodes(
    "Split",
    isEven ? [x] : [x, graph.integers(numbers)],
    shapes.map((shape) => ({ type, shape, layout })),
    { axis: axisInMemory(axis, x), num_outputs: isEven ? sizes.length : undefined },
  );
  let offset = 0;
  return made.map((part, i) => {
    const start = offset;
    offset += numbers[i] ?? 0;
    return followed(graph, known?.slice(start, offset), () => part);
  });
}

const splitEvenly: Operator = (graph, call) => {
  const x = inputAt(call, 1);
  const axis = axisOf(numberAt(call, 0, "an axis"), x.shape.length);
  const count = partCount(call.attributes.int("num_split", 1));
  const length = x.shape[axis] ?? null;
  if (length !== null && length % count !== 0)
    throw new Error(`Split of ${length} into ${count} equal parts`);
  return split(
    graph,
    x,
    axis,
    Array.from({ length: count }, () => (length === null ? null : length / count)),
  );
};

const splitBySizes: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const axis = axisOf(numberAt(call, 2, "an axis"), x.shape.length);
  const sizes = numbersAt(call, 1, "sizes");
  partCount(sizes.length);
  const length = x.shape[axis] ?? null;
  if (!sizes.includes(-1)) return split(graph, x, axis, sizes);
  if (length === null) throw new NotCovered("SplitV with the rest of an axis whose size only a run tells");
  const rest = length - sizes.reduce((sum, size) => sum + Math.max(size, 0), 0);
  return split(
    graph,
    x,
    axis,
    sizes.map((size) => (size < 0 ? rest : size)),
  );
};

const unpack: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  const axis = axisOf(call.attributes.int("axis", 0), x.shape.length);
  const count = x.shape[axis] ?? call.attributes.int("num", -1);
  if (count < 0) throw new NotCovered("Unpack of as many parts as a run finds");
  const ones = Array.from({ length: partCount(count) }, () => 1);
  return split(graph, x, axis, ones).map((part) => squeezed(graph, part, [axis]));
};

/** x with the order of its elements turned round along the axes. */
export function reversed(graph: Graph, x: Value, axes: readonly number[]): Value {
  return sliced(
    graph,
    x,
    axes.map((axis) => ({ axis, start: END, end: -END, step: -1, size: x.shape[axis] ?? null })),
  );
}

const reverse: Operator = (graph, call) =>
  reversed(
    graph,
    inputAt(call, 0),
    numbersAt(call, 1, "axes").flatMap((isTurned, axis) => (isTurned ? [axis] : [])),
  );

const reverseV2: Operator = (graph, call) => {
  const x = inputAt(call, 0);
  return reversed(graph, x, axesOf(numbersAt(call, 1, "axes"), x.shape.length));
};

export const SLICE: OperatorTable = {
  Slice: slice,
  StridedSlice: stridedSlice,
  Split: splitEvenly,
  SplitV: splitBySizes,
  Unpack: unpack,
  Reverse: reverse,
  ReverseV2: reverseV2,
};
