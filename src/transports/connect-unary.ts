/** What Connect's unary protocol writes (https://connectrpc.com/docs/protocol): bare messages, errors in JSON. */
import type { ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import type { FastifyRequest } from "fastify";
import { isPlainPost, PACKED_FROM_BYTES, type Reply, type UnaryForm, unaryForm, type Wire } from "./unary.ts";

const PROTO_TYPE = "application/proto";
const JSON_TYPE = "application/json";
const JSON_UTF8 = /^application\/json(?:; ?charset=utf-?8)?$/i;

/** @returns undefined for what the library has to serve, or to complain of */
export function connectForm(request: FastifyRequest, maxMs: number): UnaryForm | undefined {
  const { headers } = request.raw;
  const type = headers["content-type"] ?? "";
  const json = type !== PROTO_TYPE;
  if (json && !JSON_UTF8.test(type)) return undefined;
  if (headers["content-encoding"] !== undefined || !isPlainPost(request)) return undefined;
  const timeout = headers["connect-timeout-ms"];
  const timeoutMs = timeout === undefined ? undefined : Number(timeout);
  if (timeoutMs !== undefined && (!/^\d{1,10}$/.test(String(timeout)) || timeoutMs > maxMs)) return undefined;
  return unaryForm(request, json ? JSON_WIRE : PROTO_WIRE, timeoutMs, headers["accept-encoding"]);
}

function wireOf(json: boolean): Wire {
  const type = json ? JSON_TYPE : PROTO_TYPE;
  return {
    json,
    headBytes: 0,
    checkHead: () => {},
    unwrap: (bytes) => ({ kind: "message", bytes }),
    answer: (message, gzip) => reply(200, type, message, gzip),
    refuse: (error: ConnectError, gzip) =>
      reply(codeToHttpStatus(error.code), JSON_TYPE, errorToJsonBytes(error, undefined), gzip),
  };
}

const PROTO_WIRE = wireOf(false);
const JSON_WIRE = wireOf(true);

async function reply(
  status: number,
  type: string,
  body: Uint8Array,
  gzip: Compression | undefined,
): Promise<Reply> {
  if (!gzip || body.length < PACKED_FROM_BYTES) return { status, headers: { "content-type": type }, body };
  return {
    status,
    headers: { "content-type": type, "content-encoding": gzip.name },
    body: await gzip.compress(body),
  };
}
