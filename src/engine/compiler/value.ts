/** What flows through a graph that is being compiled: tensors of which type, shape and, often, contents are known. */

export type ElementType = "float32" | "int32" | "int64" | "bool";

export type Elements = Float32Array | Int32Array | BigInt64Array | Uint8Array;

/** Sizes as TF.js counts them, channels last; null where only a run tells. */
export type Shape = readonly (number | null)[];

/**
 * In which order a tensor lies in memory. TF.js puts the channels last; ONNX convolves channels first. Shapes and axes
 * are spoken of channels last everywhere, and this says what is to be permuted when a node is written.
 */
export type Layout = "channels-last" | "channels-first";

export interface Value {
  /** Its name in the ONNX graph. */
  readonly name: string;
  readonly type: ElementType;
  readonly shape: Shape;
  readonly layout: Layout;
  /** Elements, rows first, of a constant. */
  readonly constant?: Elements;
  /** Elements of a small whole-number tensor as far as they are known without a run: shapes are computed so. */
  readonly known?: readonly (number | null)[];
}

/** A part of a model that is not compiled. Another runtime may take the model. */
export class NotCovered extends Error {
  override readonly name = "NotCovered";
}

/** More elements than this are no shape or axis, and need not be followed. */
export const KNOWN_MAX = 1024;

/** Elements of a tensor that the compiler makes up itself: what a model has room for, and a compiler time. */
export const MADE_MAX = 2 ** 20;

/** @returns the elements as far as they are known; undefined if nothing is */
export function knownElements({ constant, known }: Value): readonly (number | null)[] | undefined {
  if (constant) return constant.length <= KNOWN_MAX ? Array.from(constant, Number) : undefined;
  return known;
}

/** @returns the elements if all are known */
export function knownNumbers(value: Value): readonly number[] | undefined {
  if (value.constant) return Array.from(value.constant, Number);
  const known = value.known;
  return known?.every((element) => element !== null) ? known : undefined;
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export function isStatic(shape: Shape): shape is readonly number[] {
  return shape.every((size) => size !== null);
}

/** @returns the axis counted from the front. @throws Error when the tensor has no such axis */
export function axisOf(axis: number, rank: number): number {
  const counted = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || counted < 0 || counted >= rank)
    throw new Error(`there is no axis ${axis} in a tensor of rank ${rank}`);
  return counted;
}

/** Where each axis of a channels-first tensor comes from: `[0, r-1, 1, …, r-2]`. */
export function toFirst(rank: number): readonly number[] {
  return [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)];
}

/** Where each axis of a channels-last tensor comes from: `[0, 2, …, r-1, 1]`. */
export function toLast(rank: number): readonly number[] {
  return [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];
}

/** What lies at the axes in memory: `items` are in channels-last order. */
export function inMemory<T>(items: readonly T[], layout: Layout): readonly T[] {
  return layout === "channels-first" ? permuted(items, toFirst(items.length)) : items;
}

/** The axis in memory of an axis counted channels last, from the front. */
export function axisInMemory(axis: number, { shape, layout }: Pick<Value, "shape" | "layout">): number {
  return layout === "channels-first" ? toFirst(shape.length).indexOf(axis) : axis;
}

export function permuted<T>(items: readonly T[], order: readonly number[]): readonly T[] {
  return order.map((from) => items[from] as T);
}

/** The shape that two or more shapes are stretched to. @throws Error when they do not fit */
export function broadcastShape(shapes: readonly Shape[]): Shape {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => {
      const at = axis - rank + shape.length;
      return at < 0 ? 1 : (shape[at] ?? null);
    });
    const large = sizes.filter((size) => size !== null && size !== 1);
    if (large.some((size) => size !== large[0]))
      throw new Error(`shapes ${shapes.map((shape) => `[${shape}]`).join(" and ")} do not fit together`);
    // An unknown size beside one that is not 1 can only be that one or 1.
    return large[0] ?? (sizes.includes(null) ? null : 1);
  });
}

/** A constant's elements in another order of axes. */
export function transposeElements(
  data: Elements,
  shape: readonly number[],
  order: readonly number[],
): Elements {
  if (data.length === 0) return data;
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const sizes = permuted(shape, order);
  const steps = permuted(strides, order);
  const rowSize = sizes.at(-1) ?? 1;
  const rowStep = steps.at(-1) ?? 1;
  const index = sizes.map(() => 0);
  let from = 0;
  const places = new Uint32Array(data.length / rowSize);
  for (let row = 0; row < places.length; row++) {
    places[row] = from;
    for (let axis = sizes.length - 2; axis >= 0; axis--) {
      index[axis] = (index[axis] ?? 0) + 1;
      from += steps[axis] ?? 0;
      if ((index[axis] ?? 0) < (sizes[axis] ?? 0)) break;
      from -= (steps[axis] ?? 0) * (sizes[axis] ?? 0);
      index[axis] = 0;
    }
  }
  const out = data.slice();
  if (data instanceof BigInt64Array) pick(data, out as BigInt64Array, places, rowSize, rowStep);
  else pick(data, out as typeof data, places, rowSize, rowStep);
  return out;
}

/** Fills `out` with rows of elements that lie `step` apart, each from its place on. */
function pick<T extends number | bigint>(
  data: ArrayLike<T>,
  out: { [index: number]: T },
  places: Uint32Array,
  size: number,
  step: number,
): void {
  let to = 0;
  for (const place of places) {
    let from = place;
    for (let i = 0; i < size; i++) {
      const element = data[from];
      if (element !== undefined) out[to] = element;
      to++;
      from += step;
    }
  }
}
