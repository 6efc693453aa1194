/**
 * A message from outside. Decoding stands here and not in the libraries' hooks, which would make a malformed body our
 * fault (`internal`).
 */
import { type BinaryReadOptions, type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { AuspexError } from "../domain/error.ts";
import { weigh } from "./protobuf-values.ts";

/** Fields of a later version are passed over: nothing here sends a request on. */
export const READ_OPTIONS: Partial<BinaryReadOptions> = { readUnknownFields: false };

/** @throws AuspexError `resource_exhausted` past `maxValues`, `invalid_argument` for what is no such message */
export function decodeMessage(schema: DescMessage, bytes: Uint8Array, maxValues: number): Message {
  const weight = weigh(schema, bytes, maxValues);
  if (weight === "more") {
    throw new AuspexError("resource_exhausted", `the request has more than ${maxValues} values`);
  }
  if (weight === "malformed") throw invalid(schema);
  try {
    return fromBinary(schema, bytes, READ_OPTIONS);
  } catch (cause) {
    throw invalid(schema, cause);
  }
}

function invalid({ typeName }: DescMessage, cause?: unknown): AuspexError {
  return new AuspexError("invalid_argument", `the request is not a valid ${typeName}`, { cause });
}
