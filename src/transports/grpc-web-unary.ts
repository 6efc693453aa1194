/**
 * What gRPC-Web writes (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md): each message in an envelope (a flag, a
 * length of 32 bits, the message), and the status as a last one, for browsers do not get to see trailers.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { parseTimeout, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import type { FastifyRequest } from "fastify";
import { tooLarge } from "./connect-body.ts";
import {
  isPlainPost,
  PACKED_FROM_BYTES,
  type Reply,
  type UnaryForm,
  type Unwrapped,
  unaryForm,
  type Wire,
} from "./unary.ts";

const PROTO_TYPE = "application/grpc-web+proto";
const JSON_TYPE = "application/grpc-web+json";
const TYPE = /^application\/grpc-web(?:\+(?:(json)(?:; ?charset=utf-?8)?|proto))?$/i;

const HEAD_BYTES = 5;
/** Flags of an envelope. */
const PACKED = 0x01;
const TRAILERS = 0x80;

/** @returns undefined for what the library has to serve, or to complain of */
export function grpcWebForm(request: FastifyRequest, maxMs: number): UnaryForm | undefined {
  const { headers } = request.raw;
  const type = TYPE.exec(headers["content-type"] ?? "");
  if (!type || headers["grpc-encoding"] !== undefined || !isPlainPost(request)) return undefined;
  const timeout = headers["grpc-timeout"];
  const { timeoutMs, error } = parseTimeout(timeout === undefined ? null : String(timeout), maxMs);
  if (error) return undefined;
  // Down to nanoseconds there; a timer has milliseconds.
  const wholeMs = timeoutMs === undefined ? undefined : Math.ceil(timeoutMs);
  return unaryForm(request, type[1] ? JSON_WIRE : PROTO_WIRE, wholeMs, headers["grpc-accept-encoding"]);
}

function wireOf(json: boolean): Wire {
  const type = json ? JSON_TYPE : PROTO_TYPE;
  return {
    json,
    headBytes: HEAD_BYTES,
    checkHead,
    unwrap,
    answer: (message, gzip) => reply(type, [envelope(0, message), OK], gzip),
    refuse: (error, gzip) => reply(type, [envelope(TRAILERS, statusOf(error))], gzip),
  };
}

interface Envelope {
  readonly flags: number;
  readonly data: Uint8Array;
}

const envelope = (flags: number, data: Uint8Array): Envelope => ({ flags, data });
const statusOf = (error?: ConnectError): Uint8Array =>
  trailerSerialize(setTrailerStatus(new Headers(), error));
const OK = envelope(TRAILERS, statusOf());

const PROTO_WIRE = wireOf(false);
const JSON_WIRE = wireOf(true);

function checkHead(start: Buffer, maxBytes: number): void {
  const length = start.readUInt32BE(1);
  if (length > maxBytes) throw tooLarge(length, maxBytes);
}

/** With the library's codes. Of trailers in a request nobody says what they are for; they are passed over. */
function unwrap(body: Buffer, maxBytes: number): Unwrapped {
  let message: Buffer | undefined;
  let hasTrailers = false;
  for (let rest = body; rest.length > 0; ) {
    if (rest.length < HEAD_BYTES) return malformed(Code.InvalidArgument, "incomplete envelope");
    checkHead(rest, maxBytes);
    const flags = rest.readUInt8(0);
    const end = HEAD_BYTES + rest.readUInt32BE(1);
    if (rest.length < end) return malformed(Code.InvalidArgument, "incomplete envelope");
    if ((flags & PACKED) !== 0)
      return malformed(Code.Internal, "a packed message, and no grpc-encoding that says how");
    if ((flags & TRAILERS) !== 0) {
      if (hasTrailers) return malformed(Code.InvalidArgument, "trailers twice");
      hasTrailers = true;
    } else {
      if (message) return malformed(Code.Unimplemented, "received extra input message for unary method");
      message = rest.subarray(HEAD_BYTES, end);
    }
    rest = rest.subarray(end);
  }
  if (message) return { kind: "message", bytes: message };
  return malformed(Code.Unimplemented, "missing input message for unary method");
}

function malformed(code: Code, text: string): Unwrapped {
  return { kind: "malformed", error: new ConnectError(`protocol error: ${text}`, code) };
}

async function reply(
  type: string,
  envelopes: readonly Envelope[],
  gzip: Compression | undefined,
): Promise<Reply> {
  const encoding = gzip && { "grpc-encoding": gzip.name };
  const parts: Uint8Array[] = [];
  for (const { flags, data } of envelopes) {
    const packs = data.length >= PACKED_FROM_BYTES ? gzip : undefined;
    const sent = packs ? await packs.compress(data) : data;
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head.writeUInt8(packs ? flags | PACKED : flags, 0);
    head.writeUInt32BE(sent.length, 1);
    parts.push(head, sent);
  }
  return { status: 200, headers: { "content-type": type, ...encoding }, body: Buffer.concat(parts) };
}
