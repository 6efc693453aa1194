import type { Value } from "./value.ts";

/** A model in the ONNX format, with what its callers have to know of it. */
export interface Compiled {
  readonly inputs: readonly Named[];
  readonly outputs: readonly Named[];
  /** A serialized ModelProto. */
  readonly model: Uint8Array<ArrayBuffer>;
}

export interface Named {
  readonly name: string;
  readonly value: Value;
}
