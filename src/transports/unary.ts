/**
 * Unary calls of Connect and gRPC-Web as most of them come: a POST of one message, protobuf or JSON, not packed. The library
 * serves them too, and everything else; through it a call takes several times the main thread's time that it takes over
 * gRPC, most of it for web streams' and headers' objects that are made only to be taken apart again
 * (`npm run bench -- --only echo,doors`). What the two protocols write differently is in `connect-unary.ts` and
 * `grpc-web-unary.ts`.
 */
import type { IncomingMessage } from "node:http";
import {
  create,
  type DescMessage,
  fromJsonString,
  type Message,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { AuspexError } from "../domain/error.ts";
import type { Services } from "../services/services.ts";
import { bearerToken } from "./bearer.ts";
import { type Answer, callerOf, methodName, mostBytes, type UnaryBinding } from "./binding.ts";
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

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** A body taken apart: what it says, or how it is not as the protocol has it. */
export type Unwrapped =
  | { readonly kind: "message"; readonly bytes: Buffer }
  | { readonly kind: "malformed"; readonly error: ConnectError };

/** How a protocol reads and writes bodies. */
export interface Wire {
  readonly json: boolean;
  /** Bytes that a body has beside its message. */
  readonly headBytes: number;
  /** @throws AuspexError for what begins so and will be past the limit */
  checkHead(start: Buffer, maxBytes: number): void;
  /** @throws AuspexError for a message past the limit */
  unwrap(body: Buffer, maxBytes: number): Unwrapped;
  /** @param gzip where the caller takes it */
  answer(message: Uint8Array, gzip: Compression | undefined): Promise<Reply>;
  refuse(error: ConnectError, gzip: Compression | undefined): Promise<Reply>;
}

/** What a call's headers say of it. */
export interface UnaryForm {
  readonly wire: Wire;
  /** Whole milliseconds. */
  readonly timeoutMs: number | undefined;
  /** Bytes; undefined for a body in chunks. */
  readonly length: number | undefined;
  readonly acceptsGzip: boolean;
}

/** As the library: what is shorter is not worth its head. */
export const PACKED_FROM_BYTES = 1024;

/** A host that needs no reading to be known for one. */
const PLAIN_HOST = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?$/i;

/** Passes over a byte order mark. */
const UTF_8 = new TextDecoder();

/** Whether it is not for the library to complain of its verb or its host. */
export function isPlainPost({ raw: { method, headers } }: FastifyRequest): boolean {
  return method === "POST" && PLAIN_HOST.test(headers.host ?? "");
}

/** @param accepted the header that names the encodings of an answer */
export function unaryForm(
  { raw: { headers } }: FastifyRequest,
  wire: Wire,
  timeoutMs: number | undefined,
  accepted: string | string[] | undefined,
): UnaryForm {
  const length = headers["content-length"];
  return {
    wire,
    timeoutMs,
    length: length === undefined ? undefined : Number(length),
    acceptsGzip: /(?:^|,)[ \t]*gzip[ \t]*(?:,|$)/.test(String(accepted ?? "")),
  };
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
  try {
    const { status, headers, body } = await answer(binding, form, request, abort, share, deps);
    // What was left unread is thrown away: a caller that sends all before it reads would otherwise never get there.
    request.raw.resume();
    if (raw.destroyed) return;
    const all = reply.getHeaders() as Record<string, string | number>;
    raw.writeHead(status, Object.assign(all, headers, { "content-length": body.length }));
    raw.end(body);
  } catch (cause) {
    deps.log.error({ err: cause, method: methodName(binding) }, "an answer could not be written");
    raw.destroy();
  }
}

async function answer(
  binding: UnaryBinding,
  form: UnaryForm,
  request: FastifyRequest,
  abort: AbortController,
  share: ByteShare,
  { services, config, log, gzip }: UnaryDeps,
): Promise<Reply> {
  const { method } = binding;
  const { wire } = form;
  const { headers } = request;
  const { signal } = abort;
  const packs = form.acceptsGzip ? gzip : undefined;
  const deadline = deadlineOf(form, abort);
  try {
    // Before the body is read: who may not call does not get to send megabytes.
    const principal = await callerOf(services, method, bearerToken(headers.authorization));
    const maxBytes = mostBytes(method, principal, config);
    const body = await readBody(request.raw, form, maxBytes, share);
    const unwrapped = wire.unwrap(body, maxBytes);
    if (unwrapped.kind === "malformed") {
      share.close();
      return await wire.refuse(unwrapped.error, packs);
    }
    const message = decode(method.input, wire, unwrapped.bytes, config.MAX_JSON_VALUES);
    signal.throwIfAborted();
    const running = binding.run(message, {
      principal,
      signal,
      deadlineAt: deadline?.at,
      origin: headers.origin,
      address: request.ip,
    });
    // The caller hears of its deadline when it passes, whenever the operation notices.
    const output = await (deadline ? Promise.race([running, deadline.passed]) : running);
    return await wire.answer(encode(method.output, wire, output), packs);
  } catch (thrown) {
    share.close();
    const error = refusal(thrown, { method: methodName(binding), signal, log });
    return await wire.refuse(connectError(error), packs);
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
  const pass = (): void => {
    abort.abort(DEADLINE_PASSED);
    reject(DEADLINE_PASSED);
  };
  let timer: NodeJS.Timeout | undefined;
  // A timer takes a millisecond at least.
  if (timeoutMs === 0) pass();
  else timer = setTimeout(pass, timeoutMs);
  return { at: Date.now() + timeoutMs, passed: promise, stop: () => clearTimeout(timer) };
}

/** @throws AuspexError past a limit, or when the caller goes */
function readBody(
  raw: IncomingMessage,
  { wire, length }: UnaryForm,
  maxBytes: number,
  share: ByteShare,
): Promise<Buffer> {
  const max = maxBytes + wire.headBytes;
  // The caller went while it was found out who it is, and nobody would tell of that any more.
  if (raw.destroyed) throw CALLER_GONE;
  if (length !== undefined) {
    if (length > max) throw tooLarge(length, maxBytes);
    share.take(length);
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let isHeadKnown = wire.headBytes === 0;
    const leave = (): void => {
      raw.off("data", take).off("end", end).off("error", gone).off("close", gone);
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      try {
        if (size > max) throw tooLarge(size, maxBytes);
        if (length === undefined) share.take(chunk.length);
        chunks.push(chunk);
        if (!isHeadKnown && size >= wire.headBytes) {
          isHeadKnown = true;
          wire.checkHead(chunks.length === 1 ? chunk : Buffer.concat(chunks), maxBytes);
        }
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

function decode(schema: DescMessage, { json }: Wire, bytes: Buffer, maxValues: number): Message {
  if (!json) return decodeMessage(schema, bytes, maxValues);
  if (countJsonValues(bytes) > maxValues) {
    throw new AuspexError("resource_exhausted", `the body has more than ${maxValues} JSON values`);
  }
  try {
    // A misspelt field is told instead of being ignored.
    return fromJsonString(schema, UTF_8.decode(bytes), { ignoreUnknownFields: false });
  } catch (cause) {
    throw new AuspexError("invalid_argument", cause instanceof Error ? cause.message : String(cause), {
      cause,
    });
  }
}

function encode(schema: DescMessage, { json }: Wire, answer: Answer): Uint8Array {
  const output = create(schema, answer);
  return json ? Buffer.from(toJsonString(schema, output)) : toBinary(schema, output);
}
