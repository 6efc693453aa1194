import type { Value } from "./value.ts";

/** A model in the ONNX format, with what its callers have to know of it. */
export interface Compiled {
  readonly inputs: readonly Named[];
  readonly outputs: readonly Named[];
  /** One more output of the model, kept apart from those that its callers know; undefined when there is none. */
  readonly embedding: Named | undefined;
  /** A serialized ModelProto. */
  readonly model: Uint8Array<ArrayBuffer>;
}

/** No name of TensorFlow's has a space in it. */
export const EMBEDDING_OUTPUT = "the embedding";

export interface Named {
  readonly name: string;
  readonly value: Value;
}
