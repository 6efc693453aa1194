/** Bodies of gRPC-Web and of Connect's streams: messages and an end, each behind its flags and its length. */

const ENVELOPE_BYTES = 5;
/** Of gRPC-Web, in lines. */
const TRAILERS = 0x80;
/** Of Connect's streams, in JSON. */
const END_STREAM = 0x02;

export function envelope(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ENVELOPE_BYTES + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, ENVELOPE_BYTES);
  return bytes;
}

/** The one message of a body whose end says that all went well. */
export function unwrap(body: Uint8Array): Uint8Array {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  let message: Uint8Array | undefined;
  for (let at = 0; at + ENVELOPE_BYTES <= body.length; ) {
    const begins = at + ENVELOPE_BYTES;
    const ends = begins + view.getUint32(at + 1);
    const content = body.subarray(begins, ends);
    const flags = view.getUint8(at);
    if (flags === 0) message = content;
    else {
      const end = new TextDecoder().decode(content);
      if (message && isGood(flags, end)) return message;
      throw new Error(`the call failed: ${end}`);
    }
    at = ends;
  }
  throw new Error("an answer without an end");
}

function isGood(flags: number, end: string): boolean {
  if (flags === TRAILERS) return /^grpc-status: *0\r?$/im.test(end);
  return flags === END_STREAM && !("error" in JSON.parse(end));
}
