import type { Tensors } from "./tensor.ts";

export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue };

/** An input or an output: a JSON object, typed tensors, or both. Bytes never stay in it; see `ImageId`. */
export interface Payload {
  readonly json: JsonObject;
  readonly tensors: Tensors;
}

export const EMPTY_PAYLOAD: Payload = { json: {}, tensors: {} };
