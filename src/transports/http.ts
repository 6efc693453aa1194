/**
 * The HTTP/1.1 listener: health, metrics, files, Connect and gRPC-Web, and the REST dialects, each in a scope of its own.
 * Global is only what nobody else answers: unknown paths and requests that never became one.
 */
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { TLSSocket } from "node:tls";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Logger } from "pino";
import { type Config, isLoopback } from "../config.ts";
import { AuspexError, ERROR_CODES } from "../domain/error.ts";
import type { Services } from "../services/services.ts";
import { countBodies } from "./body-budget.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { answerUnparsable, hasOneHost, refuseHosts, refusePipelined } from "./client-error.ts";
import { registerConnect } from "./connect.ts";
import type { Dialect } from "./dialect.ts";
import { registerFiles } from "./files.ts";
import { inTurn } from "./pipelining.ts";
import { guardSockets } from "./socket-patience.ts";

export interface HttpListener {
  readonly port: number;
  /**
   * Nothing new is accepted, and running requests have up to `graceMs` to finish before their connections are cut;
   * the services, told to stop before this, end their watch streams themselves. Resolves when everything is closed.
   */
  drain(graceMs: number): Promise<void>;
}

export interface HttpOptions {
  readonly services: Services;
  readonly config: Config;
  readonly log: Logger;
  readonly budget: ByteBudget;
  readonly dialects: readonly Dialect[];
  /** Where gRPC is served: clients that bring it here are told. */
  readonly grpcPort: number;
}

/** Slow senders are cut off: headers come in one packet. */
const HEADERS_TIMEOUT_MS = 10_000;
/** How often this and the request's timeout are looked at (Node's default of 30 s would make them rough). */
const TIMEOUT_CHECK_MS = 2_000;
/** Above the 60 s after which common load balancers drop an idle connection: the side that reuses must close first. */
const KEEP_ALIVE_MS = 65_000;
/** TCP probes find peers that went away without a word, e.g. under an idle watch stream. */
const TCP_PROBE_AFTER_MS = 60_000;
/** Access tokens travel in paths. */
const PARAM_CHARS_MAX = 4096;
/** How often a drain looks for connections whose last answer is out. */
const DRAIN_CHECK_MS = 20;

/** @throws Error with code EADDRINUSE when the port is taken */
export async function startHttp(options: HttpOptions): Promise<HttpListener> {
  const { services, config, log, budget, dialects, grpcPort } = options;
  const app = Fastify({
    serverFactory: (handler) => {
      const serve: RequestListener = (request, response) =>
        hasOneHost(request) ? handler(request, response) : refuseHosts(request);
      return guardSockets(createHttpServer(config), config).on("request", inTurn(serve, refusePipelined));
    },
    bodyLimit: config.MAX_BODY_BYTES,
    routerOptions: { maxParamLength: PARAM_CHARS_MAX },
    // While draining, the services refuse in each protocol's own form.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) => answerUnparsable(error, socket, grpcPort),
    frameworkErrors: answerBadPath,
  });
  app.setErrorHandler((thrown, request, reply) => {
    const { status, body } = describe(thrown);
    if (status >= 500) log.error({ err: thrown, method: `${request.method} ${request.url}` }, "call failed");
    reply.code(status).send(body);
  });
  if (config.open && isLoopback(config.HOST)) refuseForeignHosts(app);
  app.register(async (scope) => registerOperational(scope, services));
  app.register(async (scope) => registerConnect(scope, { services, config, log, budget, grpcPort }));
  for (const { prefixes, register } of dialects) {
    for (const prefix of prefixes) {
      const serve = async (scope: FastifyInstance) => {
        countBodies(scope, budget);
        register(scope, { services, config, log });
      };
      app.register(serve, { prefix });
    }
  }
  await app.listen({ host: config.HOST, port: config.HTTP_PORT });
  const address = app.server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.HTTP_PORT;
  if (!config.tls && !isLoopback(config.HOST)) {
    log.warn({ host: config.HOST, port }, "HTTP is served without TLS where others can listen in");
  }
  return { port, drain: (graceMs) => drain(app, graceMs) };
}

/** What a browser may send of a name; anything else is malformed, which is told elsewhere. */
const NAMED_HOST = /^[\w.-]+(?::\d+)?$/;
const LOCAL_HOST = /^(?:localhost|[^:]+\.localhost|[\d.]+|\[[\da-f:.]+\])(?::\d+)?$/i;

/**
 * A web page can make its own name mean this machine (DNS rebinding); to its browser, an open server would then be of
 * the page's own origin. Such a request still carries the page's name.
 */
function refuseForeignHosts(app: FastifyInstance): void {
  app.addHook("onRequest", async ({ headers: { host } }) => {
    if (host === undefined || !NAMED_HOST.test(host) || LOCAL_HOST.test(host)) return;
    throw new AuspexError(
      "permission_denied",
      `an open server answers to localhost and to addresses, not to the name ${host.slice(0, 100)}`,
    );
  });
}

function createHttpServer(config: Config): Server {
  const { tls, REQUEST_TIMEOUT } = config;
  const options = {
    maxHeaderSize: config.MAX_HEADER_BYTES,
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, REQUEST_TIMEOUT),
    requestTimeout: REQUEST_TIMEOUT,
    connectionsCheckingInterval: Math.min(TIMEOUT_CHECK_MS, REQUEST_TIMEOUT / 2),
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAlive: true,
    keepAliveInitialDelay: TCP_PROBE_AFTER_MS,
  };
  if (!tls) return createServer(options);
  const ca =
    tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true };
  const pair = { cert: tls.cert, key: tls.key, ...ca };
  return createTlsServer({ ...options, ...pair, ALPNProtocols: ["http/1.1"] }).on(
    "secureConnection",
    readThroughStream,
  );
}

/**
 * While an answer waits for its caller Node pauses the connection's parser. By itself the parser takes its bytes from the
 * handle, and under TLS that goes on with what it has decrypted: a request whose head and body were two records was
 * answered 400, "Parse Error: Paused". A listener of ours moves the reading to the stream, which keeps such bytes.
 */
function readThroughStream(socket: TLSSocket): void {
  socket.on("data", () => {});
}

/** Health, metrics, files, and what is nobody's. */
function registerOperational(scope: FastifyInstance, services: Services): void {
  // A body that nobody will look at is no reason to complain about its type.
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
  scope.get("/healthz", async () =>
    services.health.serving() ? { status: "ok" } : { status: "degraded", reason: services.health.reason() },
  );
  scope.get("/readyz", async (_request, reply) => {
    if (services.health.serving()) return { status: "ready" };
    return reply.code(503).send({ status: "not ready", reason: services.health.reason() });
  });
  scope.get("/metrics", async (_request, reply) => {
    const { text, contentType } = await services.metrics();
    return reply.type(contentType).send(text);
  });
  registerFiles(scope, services);
  scope.setNotFoundHandler((request, reply) => {
    const [path = ""] = request.url.split("?", 1);
    reply
      .code(404)
      .send(errorBody("not_found", `there is nothing at ${request.method} ${path.slice(0, 200)}`));
  });
}

/** For paths that cannot be decoded or have too long a part: they belong to no scope. */
function answerBadPath(error: Error, _request: FastifyRequest, reply: FastifyReply): void {
  reply.code(400).send(errorBody("invalid_argument", error.message));
}

function errorBody(code: string, message: string) {
  return { error: { code, message } };
}

function describe(thrown: unknown): { readonly status: number; readonly body: ReturnType<typeof errorBody> } {
  // Fastify's own refusals carry the status that they mean, e.g. 413.
  if (thrown instanceof Error && "statusCode" in thrown && Number(thrown.statusCode) < 500) {
    return { status: Number(thrown.statusCode), body: errorBody("invalid_argument", thrown.message) };
  }
  const error = AuspexError.from(thrown);
  return { status: ERROR_CODES[error.code].http, body: errorBody(error.code, error.message) };
}

async function drain(app: FastifyInstance, graceMs: number): Promise<void> {
  const closed = app.close();
  // Closing drops the connections that are idle by then; those that fall idle later have to be looked for.
  const sweep = setInterval(() => app.server.closeIdleConnections(), DRAIN_CHECK_MS);
  const force = setTimeout(() => app.server.closeAllConnections(), graceMs);
  try {
    await closed;
  } finally {
    clearInterval(sweep);
    clearTimeout(force);
  }
}
