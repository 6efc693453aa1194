/**
 * Messages in envelopes, as gRPC-Web and Connect's streams have them: a flag, a length of 32 bits, and the message. The last one
 * that a server sends has a flag of its own, and says how the call ended.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { tooLarge } from "./connect-body.ts";
import { MalformedBody, PACKED_FROM_BYTES, type RequestWire } from "./direct-call.ts";

const HEAD_BYTES = 5;
const PACKED_FLAG = 0x01;

/** What the two protocols write differently. */
export interface EnvelopeProtocol {
  readonly type: string;
  /** Name of the header that says how messages are packed. */
  readonly encodingHeader: string;
  readonly endFlag: number;
  /** What the last envelope holds. */
  end(error: ConnectError | undefined): Uint8Array;
}

/** A call's answer: messages, and an end. */
export interface EnvelopeWire extends RequestWire {
  /** @param gzip where the caller takes it */
  headers(gzip: Compression | undefined): Readonly<Record<string, string>>;
  message(bytes: Uint8Array, gzip: Compression | undefined): Buffer | Promise<Buffer>;
  end(error: ConnectError | undefined, gzip: Compression | undefined): Buffer | Promise<Buffer>;
}

/** @param kind of the method, for the caller who sends it too many messages */
export function envelopeWire(
  protocol: EnvelopeProtocol,
  json: boolean,
  kind: "unary" | "server-streaming",
): EnvelopeWire {
  const { type, encodingHeader, endFlag } = protocol;
  const headers = { "content-type": type };
  const wellEnded = envelope(endFlag, protocol.end(undefined));
  return {
    json,
    headBytes: HEAD_BYTES,
    checkHead,
    unwrap: (body, maxBytes) => unwrap(body, maxBytes, endFlag, kind),
    headers: (gzip) => (gzip ? { ...headers, [encodingHeader]: gzip.name } : headers),
    message: (bytes, gzip) => written(0, bytes, gzip),
    end: (error, gzip) => (error ? written(endFlag, protocol.end(error), gzip) : wellEnded),
  };
}

function checkHead(start: Buffer, maxBytes: number): void {
  const length = start.readUInt32BE(1);
  if (length > maxBytes) throw tooLarge(length, maxBytes);
}

/** With the library's codes. Of an end in a request nobody says what it is for; it is passed over. */
function unwrap(body: Buffer, maxBytes: number, endFlag: number, kind: string): Buffer {
  let message: Buffer | undefined;
  let hasEnded = false;
  for (let rest = body; rest.length > 0; ) {
    if (rest.length < HEAD_BYTES) throw malformed(Code.InvalidArgument, "incomplete envelope");
    checkHead(rest, maxBytes);
    const flags = rest.readUInt8(0);
    const end = HEAD_BYTES + rest.readUInt32BE(1);
    if (rest.length < end) throw malformed(Code.InvalidArgument, "incomplete envelope");
    if ((flags & PACKED_FLAG) !== 0)
      throw malformed(Code.Internal, "a packed message, and no header that says how");
    if ((flags & endFlag) !== 0) {
      if (hasEnded) throw malformed(Code.InvalidArgument, "a second end");
      hasEnded = true;
    } else {
      if (message) throw malformed(Code.Unimplemented, `received extra input message for ${kind} method`);
      message = rest.subarray(HEAD_BYTES, end);
    }
    rest = rest.subarray(end);
  }
  if (!message) throw malformed(Code.Unimplemented, `missing input message for ${kind} method`);
  return message;
}

function malformed(code: Code, text: string): MalformedBody {
  return new MalformedBody(new ConnectError(`protocol error: ${text}`, code));
}

function written(flags: number, data: Uint8Array, gzip: Compression | undefined): Buffer | Promise<Buffer> {
  if (!gzip || data.length < PACKED_FROM_BYTES) return envelope(flags, data);
  return gzip.compress(data).then((packed) => envelope(flags | PACKED_FLAG, packed));
}

function envelope(flags: number, data: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + data.length);
  bytes.writeUInt8(flags, 0);
  bytes.writeUInt32BE(data.length, 1);
  bytes.set(data, HEAD_BYTES);
  return bytes;
}
