/**
 * What gRPC-Web writes (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md): every call in envelopes, of which the last
 * has the status, for browsers do not get to see trailers.
 */
import { parseTimeout, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import type { FastifyRequest } from "fastify";
import { type CallForm, callForm, isPlainPost, type RequestWire } from "./direct-call.ts";
import { type EnvelopeProtocol, type EnvelopeWire, envelopeWire } from "./envelope.ts";
import type { Reply, UnaryWire } from "./unary.ts";

const TYPE = /^application\/grpc-web(?:\+(?:(json)(?:; ?charset=utf-?8)?|proto))?$/i;

/** @returns undefined for what the library has to serve, or to complain of */
export function grpcWebForm(request: FastifyRequest, maxMs: number): CallForm<UnaryWire> | undefined {
  return formOf(request, UNARY, maxMs);
}

/** @returns undefined for what the library has to serve, or to complain of */
export function grpcWebStreamForm(
  request: FastifyRequest,
  maxMs: number,
): CallForm<EnvelopeWire> | undefined {
  return formOf(request, STREAM, maxMs);
}

function formOf<W extends RequestWire>(
  request: FastifyRequest,
  wires: { readonly proto: W; readonly json: W },
  maxMs: number,
): CallForm<W> | undefined {
  const { headers } = request.raw;
  const type = TYPE.exec(headers["content-type"] ?? "");
  if (!type || headers["grpc-encoding"] !== undefined || !isPlainPost(request)) return undefined;
  const timeout = headers["grpc-timeout"];
  const { timeoutMs, error } = parseTimeout(timeout === undefined ? null : String(timeout), maxMs);
  if (error) return undefined;
  // Down to nanoseconds there; a timer has milliseconds.
  const wholeMs = timeoutMs === undefined ? undefined : Math.ceil(timeoutMs);
  return callForm(request, type[1] ? wires.json : wires.proto, wholeMs, headers["grpc-accept-encoding"]);
}

function protocolOf(json: boolean): EnvelopeProtocol {
  return {
    type: json ? "application/grpc-web+json" : "application/grpc-web+proto",
    encodingHeader: "grpc-encoding",
    endFlag: trailerFlag,
    end: (error) => trailerSerialize(setTrailerStatus(new Headers(), error)),
  };
}

/** One message and the end are the whole of an answer. */
function unaryWire(json: boolean): UnaryWire {
  const wire = envelopeWire(protocolOf(json), json, "unary");
  return {
    json,
    headBytes: wire.headBytes,
    checkHead: wire.checkHead,
    unwrap: wire.unwrap,
    async answer(message, gzip): Promise<Reply> {
      const body = Buffer.concat([await wire.message(message, gzip), await wire.end(undefined, gzip)]);
      return { status: 200, headers: wire.headers(gzip), body };
    },
    async refuse(error, gzip): Promise<Reply> {
      return { status: 200, headers: wire.headers(gzip), body: await wire.end(error, gzip) };
    },
  };
}

const UNARY = { proto: unaryWire(false), json: unaryWire(true) };
const STREAM = {
  proto: envelopeWire(protocolOf(false), false, "server-streaming"),
  json: envelopeWire(protocolOf(true), true, "server-streaming"),
};
