/**
 * What every request of this dialect passes, whichever route it is for: the page that it comes from, who asks, the
 * raw body within its limit, errors in its own words, its own 404, 405 and 412, and a slash at the end or none.
 *
 * The same routes are served under `/api/v1` and at the root, where each of their first parts is a scope of its own.
 */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Config } from "../../../config.ts";
import { AuspexError } from "../../../domain/error.ts";
import type { JsonValue } from "../../../domain/payload.ts";
import { NOBODY, type Principal } from "../../../domain/principal.ts";
import type { CallContext } from "../../../services/call.ts";
import { mayCall } from "../../../services/origin.ts";
import type { Services } from "../../../services/services.ts";
import { bearerToken } from "../../bearer.ts";
import { UNVOUCHED_BODY_MAX } from "../../binding.ts";
import type { DialectContext } from "../../dialect.ts";
import { goneSignal } from "../../gone-signal.ts";
import { matchesPattern } from "../../path-pattern.ts";
import { Refused, refusalBody, refusalOf, withFlow } from "./errors.ts";
import { pathPart } from "./request.ts";

/** One request on its way through a route. */
export interface Exchange {
  readonly services: Services;
  readonly config: Config;
  readonly request: FastifyRequest;
  /** Whom the operation works for, from where, and the signal that the client has gone. */
  readonly call: CallContext;
}

export interface Answer {
  /** 200 unless given. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Body;
}

type Body =
  | { readonly kind: "json"; readonly value: JsonValue }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array; readonly mediaType: string }
  /** Server-sent events as they go over the wire; `release` lets go of what is behind them, read or not. */
  | {
      readonly kind: "events";
      readonly frames: AsyncIterable<string>;
      readonly release: () => Promise<unknown>;
    };

export function json(value: JsonValue): Answer {
  return { body: { kind: "json", value } };
}

/**
 * Whom a route is for: anybody; whoever may ask a flow, which the operation finds out, from pages of the flow's
 * origins; or a principal, from pages of the server's own CORS_ORIGINS.
 */
export type Audience = "anybody" | "asker" | "principal";

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below `/api/v1`, with Fastify's `:parameters`, e.g. `/prediction/:id`. */
  readonly path: string;
  readonly audience: Audience;
  /**
   * Of a route for askers, the parameter that names the flow. Who may not ask it gets to send nothing; where the body has to
   * be read to know which flow it is, the body is small.
   */
  readonly flow?: string;
  readonly handle: (exchange: Exchange) => Promise<Answer>;
}

const ROOT = "/api/v1";

/** Characters of a path that an answer repeats. */
const PATH_SHOWN_MAX = 200;

/** What scripts may send and see; `*` would not cover `Authorization`. */
const CORS_REQUEST_HEADERS =
  "Authorization, Content-Type, Accept, Cache-Control, Last-Event-ID, X-Requested-With";
const CORS_EXPOSED_HEADERS = "X-Prediction-Id, Retry-After, Content-Disposition";
/** Browsers ask again after at most two hours (Chromium's cap). */
const PREFLIGHT_MAX_AGE_S = 7200;

const EVENT_HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-cache",
  // Proxies such as nginx would keep the pieces together.
  "x-accel-buffering": "no",
} as const;

/**
 * @param unserved groups of routes that this API has and we have not, e.g. `tools`
 */
export function openDoor(
  scope: FastifyInstance,
  context: DialectContext,
  all: readonly Route[],
  unserved: readonly string[],
): void {
  const { services, config, log } = context;
  const base = scope.prefix === ROOT ? "" : scope.prefix;
  const own = all.filter(({ path }) => base === "" || path === base || path.startsWith(`${base}/`));
  const routes = [...own, ...withoutId(own)];
  const callers = new WeakMap<FastifyRequest, Principal>();

  scope.removeAllContentTypeParsers();
  // Bodies stay bytes: what they are is found out by the route that wants one, and how long they may be.
  scope.addContentTypeParser("*", { parseAs: "buffer" }, (_, body, done) => done(null, body));

  const pathOf = (request: FastifyRequest): string => {
    const [fullPath = ""] = request.url.split("?", 1);
    return (base + fullPath.slice(scope.prefix.length)).replace(/\/$/, "");
  };
  const routesOf = (request: FastifyRequest): readonly Route[] => {
    const path = pathOf(request);
    return routes.filter((route) => matchesPattern(route.path, path));
  };
  const refuseUnknown = (request: FastifyRequest): never => {
    const path = pathOf(request);
    const group = path.split("/")[1] ?? "";
    if (unserved.includes(group)) throw new Refused(501, `This server has no ${group}`);
    const methods = routesOf(request).map(({ method }) => method);
    if (methods.length === 0) {
      const [shown = ""] = request.url.split("?", 1);
      throw new Refused(404, `There is nothing at ${request.method} ${shown.slice(0, PATH_SHOWN_MAX)}`);
    }
    throw new Refused(405, `${request.method} is not allowed here`, { allow: methods.join(", ") });
  };

  scope.addHook("onRequest", async (request, reply) => {
    const found = routesOf(request);
    allowOrigin(request, reply, config, found);
    if (request.method === "OPTIONS" && found.length > 0) return answerPreflight(reply, found);
    // Before the body is read: nobody sends 50 MiB to be told that the path is unknown.
    if (request.is404 || hasEmptyPart(request)) refuseUnknown(request);
    return undefined;
  });
  scope.setNotFoundHandler(refuseUnknown);

  scope.setErrorHandler((thrown, request, reply) => {
    const refused = refusalOf(thrown);
    // A flow that fails is its creator's to know of; what nobody foresaw is ours.
    if (refused.status === 500 && AuspexError.from(refused.cause).code === "internal") {
      const method = `${request.method} ${request.url}`;
      log.error({ err: refused.cause, dialect: "studio", method }, "call failed");
    }
    reply.code(refused.status).headers(refused.headers).type("application/json");
    return reply.send(JSON.stringify(refusalBody(refused)));
  });

  for (const { method, path, audience, flow, handle } of routes) {
    const local = path.slice(base.length);
    const isVouchedFor = audience === "principal" || (audience === "asker" && flow !== undefined);
    // Of the prefix itself the router takes both.
    for (const url of local === "" ? ["/"] : [local, `${local}/`]) {
      scope.route({
        method,
        url,
        exposeHeadRoute: false,
        bodyLimit: isVouchedFor ? config.MAX_BODY_BYTES : Math.min(UNVOUCHED_BODY_MAX, config.MAX_BODY_BYTES),
        onRequest: async (request) => {
          if (audience === "principal") refuseForeignPages(request, config);
          const caller = await callerOf(services, audience, request);
          callers.set(request, caller);
          if (audience !== "asker" || flow === undefined) return;
          const id = pathPart(request, flow);
          await withFlow(id, () => services.admitAsker(id, caller));
        },
        handler: async (request, reply) => {
          const call: CallContext = {
            principal: callers.get(request) ?? NOBODY,
            signal: goneSignal(reply),
            deadlineAt: undefined,
            origin: request.headers.origin,
            address: request.ip,
          };
          return send(reply, await handle({ services, config, request, call }));
        },
      });
    }
  }
}

/** A call whose id is missing is told so: 412, as the original does. */
function withoutId(routes: readonly Route[]): readonly Route[] {
  return routes.flatMap((route) => {
    const path = /^(.+)\/:\w+$/.exec(route.path)?.[1];
    const isTaken = routes.some((other) => other.method === route.method && other.path === path);
    if (path === undefined || path.includes(":") || isTaken) return [];
    const handle = async () => {
      throw new Refused(412, `Error: ${path.slice(1)} - id not provided!`);
    };
    return [{ ...route, path, audience: "anybody", handle } satisfies Route];
  });
}

/**
 * The answer to a page may be read where its origin is allowed; that of a flow's route always, because the operation
 * itself refuses other origins, and the page's visitor is to read why. No cookies are involved.
 */
function allowOrigin(
  request: FastifyRequest,
  reply: FastifyReply,
  config: Config,
  found: readonly Route[],
): void {
  const { origin } = request.headers;
  // The answer differs by origin, also for a cache that saw a request without one.
  reply.header("vary", "Origin");
  if (origin === undefined) return;
  const wanted = request.headers["access-control-request-method"] ?? request.method;
  const route = found.find(({ method }) => method === wanted);
  const isOwn = route === undefined || route.audience === "principal";
  if (isOwn && !mayCall(origin, config.CORS_ORIGINS)) return;
  reply.header("access-control-allow-origin", origin);
  reply.header("access-control-expose-headers", CORS_EXPOSED_HEADERS);
}

function answerPreflight(reply: FastifyReply, found: readonly Route[]): FastifyReply {
  if (reply.getHeader("access-control-allow-origin") !== undefined) {
    reply.header("access-control-allow-methods", found.map(({ method }) => method).join(", "));
    reply.header("access-control-allow-headers", CORS_REQUEST_HEADERS);
    reply.header("access-control-max-age", PREFLIGHT_MAX_AGE_S);
  }
  return reply.code(204).send();
}

/**
 * A page needs no preflight to post a form or a text, so that CORS alone would not keep a foreign one from changing
 * an open server's flows.
 */
function refuseForeignPages({ headers: { origin } }: FastifyRequest, { CORS_ORIGINS }: Config): void {
  if (origin === undefined || mayCall(origin, CORS_ORIGINS)) return;
  throw new Refused(403, "This origin is not among the server's CORS_ORIGINS");
}

/** Rejects with `unauthenticated`. */
async function callerOf(services: Services, audience: Audience, request: FastifyRequest): Promise<Principal> {
  const token = bearerToken(request.headers.authorization);
  switch (audience) {
    case "anybody":
      return NOBODY;
    case "asker":
      return services.authenticateAsker(token);
    case "principal":
      return services.authenticate(token);
    default:
      return audience satisfies never;
  }
}

async function send(
  reply: FastifyReply,
  { status = 200, headers = {}, body }: Answer,
): Promise<FastifyReply> {
  reply.code(status).headers(headers);
  switch (body.kind) {
    case "json":
      return reply.type("application/json").send(JSON.stringify(body.value));
    case "text":
      return reply.type("text/plain; charset=utf-8").send(body.text);
    case "bytes":
      return reply
        .type(body.mediaType)
        .send(Buffer.from(body.bytes.buffer, body.bytes.byteOffset, body.bytes.length));
    case "events":
      return sendEvents(reply, body);
    default:
      return body satisfies never;
  }
}

/** The head goes out at once; then as fast as it is read. */
async function sendEvents(
  reply: FastifyReply,
  { frames, release }: Extract<Body, { readonly kind: "events" }>,
): Promise<FastifyReply> {
  const headers = { ...reply.getHeaders(), ...EVENT_HEADERS };
  reply.hijack();
  try {
    reply.raw.writeHead(200, headers as Record<string, string>);
    reply.raw.flushHeaders();
    await pipeline(Readable.from(frames), reply.raw);
  } catch {
    // Frames report their own errors: what fails here is the connection.
    reply.raw.destroy();
  } finally {
    // For a reader that is gone before the first frame, which frames themselves never hear of.
    await release().catch(() => undefined);
  }
  return reply;
}

/** The router takes `/prediction/` for `/prediction/:id` with an empty id. */
function hasEmptyPart(request: FastifyRequest): boolean {
  return Object.values(request.params as Record<string, string>).includes("");
}
