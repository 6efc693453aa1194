/**
 * A payload as one column: four bytes with the header's length (little-endian), the header as UTF-8 JSON, then the
 * tensors' bytes in the header's order.
 */
import type { JsonObject, Payload } from "../domain/payload.ts";
import type { Dtype } from "../domain/tensor.ts";

interface Header {
  readonly json: JsonObject;
  readonly tensors: readonly TensorHeader[];
}

interface TensorHeader {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: number;
}

const PREFIX_BYTES = 4;

/** Answers an array that owns its buffer whole, so that posting it to a thread copies nothing besides. */
export function encodePayload(payload: Payload): Uint8Array {
  const tensors = Object.entries(payload.tensors);
  const header: Header = {
    json: payload.json,
    tensors: tensors.map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, bytes: data.length })),
  };
  const head = JSON.stringify(header);
  const headBytes = Buffer.byteLength(head);
  const tensorBytes = tensors.reduce((sum, [, { data }]) => sum + data.length, 0);
  const encoded = Buffer.allocUnsafeSlow(PREFIX_BYTES + headBytes + tensorBytes);
  encoded.writeUInt32LE(headBytes, 0);
  encoded.write(head, PREFIX_BYTES);
  let offset = PREFIX_BYTES + headBytes;
  for (const [, { data }] of tensors) {
    encoded.set(data, offset);
    offset += data.length;
  }
  return new Uint8Array(encoded.buffer);
}

/** The tensors' data are views of `encoded`. Throws when its lengths do not add up: such a row is damaged. */
export function decodePayload(encoded: Uint8Array): Payload {
  const view = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  const headEnd = PREFIX_BYTES + (view.length < PREFIX_BYTES ? 0 : view.readUInt32LE(0));
  if (headEnd > view.length) throw new Error("a stored payload is shorter than its header says");
  // Written by encodePayload, and nobody else writes the column.
  const header = JSON.parse(view.toString("utf8", PREFIX_BYTES, headEnd)) as Header;
  let offset = headEnd;
  const tensors = header.tensors.map(({ name, dtype, shape, bytes }) => {
    const data = encoded.subarray(offset, offset + bytes);
    offset += bytes;
    return [name, { dtype, shape, data }] as const;
  });
  if (offset !== view.length) {
    throw new Error(`a stored payload has ${view.length} bytes where its header says ${offset}`);
  }
  return { json: header.json, tensors: Object.fromEntries(tensors) };
}
