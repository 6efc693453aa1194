/**
 * What Connect's protocol writes (https://connectrpc.com/docs/protocol): unary messages bare and their errors in JSON, streams in
 * envelopes.
 */
import type { ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  endStreamFlag,
  endStreamToJson,
  errorToJsonBytes,
  parseTimeout,
} from "@connectrpc/connect/protocol-connect";
import type { FastifyRequest } from "fastify";
import { type CallForm, callForm, isPlainPost, PACKED_FROM_BYTES } from "./direct-call.ts";
import { type EnvelopeProtocol, type EnvelopeWire, envelopeWire } from "./envelope.ts";
import type { Reply, UnaryWire } from "./unary.ts";

const PROTO_TYPE = "application/proto";
const JSON_TYPE = "application/json";
const JSON_UTF8 = /^application\/json(?:; ?charset=utf-?8)?$/i;
const STREAM = /^application\/connect\+(?:(json)(?:; ?charset=utf-?8)?|proto)$/i;

/** @returns undefined for what the library has to serve, or to complain of */
export function connectForm(request: FastifyRequest, maxMs: number): CallForm<UnaryWire> | undefined {
  const { headers } = request.raw;
  const type = headers["content-type"] ?? "";
  const json = type !== PROTO_TYPE;
  if ((json && !JSON_UTF8.test(type)) || headers["content-encoding"] !== undefined) return undefined;
  return formOf(request, json ? JSON_WIRE : PROTO_WIRE, maxMs, headers["accept-encoding"]);
}

/** @returns undefined for what the library has to serve, or to complain of */
export function connectStreamForm(
  request: FastifyRequest,
  maxMs: number,
): CallForm<EnvelopeWire> | undefined {
  const { headers } = request.raw;
  const type = STREAM.exec(headers["content-type"] ?? "");
  if (!type || headers["connect-content-encoding"] !== undefined) return undefined;
  return formOf(request, type[1] ? JSON_STREAM : PROTO_STREAM, maxMs, headers["connect-accept-encoding"]);
}

function formOf<W extends UnaryWire | EnvelopeWire>(
  request: FastifyRequest,
  wire: W,
  maxMs: number,
  accepted: string | string[] | undefined,
): CallForm<W> | undefined {
  const timeout = request.raw.headers["connect-timeout-ms"];
  const { timeoutMs, error } = parseTimeout(timeout === undefined ? null : String(timeout), maxMs);
  if (error || !isPlainPost(request)) return undefined;
  return callForm(request, wire, timeoutMs, accepted);
}

function unaryWire(json: boolean): UnaryWire {
  const type = json ? JSON_TYPE : PROTO_TYPE;
  return {
    json,
    headBytes: 0,
    checkHead: () => {},
    unwrap: (body) => body,
    answer: (message, gzip) => reply(200, type, message, gzip),
    refuse: (error, gzip) =>
      reply(codeToHttpStatus(error.code), JSON_TYPE, errorToJsonBytes(error, undefined), gzip),
  };
}

const PROTO_WIRE = unaryWire(false);
const JSON_WIRE = unaryWire(true);

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

function streamWire(json: boolean): EnvelopeWire {
  const protocol: EnvelopeProtocol = {
    type: json ? "application/connect+json" : "application/connect+proto",
    encodingHeader: "connect-content-encoding",
    endFlag: endStreamFlag,
    end: (error: ConnectError | undefined) =>
      Buffer.from(JSON.stringify(endStreamToJson(new Headers(), error, undefined))),
  };
  return envelopeWire(protocol, json, "server-streaming");
}

const PROTO_STREAM = streamWire(false);
const JSON_STREAM = streamWire(true);
