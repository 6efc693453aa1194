/** An answer in envelopes with more metadata at its end than ours ever have. */
const HEAD_BYTES = 5;
const PACKED = 0x01;
/** Of gRPC-Web: lines. In Connect's streams the end is JSON. */
const LINES = 0x80;

export type Trailers = readonly (readonly [name: string, values: readonly string[]])[];

/** @param body of which the last envelope is the end */
export function withTrailers(body: Buffer, trailers: Trailers): Buffer {
  if (trailers.length === 0) return body;
  let at = 0;
  for (let next = 0; next < body.length; next += HEAD_BYTES + body.readUInt32BE(next + 1)) at = next;
  const flags = body.readUInt8(at);
  if ((flags & PACKED) !== 0) throw new Error("the suite has no end that is long enough to be packed");
  const end = body.subarray(at + HEAD_BYTES).toString();
  const extended = Buffer.from((flags & LINES) !== 0 ? end + lines(trailers) : json(end, trailers));
  const head = Buffer.from(body.subarray(at, at + HEAD_BYTES));
  head.writeUInt32BE(extended.length, 1);
  return Buffer.concat([body.subarray(0, at), head, extended]);
}

function lines(trailers: Trailers): string {
  return trailers
    .flatMap(([name, values]) => values.map((value) => `${name.toLowerCase()}: ${value}\r\n`))
    .join("");
}

function json(end: string, trailers: Trailers): string {
  const { metadata, ...rest } = JSON.parse(end);
  return JSON.stringify({ ...rest, metadata: { ...metadata, ...Object.fromEntries(trailers) } });
}
