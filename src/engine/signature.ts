/** What a loaded model takes and gives, as its runtime reports it. */
import type { Dtype } from "../domain/tensor.ts";

export interface TensorSpec {
  readonly name: string;
  readonly dtype: Dtype;
  /** Size of each dimension; null for any. The first one counts rows. */
  readonly shape: readonly (number | null)[];
}

export interface Signature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /**
   * Whether rows of several callers may run as one tensor: the first dimension is free in every input, and the
   * warm-up saw every output follow it.
   */
  readonly joinable: boolean;
}

/** `[any, 224, 224, 3]`, for messages. */
export function shapeText(shape: readonly (number | null)[]): string {
  return `[${shape.map((size) => size ?? "any").join(", ")}]`;
}
