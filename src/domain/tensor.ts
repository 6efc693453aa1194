/** Typed n-dimensional arrays as they cross the wire: row-major, little-endian, no padding. */
export const DTYPES = {
  float32: { bytes: 4 },
  int32: { bytes: 4 },
  bool: { bytes: 1 },
  uint8: { bytes: 1 },
} as const;

export type Dtype = keyof typeof DTYPES;

export interface Tensor {
  readonly dtype: Dtype;
  /** Size of each dimension, outermost first; [] for a scalar. */
  readonly shape: readonly number[];
  /** product(shape) × element size bytes. */
  readonly data: Uint8Array;
}

export type Tensors = Readonly<Record<string, Tensor>>;

/** Elements in a shape; Infinity rather than a wrapped number when the product is absurd. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) count *= size;
  return count;
}
