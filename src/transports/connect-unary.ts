/**
 * Connect's unary protocol (https://connectrpc.com/docs/protocol) as most calls use it: a POST of one bare message, protobuf
 * or JSON, not packed. The library serves it too, and everything else; through it a call takes two and a half times the
 * main thread's time that it takes over gRPC, most of it for web streams' and headers' objects that are made only to be
 * taken apart again (`npm run bench -- --only echo,doors`). Errors are written by the library's own encoder.
 */
import type { IncomingMessage } from "node:http";
import { create, fromJsonString, type Message, toBinary, toJsonString } from "@bufbuild/protobuf";
import type { Compression } from "@connectrpc/connect/protocol";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { AuspexError } from "../domain/error.ts";
import type { Services } from "../services/services.ts";
import { bearerToken } from "./bearer.ts";
import { callerOf, methodName, mostBytes, type UnaryBinding } from "./binding.ts";
import type { ByteBudget, ByteShare } from "./byte-budget.ts";
import { tooLarge } from "./connect-body.ts";
import { connectError } from "./connect-error.ts";
import { decodeMessage } from "./decode-message.ts";
import { countJsonValues } from "./json-values.ts";
import { CALLER_GONE, DEADLINE_PASSED, refusal } from "./refusal.ts";

export interface UnaryDeps {
  readonly services: Services;
  readonly config: Pick<Config, "MAX_BODY_BYTES" | "MAX_JSON_VALUES">;
  readonly log: Logger;
  readonly budget: ByteBudget;
  /** For answers. */
  readonly gzip: Compression;
}

/** What a call's headers say of it. */
export interface UnaryForm {
  readonly json: boolean;
  readonly timeoutMs: number | undefined;
  /** Bytes; undefined for a body in chunks. */
  readonly length: number | undefined;
  readonly acceptsGzip: boolean;
}

/** A host that needs no reading to be known for one. */
const PLAIN_HOST = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?$/i;
const PROTO = "application/proto";
const JSON_TYPE = "application/json";
const JSON_UTF8 = /^application\/json(?:; ?charset=utf-?8)?$/i;
/** As the library: what is shorter is not worth its head. */
const PACKED_FROM_BYTES = 1024;

/** @returns undefined for what the library has to serve, or to complain of */
export function unaryForm(
  { raw: { method, headers } }: FastifyRequest,
  maxMs: number,
): UnaryForm | undefined {
  const type = headers["content-type"] ?? "";
  const json = type !== PROTO;
  if (method !== "POST" || (json && !JSON_UTF8.test(type))) return undefined;
  if (headers["content-encoding"] !== undefined || !PLAIN_HOST.test(headers.host ?? "")) return undefined;
  const timeout = headers["connect-timeout-ms"];
  const timeoutMs = timeout === undefined ? undefined : Number(timeout);
  if (timeoutMs !== undefined && (!/^\d{1,10}$/.test(String(timeout)) || timeoutMs > maxMs)) return undefined;
  const length = headers["content-length"];
  return {
    json,
    timeoutMs,
    length: length === undefined ? undefined : Number(length),
    acceptsGzip: /(?:^|,) *gzip *(?:,|$)/.test(String(headers["accept-encoding"] ?? "")),
  };
}

interface Answered {
  readonly status: number;
  readonly type: string;
  readonly body: Uint8Array;
}

/** Answers the call, whatever happens. */
export async function serveUnary(
  binding: UnaryBinding,
  form: UnaryForm,
  request: FastifyRequest,
  reply: FastifyReply,
  deps: UnaryDeps,
): Promise<void> {
  const { raw } = reply;
  const share = deps.budget.open();
  const abort = new AbortController();
  raw.once("close", () => {
    share.close();
    if (!raw.writableFinished) abort.abort(CALLER_GONE);
  });
  reply.hijack();
  const answered = await answer(binding, form, request, abort, share, deps);
  // What was left unread is thrown away: a caller that sends all before it reads would otherwise never get there.
  request.raw.resume();
  if (raw.destroyed) return;
  const isPacked = form.acceptsGzip && answered.body.length >= PACKED_FROM_BYTES;
  const body = isPacked ? await deps.gzip.compress(answered.body) : answered.body;
  const headers = reply.getHeaders() as Record<string, string | number>;
  headers["content-type"] = answered.type;
  headers["content-length"] = body.length;
  if (isPacked) headers["content-encoding"] = deps.gzip.name;
  raw.writeHead(answered.status, headers);
  raw.end(body);
}

async function answer(
  binding: UnaryBinding,
  form: UnaryForm,
  request: FastifyRequest,
  abort: AbortController,
  share: ByteShare,
  { services, config, log }: UnaryDeps,
): Promise<Answered> {
  const { method } = binding;
  const { headers } = request;
  const { signal } = abort;
  const deadline = deadlineOf(form, abort);
  try {
    // Before the body is read: who may not call does not get to send megabytes.
    const principal = await callerOf(services, method, bearerToken(headers.authorization));
    const bytes = await readBody(request.raw, form, mostBytes(method, principal, config), share);
    const message = decode(binding, form, bytes, config.MAX_JSON_VALUES);
    signal.throwIfAborted();
    const running = binding.run(message, {
      principal,
      signal,
      deadlineAt: deadline?.at,
      origin: headers.origin,
      address: request.ip,
    });
    // The caller hears of its deadline when it passes, whenever the operation notices.
    const output = create(
      method.output,
      await (deadline ? Promise.race([running, deadline.passed]) : running),
    );
    return form.json
      ? { status: 200, type: JSON_TYPE, body: Buffer.from(toJsonString(method.output, output)) }
      : { status: 200, type: PROTO, body: toBinary(method.output, output) };
  } catch (thrown) {
    share.close();
    const error = connectError(refusal(thrown, { method: methodName(binding), signal, log }));
    return {
      status: codeToHttpStatus(error.code),
      type: JSON_TYPE,
      body: errorToJsonBytes(error, undefined),
    };
  } finally {
    deadline?.stop();
  }
}

interface Deadline {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Rejects when it passes. */
  readonly passed: Promise<never>;
  stop(): void;
}

function deadlineOf({ timeoutMs }: UnaryForm, abort: AbortController): Deadline | undefined {
  if (timeoutMs === undefined) return undefined;
  const { promise, reject } = Promise.withResolvers<never>();
  // Nobody may be waiting for it yet.
  promise.catch(() => undefined);
  const timer = setTimeout(() => {
    abort.abort(DEADLINE_PASSED);
    reject(DEADLINE_PASSED);
  }, timeoutMs);
  return { at: Date.now() + timeoutMs, passed: promise, stop: () => clearTimeout(timer) };
}

/** @throws AuspexError past a limit, or when the caller goes */
function readBody(raw: IncomingMessage, form: UnaryForm, max: number, share: ByteShare): Promise<Buffer> {
  const { length } = form;
  if (length !== undefined) {
    if (length > max) throw tooLarge(length, max);
    share.take(length);
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const leave = (): void => {
      raw.off("data", take).off("end", end).off("error", gone).off("close", gone);
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      try {
        if (size > max) throw tooLarge(size, max);
        if (length === undefined) share.take(chunk.length);
        chunks.push(chunk);
      } catch (thrown) {
        // The listeners would keep what has come until the caller closes.
        leave();
        reject(thrown);
      }
    };
    const end = (): void => {
      leave();
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size));
    };
    const gone = (): void => {
      leave();
      reject(CALLER_GONE);
    };
    raw.on("data", take).on("end", end).on("error", gone).on("close", gone);
  });
}

function decode({ method }: UnaryBinding, { json }: UnaryForm, bytes: Buffer, maxValues: number): Message {
  if (!json) return decodeMessage(method.input, bytes, maxValues);
  if (countJsonValues(bytes) > maxValues) {
    throw new AuspexError("resource_exhausted", `the body has more than ${maxValues} JSON values`);
  }
  try {
    // A misspelt field is told instead of being ignored.
    return fromJsonString(method.input, bytes.toString(), { ignoreUnknownFields: false });
  } catch (cause) {
    throw new AuspexError("invalid_argument", cause instanceof Error ? cause.message : String(cause), {
      cause,
    });
  }
}
