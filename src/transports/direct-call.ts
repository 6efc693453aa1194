/**
 * Calls of Connect and gRPC-Web as most of them come: a POST of one message, protobuf or JSON, not packed. The library
 * serves them too, and everything else; through it a call takes several times the main thread's time that it takes over
 * gRPC, most of it for web streams' and headers' objects that are made only to be taken apart again
 * (`npm run bench -- --only echo,doors`). Here is how such a call is taken in; `unary.ts` and `stream.ts` answer it.
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
import type { CallContext } from "../services/call.ts";
import type { Services } from "../services/services.ts";
import { bearerToken } from "./bearer.ts";
import { type Answer, type Binding, callerOf, methodName, mostBytes } from "./binding.ts";
import type { ByteBudget, ByteShare } from "./byte-budget.ts";
import { tooLarge } from "./connect-body.ts";
import { connectError } from "./connect-error.ts";
import { decodeMessage } from "./decode-message.ts";
import { countJsonValues } from "./json-values.ts";
import { CALLER_GONE, DEADLINE_PASSED, refusal } from "./refusal.ts";

export interface DirectDeps {
  readonly services: Services;
  readonly config: Pick<Config, "MAX_BODY_BYTES" | "MAX_JSON_VALUES">;
  readonly log: Logger;
  readonly budget: ByteBudget;
  /** For answers. */
  readonly gzip: Compression;
}

/** How a protocol reads a call's body. */
export interface RequestWire {
  readonly json: boolean;
  /** Bytes that a body has beside its message. */
  readonly headBytes: number;
  /** @throws AuspexError for what begins so and will be past the limit */
  checkHead(start: Buffer, maxBytes: number): void;
  /**
   * The message in a body.
   *
   * @throws MalformedBody for one that is not as the protocol has it, AuspexError for a message past the limit
   */
  unwrap(body: Buffer, maxBytes: number): Buffer;
}

/** What a call's headers say of it. */
export interface CallForm<W extends RequestWire> {
  readonly wire: W;
  /** Whole milliseconds. */
  readonly timeoutMs: number | undefined;
  /** Bytes; undefined for a body in chunks. */
  readonly length: number | undefined;
  readonly acceptsGzip: boolean;
}

/** A body that no call can be made of, with the answer that the protocol has for it. */
export class MalformedBody extends Error {
  readonly answer: ConnectError;

  constructor(answer: ConnectError) {
    super(answer.message);
    this.answer = answer;
  }
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
export function callForm<W extends RequestWire>(
  { raw: { headers } }: FastifyRequest,
  wire: W,
  timeoutMs: number | undefined,
  accepted: string | string[] | undefined,
): CallForm<W> {
  const length = headers["content-length"];
  return {
    wire,
    timeoutMs,
    length: length === undefined ? undefined : Number(length),
    acceptsGzip: /(?:^|,)[ \t]*gzip[ \t]*(?:,|$)/.test(String(accepted ?? "")),
  };
}

/** One call under way. */
export interface DirectCall {
  readonly binding: Binding;
  readonly form: CallForm<RequestWire>;
  readonly request: FastifyRequest;
  readonly abort: AbortController;
  readonly share: ByteShare;
  readonly deadline: Deadline | undefined;
  readonly deps: DirectDeps;
}

/** Takes the answering over from Fastify. */
export function begin(
  binding: Binding,
  form: CallForm<RequestWire>,
  request: FastifyRequest,
  reply: FastifyReply,
  deps: DirectDeps,
): DirectCall {
  const share = deps.budget.open();
  const abort = new AbortController();
  reply.raw.once("close", () => {
    share.close();
    if (!reply.raw.writableFinished) abort.abort(CALLER_GONE);
  });
  reply.hijack();
  return { binding, form, request, abort, share, deadline: deadlineOf(form, abort), deps };
}

/** Who calls, and with what. Rejects with what `errorOf` takes. */
export async function accept({
  binding: { method },
  form,
  request,
  abort: { signal },
  share,
  deadline,
  deps: { services, config },
}: DirectCall): Promise<{ readonly message: Message; readonly context: CallContext }> {
  const { headers } = request;
  // Before the body is read: who may not call does not get to send megabytes.
  const principal = await callerOf(services, method, bearerToken(headers.authorization));
  const maxBytes = mostBytes(method, principal, config);
  const body = await readBody(request.raw, form, maxBytes, share, deadline);
  const message = decode(method.input, form.wire, form.wire.unwrap(body, maxBytes), config.MAX_JSON_VALUES);
  signal.throwIfAborted();
  const context = {
    principal,
    signal,
    deadlineAt: deadline?.at,
    origin: headers.origin,
    address: request.ip,
  };
  return { message, context };
}

/** What the caller is told. Its message is not counted any more: nothing holds it but an operation that is told to stop. */
export function errorOf(thrown: unknown, { binding, abort, share, deps }: DirectCall): ConnectError {
  share.close();
  if (thrown instanceof MalformedBody) return thrown.answer;
  const { signal } = abort;
  return connectError(refusal(thrown, { method: methodName(binding), signal, log: deps.log }));
}

export interface Deadline {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Rejects when it passes. */
  readonly passed: Promise<never>;
  stop(): void;
}

function deadlineOf({ timeoutMs }: CallForm<RequestWire>, abort: AbortController): Deadline | undefined {
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

/** @throws AuspexError past a limit, when the caller goes, or when its deadline passes */
function readBody(
  raw: IncomingMessage,
  { wire, length }: CallForm<RequestWire>,
  maxBytes: number,
  share: ByteShare,
  deadline: Deadline | undefined,
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
        share.takePiece(chunk.length);
        chunks.push(chunk);
        if (!isHeadKnown && size >= wire.headBytes) {
          isHeadKnown = true;
          wire.checkHead(chunks.length === 1 ? chunk : Buffer.concat(chunks), maxBytes);
        }
      } catch (thrown) {
        // The listeners would keep what has come until the caller closes.
        give(thrown);
      }
    };
    const end = (): void => {
      leave();
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size));
    };
    const give = (reason: unknown): void => {
      leave();
      reject(reason);
    };
    const gone = (): void => give(CALLER_GONE);
    deadline?.passed.catch(give);
    raw.on("data", take).on("end", end).on("error", gone).on("close", gone);
  });
}

function decode(schema: DescMessage, { json }: RequestWire, bytes: Buffer, maxValues: number): Message {
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

export function encode(schema: DescMessage, { json }: RequestWire, answer: Answer): Uint8Array {
  const output = create(schema, answer);
  return json ? Buffer.from(toJsonString(schema, output)) : toBinary(schema, output);
}

/** The headers of an answer, with those that hooks have set. */
export function headersOf(
  reply: FastifyReply,
  own: Readonly<Record<string, string | number>>,
): Record<string, string | number> {
  return Object.assign(reply.getHeaders() as Record<string, string | number>, own);
}
