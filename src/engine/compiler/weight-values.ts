/** The weights of a TF.js model as tensors, those that were stored in fewer bytes brought back to full precision. */
import type { ModelFiles, WeightSpec } from "../worker/weights.ts";
import { weightBytes } from "../worker/weights.ts";
import { type Elements, type ElementType, NotCovered, sizeOf } from "./value.ts";

export interface WeightValue {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: Elements;
}

/** @throws NotCovered for a type that is not compiled, such as text */
export type Weights = (name: string) => WeightValue | undefined;

export function readWeights({ specs, data }: Pick<ModelFiles, "specs" | "data">): Weights {
  const places = new Map<string, { readonly spec: WeightSpec; readonly offset: number }>();
  let offset = 0;
  // A text weight's length stands in the file alone, so what follows one cannot be placed.
  let isPlaced = true;
  for (const spec of specs) {
    const bytes = weightBytes(spec);
    isPlaced = isPlaced && bytes !== undefined;
    if (isPlaced) places.set(spec.name, { spec, offset });
    offset += bytes ?? 0;
  }
  const names = new Set(specs.map((spec) => spec.name));
  return (name) => {
    const place = places.get(name);
    if (place) return decode(place.spec, data, place.offset);
    if (names.has(name)) throw new NotCovered(`the weight ${name} is, or follows, a weight of texts`);
    return undefined;
  };
}

function decode(spec: WeightSpec, data: ArrayBuffer, offset: number): WeightValue {
  const { name, dtype, shape, quantization } = spec;
  const length = sizeOf(shape);
  if (quantization) {
    const values = dequantized(spec, data, offset, length);
    return { type: dtype === "int32" ? "int32" : "float32", shape, data: values };
  }
  switch (dtype) {
    case "float32":
      return { type: "float32", shape, data: new Float32Array(copied(data, offset, length * 4)) };
    case "int32":
      return { type: "int32", shape, data: new Int32Array(copied(data, offset, length * 4)) };
    case "bool":
      return { type: "bool", shape, data: new Uint8Array(data, offset, length) };
    default:
      throw new NotCovered(`the weight ${name} is of the type ${dtype}`);
  }
}

/** `q · scale + min`, as TF.js's converter stores them; float16 has neither. */
function dequantized(spec: WeightSpec, data: ArrayBuffer, offset: number, length: number): Elements {
  const { name, dtype, quantization } = spec;
  if (!quantization) throw new Error(`the weight ${name} is not quantized`);
  switch (quantization.dtype) {
    case "float16":
      if (dtype !== "float32") throw new NotCovered(`the weight ${name} of ${dtype} is quantized as float16`);
      return halvesToFloats(new Uint16Array(copied(data, offset, length * 2)));
    case "uint8":
    case "uint16": {
      const { scale, min } = quantization;
      if (scale === undefined || min === undefined)
        throw new Error(`the weight ${name} is quantized without scale or min`);
      const stored =
        quantization.dtype === "uint8"
          ? new Uint8Array(data, offset, length)
          : new Uint16Array(copied(data, offset, length * 2));
      // Plain loops: there are tens of millions of them, and `from` with a function takes ten times as long.
      const values = dtype === "int32" ? new Int32Array(length) : new Float32Array(length);
      const isWhole = dtype === "int32";
      for (let i = 0; i < length; i++) {
        const value = (stored[i] ?? 0) * scale + min;
        values[i] = isWhole ? Math.round(value) : value;
      }
      return values;
    }
    default:
      throw new NotCovered(`the weight ${name} is quantized as ${String(quantization.dtype)}`);
  }
}

/** A copy, since typed arrays start at a multiple of their elements' size. */
function copied(data: ArrayBuffer, offset: number, bytes: number): ArrayBuffer {
  return data.slice(offset, offset + bytes);
}

/** IEEE 754 binary16, by a table of all of them. */
function halvesToFloats(halves: Uint16Array): Float32Array {
  halfTable ??= Float32Array.from({ length: 0x10000 }, (_, bits) => halfToFloat(bits));
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) floats[i] = halfTable[halves[i] ?? 0] ?? 0;
  return floats;
}

let halfTable: Float32Array | undefined;

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
