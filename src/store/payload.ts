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

interface Layout {
  readonly head: Buffer;
  readonly data: readonly Uint8Array[];
  /** Of prefix, head and data. */
  readonly bytes: number;
}

/** Answers an array that owns its buffer whole, so that posting it to a thread copies nothing besides. */
export function encodePayload(payload: Payload): Uint8Array {
  const layout = layOut(payload);
  return write(layout, new Uint8Array(layout.bytes));
}

/** Both in one buffer, in which nothing else is: to make one takes as long as to fill it, on either thread. */
export function encodePayloads(first: Payload, second: Payload): [Uint8Array, Uint8Array] {
  const [one, two] = [layOut(first), layOut(second)];
  const all = new Uint8Array(one.bytes + two.bytes);
  return [write(one, all.subarray(0, one.bytes)), write(two, all.subarray(one.bytes))];
}

function layOut({ json, tensors }: Payload): Layout {
  const data: Uint8Array[] = [];
  let bytes = PREFIX_BYTES;
  const header: Header = {
    json,
    tensors: Object.entries(tensors).map(([name, tensor]) => {
      data.push(tensor.data);
      bytes += tensor.data.length;
      return { name, dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.data.length };
    }),
  };
  const head = Buffer.from(JSON.stringify(header));
  return { head, data, bytes: bytes + head.length };
}

function write({ head, data }: Layout, into: Uint8Array): Uint8Array {
  const { length } = head;
  into.set([length, length >>> 8, length >>> 16, length >>> 24]);
  into.set(head, PREFIX_BYTES);
  let offset = PREFIX_BYTES + length;
  for (const part of data) {
    into.set(part, offset);
    offset += part.length;
  }
  return into;
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
