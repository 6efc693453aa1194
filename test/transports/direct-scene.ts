/** Calls over HTTP/1.1 as bytes, to services that answer as the id that they are asked for says. */
import { request as httpRequest } from "node:http";
import { create, toBinary } from "@bufbuild/protobuf";
import type { FastifyRequest } from "fastify";
import {
  CreatePredictionRequestSchema,
  GetPredictionRequestSchema,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError, ERROR_CODES, type ErrorCode } from "../../src/domain/error.ts";
import { type Listeners, startListeners } from "./listeners.ts";
import { memoryServices } from "./memory-services.ts";

export const GET = "/auspex.v1.PredictionService/GetPrediction";
export const WATCH = "/auspex.v1.PredictionService/WatchPrediction";
export const CREATE = "/auspex.v1.PredictionService/CreatePrediction";
export const MAX_BODY_BYTES = 65_536;
export const MAX_JSON_VALUES = 1000;
/** Above the length from which answers are packed. */
const LONG = "m".repeat(2000);

function refuse(id: string): void {
  if (id in ERROR_CODES) {
    throw new AuspexError(id as ErrorCode, `refused: ${id} ünï`, {
      violations: [{ field: "id", description: "is wrong", reason: "format" }],
      retryAfterMs: 1250,
    });
  }
  if (id === "long error") throw new AuspexError("not_found", LONG);
  if (id === "bug") throw new TypeError("a secret of ours");
}

export async function startDirect(): Promise<Listeners> {
  const services = memoryServices({
    async getPrediction({ id }, call) {
      refuse(id);
      if (id === "never") return new Promise(() => {});
      if (id === "deadline") return { prediction: { id: String(call.deadlineAt !== undefined) } };
      return { prediction: { id, model: id === "long" ? LONG : "a/b" } };
    },
    /** Two messages, or as many as a number says; what fails does so after the first one, or with "at once" before. */
    async *watchPrediction({ id, afterRevision }, call) {
      if (id === "at once") refuse("not_found");
      const model = id === "long" ? LONG : String(call.deadlineAt !== undefined);
      for (let revision = 1; revision <= (Number(afterRevision) || 2); revision++) {
        yield { prediction: { id, model, revision } };
        refuse(id);
      }
      if (id !== "never") return;
      await new Promise((_, reject) => {
        call.signal.addEventListener("abort", () => reject(call.signal.reason));
      });
    },
  });
  const settings = {
    MAX_BODY_BYTES: String(MAX_BODY_BYTES),
    MAX_BYTES_IN_FLIGHT: String(16 * MAX_BODY_BYTES),
    MAX_JSON_VALUES: String(MAX_JSON_VALUES),
  };
  return startListeners(services, { settings });
}

/** As gRPC-Web and Connect's streams have it. */
export function envelope(
  message: Uint8Array | string,
  flags = 0,
  length = Buffer.from(message).length,
): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, Buffer.from(message)]);
}

export interface Envelope {
  readonly flags: number;
  readonly data: Buffer;
}

export function envelopesOf(body: Buffer): readonly Envelope[] {
  const found: Envelope[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (end > body.length) throw new Error("the last envelope is cut");
    found.push({ flags: body.readUInt8(at), data: body.subarray(at + 5, end) });
    at = end;
  }
  return found;
}

export interface Sent {
  readonly path?: string;
  readonly type?: string;
  readonly body: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Without a Content-Length. */
  readonly chunked?: boolean;
}

/** As a listener has it, as far as its headers go. */
export function requestOf({ type, headers }: Sent): FastifyRequest {
  const raw = { method: "POST", headers: { host: "localhost", "content-type": type, ...headers } };
  return { raw } as FastifyRequest;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

export function send(
  listeners: Listeners,
  { path = GET, type = "application/json", body, headers = {}, chunked }: Sent,
): Promise<Answer> {
  const bytes = Buffer.from(body);
  return new Promise((resolve, reject) => {
    const sized = chunked ? {} : { "content-length": String(bytes.length) };
    const options = { method: "POST", headers: { "content-type": type, ...sized, ...headers } };
    const request = httpRequest(`${listeners.httpUrl}${path}`, options, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      const { date: _, ...rest } = response.headers;
      resolve({ status: response.statusCode ?? 0, headers: rest, body: Buffer.concat(chunks) });
    });
    request.on("error", reject);
    request.end(bytes);
  });
}

export const proto = (id: string): Uint8Array =>
  toBinary(GetPredictionRequestSchema, create(GetPredictionRequestSchema, { id }));
export const created = (bytes: number): Uint8Array =>
  toBinary(
    CreatePredictionRequestSchema,
    create(CreatePredictionRequestSchema, { model: "a/b", files: { x: new Uint8Array(bytes) } }),
  );
