/** Answers for connections whose bytes never became an HTTP/1.1 request that anybody could look at. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { WAITING_MAX } from "./pipelining.ts";

interface ClientError extends Error {
  readonly code?: string | undefined;
  /** What could not be parsed, a Buffer (Fastify's types say otherwise). */
  readonly rawPacket?: unknown;
}

/** How every HTTP/2 connection begins (RFC 9113 §3.4): somebody took this port for gRPC's. */
const HTTP2_PREFACE = "PRI * HTTP/2.0";

const STATUS: Readonly<Record<string, readonly [string, string, string]>> = {
  HPE_HEADER_OVERFLOW: [
    "431 Request Header Fields Too Large",
    "resource_exhausted",
    "the request headers are too large",
  ],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [
    "413 Payload Too Large",
    "resource_exhausted",
    "the chunk extensions are too large",
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [
    "408 Request Timeout",
    "deadline_exceeded",
    "the request took too long to arrive",
  ],
};

export function answerUnparsable(error: ClientError, socket: Duplex, grpcPort: number): void {
  // Anything else is a broken connection or a failed TLS handshake: there is nobody to talk to.
  const parsing = error.code?.startsWith("HPE_") || error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  if (!parsing || !socket.writable) {
    socket.destroy();
    return;
  }
  const { rawPacket } = error;
  if (Buffer.isBuffer(rawPacket) && rawPacket.toString("latin1", 0, HTTP2_PREFACE.length) === HTTP2_PREFACE) {
    socket.end(goAway(`gRPC is served on port ${grpcPort}; this port speaks HTTP/1.1`));
    return;
  }
  answerAndEnd(
    socket,
    STATUS[error.code ?? ""] ?? ["400 Bad Request", "invalid_argument", "this is not an HTTP/1.1 request"],
  );
}

/** Node keeps the first of several Host headers where RFC 9112 §3.2 wants none of them: a proxy may take the last. */
export function hasOneHost({ rawHeaders }: IncomingMessage): boolean {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name?.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  return hosts <= 1;
}

export function refuseHosts({ socket }: IncomingMessage): void {
  answerAndEnd(socket, ["400 Bad Request", "invalid_argument", "the request has more than one Host header"]);
}

/** After the answers that the caller has coming; the connection ends with it. */
export function refusePipelined(response: ServerResponse): void {
  const code = "resource_exhausted";
  const message = `${WAITING_MAX} requests wait on this connection already; read their answers, or open another`;
  response
    .writeHead(429, { connection: "close", "content-type": "application/json; charset=utf-8" })
    .end(JSON.stringify({ error: { code, message } }));
}

function answerAndEnd(socket: Duplex, [status, code, message]: readonly [string, string, string]): void {
  const body = JSON.stringify({ error: { code, message } });
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/**
 * The least that an HTTP/2 client understands: an empty SETTINGS frame, then GOAWAY with HTTP_1_1_REQUIRED and a
 * text that gRPC clients show to their user (RFC 9113 §6.5, §6.8, §7).
 */
function goAway(text: string): Buffer {
  const SETTINGS = 0x4;
  const GOAWAY = 0x7;
  const HTTP_1_1_REQUIRED = 0xd;
  const payload = Buffer.alloc(8 + Buffer.byteLength(text));
  payload.writeUInt32BE(HTTP_1_1_REQUIRED, 4);
  payload.write(text, 8);
  return Buffer.concat([frame(SETTINGS, Buffer.alloc(0)), frame(GOAWAY, payload)]);
}

function frame(type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  return Buffer.concat([header, payload]);
}
