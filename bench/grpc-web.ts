/** Bodies of gRPC-Web: messages and trailers, each behind its flags and its length. */

const ENVELOPE_BYTES = 5;
const TRAILERS = 0x80;

export function envelope(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ENVELOPE_BYTES + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, ENVELOPE_BYTES);
  return bytes;
}

/** The one message of a gRPC-Web body whose trailers say that all went well. */
export function unwrap(body: Uint8Array): Uint8Array {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  let message: Uint8Array | undefined;
  for (let at = 0; at + ENVELOPE_BYTES <= body.length; ) {
    const begins = at + ENVELOPE_BYTES;
    const ends = begins + view.getUint32(at + 1);
    const content = body.subarray(begins, ends);
    if (view.getUint8(at) === 0) message = content;
    else if (view.getUint8(at) === TRAILERS) {
      const trailers = new TextDecoder().decode(content);
      if (message && /^grpc-status: *0\r?$/im.test(trailers)) return message;
      throw new Error(`a gRPC-Web call failed: ${trailers}`);
    }
    at = ends;
  }
  throw new Error("a gRPC-Web answer without trailers");
}
