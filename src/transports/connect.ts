/**
 * Connect and gRPC-Web on the HTTP listener: every operation at `POST /package.Service/Method`, and reads also by
 * GET in Connect. gRPC proper is told its own port.
 */

import type { Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  cors as connectHeaders,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { Compression, UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { AuspexError, ERROR_CODES } from "../domain/error.ts";
import { NOBODY, type Principal } from "../domain/principal.ts";
import type { CallContext } from "../services/call.ts";
import type { Services } from "../services/services.ts";
import { bearerToken } from "./bearer.ts";
import {
  type Answer,
  type Binding,
  bindings,
  callerOf,
  methodName,
  methodPath,
  mostBytes,
} from "./binding.ts";
import { type ByteBudget, type ByteShare, SMALL_BODY_BYTES } from "./byte-budget.ts";
import { readBody } from "./connect-body.ts";
import { connectError } from "./connect-error.ts";
import { connectForm, connectStreamForm } from "./connect-wire.ts";
import { allowOrigins } from "./cors.ts";
import { READ_OPTIONS } from "./decode-message.ts";
import { grpcWebForm, grpcWebStreamForm } from "./grpc-web-wire.ts";
import { CALLER_GONE, DEADLINE_PASSED, refusal } from "./refusal.ts";
import { streamServer } from "./stream.ts";
import { serveUnary } from "./unary.ts";

export interface ConnectDeps {
  readonly services: Services;
  readonly config: Config;
  readonly log: Logger;
  readonly budget: ByteBudget;
  /** Where gRPC is served. */
  readonly grpcPort: number;
}

/** Node's timers fire at once beyond 2³¹−1 ms; a longer Connect-Timeout-Ms is refused instead. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/**
 * Bodies are unpacked before the library sees them; what it unpacks itself are messages in the URL of a GET, which are
 * an id or a page's place.
 */
const GZIP: Compression = {
  name: compressionGzip.name,
  compress: compressionGzip.compress,
  decompress: (bytes, max) => compressionGzip.decompress(bytes, Math.min(max, SMALL_BODY_BYTES)),
};

const PRINCIPAL = createContextKey<Principal | undefined>(undefined);
const ADDRESS = createContextKey<string | undefined>(undefined);

const GRPC = /^application\/grpc(?:[+;]|$)/i;
const ENVELOPED = /^application\/(?:connect\+|grpc-web)/i;
const JSON_BODY = /^application\/(?:connect\+|grpc-web\+)?json\b/i;

export function registerConnect(scope: FastifyInstance, deps: ConnectDeps): void {
  allowOrigins(scope, {
    origins: deps.config.CORS_ORIGINS,
    methods: connectHeaders.allowedMethods,
    allowedHeaders: [...connectHeaders.allowedHeaders, "Authorization"],
    exposedHeaders: connectHeaders.exposedHeaders,
  });
  // The handlers read the body themselves, up to their limit.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _payload, done) => done(null));

  const router = createConnectRouter({
    grpc: false,
    // No Brotli: Node compresses at its highest level, seconds for a picture, on the threads that files need too.
    acceptCompression: [GZIP],
    // Before and after decompression.
    readMaxBytes: deps.config.MAX_BODY_BYTES,
    maxTimeoutMs: TIMEOUT_MS_MAX,
    // A misspelt field is told instead of being ignored.
    jsonOptions: { ignoreUnknownFields: false },
    binaryOptions: READ_OPTIONS,
    // Before the body is read: who may not call does not get to send megabytes; see also `mostBytes`.
    requestGate: async (context) => {
      context.values.set(PRINCIPAL, await principalOf(context, deps));
    },
  });
  const direct = new Map<string, Serve>();
  for (const binding of bindings(deps.services)) {
    route(router, binding, deps);
    direct.set(methodPath(binding.method), directly(binding, deps));
  }
  for (const handler of router.handlers) {
    const served = direct.get(handler.requestPath);
    scope.all(
      handler.requestPath,
      (request, reply) => served?.(request, reply) ?? serve(handler, request, reply, deps),
    );
  }
}

/** Undefined for a call that is the library's to serve. */
type Serve = (request: FastifyRequest, reply: FastifyReply) => Promise<void> | undefined;

function directly(binding: Binding, deps: ConnectDeps): Serve {
  const all = { ...deps, gzip: GZIP };
  if (binding.kind === "unary") {
    return (request, reply) => {
      const form = connectForm(request, TIMEOUT_MS_MAX) ?? grpcWebForm(request, TIMEOUT_MS_MAX);
      return form && serveUnary(binding, form, request, reply, all);
    };
  }
  const serveStream = streamServer(binding, all);
  return (request, reply) => {
    const form = connectStreamForm(request, TIMEOUT_MS_MAX) ?? grpcWebStreamForm(request, TIMEOUT_MS_MAX);
    return form && serveStream(form, request, reply);
  };
}

function route(router: ConnectRouter, binding: Binding, deps: ConnectDeps): void {
  const method = methodName(binding);
  const implementation =
    binding.kind === "unary"
      ? (request: Message, context: HandlerContext) =>
          answer(method, context, deps, (call) => binding.run(request, call))
      : (request: Message, context: HandlerContext) =>
          stream(method, context, deps, (call) => binding.run(request, call));
  // The router derives the type from a method known at compile time; a binding is any method.
  router.rpc(binding.method, implementation as never);
}

async function answer(
  method: string,
  context: HandlerContext,
  { log }: ConnectDeps,
  run: (call: CallContext) => Promise<Answer>,
): Promise<Answer> {
  const { signal, release } = callSignal(context);
  try {
    signal.throwIfAborted();
    const running = run(callContext(context, signal));
    // The caller hears of its deadline when it passes, whenever the operation notices.
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    return await Promise.race([running, aborted]);
  } catch (thrown) {
    throw connectError(refusal(thrown, { method, signal, log }));
  } finally {
    release();
  }
}

async function* stream(
  method: string,
  context: HandlerContext,
  { log }: ConnectDeps,
  run: (call: CallContext) => AsyncIterable<Answer>,
): AsyncGenerator<Answer> {
  const { signal, release } = callSignal(context);
  try {
    for await (const message of run(callContext(context, signal))) {
      yield message;
      signal.throwIfAborted();
    }
    signal.throwIfAborted();
  } catch (thrown) {
    throw connectError(refusal(thrown, { method, signal, log }));
  } finally {
    release();
  }
}

/** The call's signal with our own reasons, so that `refusal` knows what ended it. */
function callSignal(context: HandlerContext): { readonly signal: AbortSignal; release(): void } {
  const abort = new AbortController();
  const onEnd = () => {
    const { reason } = context.signal;
    const late = reason instanceof ConnectError && reason.code === Code.DeadlineExceeded;
    abort.abort(late ? DEADLINE_PASSED : CALLER_GONE);
  };
  context.signal.addEventListener("abort", onEnd);
  if (context.signal.aborted) onEnd();
  return { signal: abort.signal, release: () => context.signal.removeEventListener("abort", onEnd) };
}

async function principalOf(context: HandlerContext, { services, log }: ConnectDeps): Promise<Principal> {
  const token = bearerToken(context.requestHeader.get("authorization") ?? undefined);
  try {
    return await callerOf(services, context.method, token);
  } catch (thrown) {
    throw connectError(refusal(thrown, { method: context.url, signal: context.signal, log }));
  }
}

function callContext(context: HandlerContext, signal: AbortSignal): CallContext {
  const principal = context.values.get(PRINCIPAL);
  if (principal === undefined) throw new Error("the request gate did not run");
  const timeoutMs = context.timeoutMs();
  return {
    principal,
    signal,
    deadlineAt: timeoutMs === undefined ? undefined : Date.now() + timeoutMs,
    origin: context.requestHeader.get("origin") ?? undefined,
    address: context.values.get(ADDRESS),
  };
}

async function serve(
  handler: UniversalHandler,
  request: FastifyRequest,
  reply: FastifyReply,
  { grpcPort, log, config, budget }: ConnectDeps,
): Promise<void> {
  if (GRPC.test(request.headers["content-type"] ?? "")) return refuseGrpc(reply, grpcPort);
  let call: ReturnType<typeof universalRequestFromNodeRequest>;
  const values = createContextValues().set(ADDRESS, request.ip);
  try {
    call = universalRequestFromNodeRequest(request.raw, reply.raw, undefined, values);
  } catch (cause) {
    throw new AuspexError("invalid_argument", "the Host header or the path is malformed", { cause });
  }
  if (request.method === "POST" && request.headers["content-encoding"] === GZIP.name) {
    // It gets the message unpacked.
    call.header.delete("content-encoding");
    call.header.delete("content-length");
  }
  const share = budget.open();
  reply.raw.once("close", share.close);
  reply.hijack();
  try {
    const response = await handler({ ...call, body: bodyOf(handler, request, values, share, config) });
    // What it left unread is thrown away: a caller that sends all before it reads would otherwise never get there.
    request.raw.resume();
    // The response bypasses Fastify, so what hooks have set is handed over.
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value);
    }
    await universalResponseToNodeResponse(untilClosed(response, reply), reply.raw);
  } catch (cause) {
    // The caller is gone: there is nobody to tell.
    log.debug({ err: cause, method: handler.requestPath }, "the response was not delivered");
    reply.raw.destroy();
  }
}

/**
 * The response, whose body ends when the connection does. The library waits until what it has written was taken or has
 * failed; but what Node is given after a socket was destroyed, and before that is told, it drops without a word.
 */
function untilClosed(response: UniversalServerResponse, { raw }: FastifyReply): UniversalServerResponse {
  const { body } = response;
  if (body === undefined) return response;
  return {
    ...response,
    body: {
      [Symbol.asyncIterator]() {
        const messages = body[Symbol.asyncIterator]();
        // It answers once the message that is being made has been; what it then says is for nobody.
        const end = () => void messages.return?.().catch(() => undefined);
        raw.once("close", end);
        return messages;
      },
    },
  };
}

/** The call's message as the library is to read it. */
async function* bodyOf(
  { method }: UniversalHandler,
  { raw, headers }: FastifyRequest,
  values: ContextValues,
  share: ByteShare,
  config: Config,
): AsyncGenerator<Uint8Array> {
  const type = headers["content-type"] ?? "";
  const enveloped = ENVELOPED.test(type);
  const [encoding] = [
    enveloped
      ? (headers["grpc-encoding"] ?? headers["connect-content-encoding"])
      : headers["content-encoding"],
  ].flat();
  const form = {
    enveloped,
    json: JSON_BODY.test(type),
    encoding,
    length: headers["content-length"] === undefined ? undefined : Number(headers["content-length"]),
    schema: method.input,
  };
  const limits = {
    // It is read after the gate, which knows who calls.
    maxBytes: mostBytes(method, values.get(PRINCIPAL) ?? NOBODY, config),
    maxValues: config.MAX_JSON_VALUES,
    share,
  };
  // A body that is refused half-way must not take the connection with it, or the caller never reads why.
  const bytes: AsyncIterable<Uint8Array> = raw.iterator({ destroyOnReturn: false });
  try {
    yield* readBody(bytes, form, limits);
  } catch (thrown) {
    throw thrown instanceof AuspexError ? connectError(thrown) : thrown;
  }
}

/** A gRPC "trailers-only" answer; over HTTP/1.1 its status travels in the headers. */
function refuseGrpc(reply: FastifyReply, port: number): void {
  reply
    .header("content-type", "application/grpc")
    .header("grpc-status", String(ERROR_CODES.unimplemented.grpc))
    .header("grpc-message", encodeURIComponent(`gRPC is served on port ${port}`))
    .send();
}
