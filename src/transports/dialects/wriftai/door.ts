/**
 * What every request of this dialect passes, whichever route it is for: who asks, the raw body within its limit,
 * the headers on every answer, errors in its own words, and its own 404, 405 and slash redirect.
 */
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Config } from "../../../config.ts";
import type { JsonValue } from "../../../domain/payload.ts";
import type { Principal } from "../../../domain/principal.ts";
import type { CallContext } from "../../../services/call.ts";
import type { RateLimitState, Services } from "../../../services/services.ts";
import { bearerToken } from "../../bearer.ts";
import type { DialectContext } from "../../dialect.ts";
import { goneSignal } from "../../gone-signal.ts";
import { matchesPattern } from "../../path-pattern.ts";
import { originOf } from "../../request-origin.ts";
import { Refused, refusalOf } from "./errors.ts";

/** One request on its way through a route. */
export interface Exchange {
  readonly services: Services;
  readonly config: Config;
  readonly request: FastifyRequest;
  /** `http://host/v1`, without a slash at the end. */
  readonly base: string;
  /**
   * Whom the operation works for, and the signal that the client has gone.
   * Rejects with `unauthenticated`.
   */
  call(): Promise<CallContext>;
}

export interface Answer {
  readonly status: number;
  /** A stream is sent as it is, undefined is no body. */
  readonly body: JsonValue | Readable | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Route {
  readonly method: "GET" | "POST";
  /** Below the prefix, with Fastify's `:parameters`. */
  readonly path: string;
  readonly handle: (exchange: Exchange) => Promise<Answer>;
}

const REQUEST_ID = "x-request-id";

/**
 * Bytes of a body that is parsed before anybody asks who sent it, as this API's order of complaints wants it.
 * Parsing 50 MiB takes the thread for seconds, which is not for everybody to have.
 */
export const STRANGER_BODY_MAX = 256 * 1024;

export function openDoor(scope: FastifyInstance, context: DialectContext, routes: readonly Route[]): void {
  const { services, config, log } = context;
  const answerUnknown = (request: FastifyRequest, reply: FastifyReply) =>
    refuseUnknown(request, reply, scope.prefix, routes);

  scope.removeAllContentTypeParsers();
  // Bodies stay bytes: what type they claim and what is wrong with them is told in this dialect's own words.
  scope.addContentTypeParser(
    "*",
    { parseAs: "buffer", bodyLimit: config.MAX_BODY_BYTES },
    (_request, body, done) => done(null, body),
  );

  scope.addHook("onRequest", async (request, reply) => {
    reply.header(REQUEST_ID, randomUUID());
    // Before the body is read: nobody sends 50 MiB to be told that the path is unknown.
    if (request.is404 || hasEmptyPart(request)) return answerUnknown(request, reply);
    const encoding = request.headers["content-encoding"] ?? "identity";
    if (encoding.toLowerCase() !== "identity") {
      throw new Refused(415, `Content-Encoding ${encoding} is not supported`);
    }
    const length = Number(request.headers["content-length"] ?? 0);
    if (length > STRANGER_BODY_MAX && length <= config.MAX_BODY_BYTES) await authenticate(services, request);
    return undefined;
  });

  scope.addHook("onSend", async (request, reply) => {
    reply.headers(await rateHeaders(services, request));
  });

  scope.setErrorHandler((thrown, _request, reply) => {
    const refused = refusalOf(ofFramework(thrown, config.MAX_BODY_BYTES) ?? thrown);
    if (refused.status === 500) {
      log.error(
        { err: thrown, dialect: "wriftai", requestId: reply.getHeader(REQUEST_ID) },
        "a request failed",
      );
    }
    reply.code(refused.status).headers(refused.headers).type("application/json");
    return reply.send(JSON.stringify({ detail: refused.detail }));
  });

  scope.setNotFoundHandler(answerUnknown);

  for (const { method, path, handle } of routes) {
    scope.route({
      method,
      url: path,
      // As FastAPI: a HEAD is not a GET.
      exposeHeadRoute: false,
      handler: async (request, reply) => {
        const call = async () => ({
          principal: await authenticate(services, request),
          signal: goneSignal(reply),
          deadlineAt: undefined,
        });
        const base = `${originOf(request)}${scope.prefix}`;
        return send(reply, await handle({ services, config, request, base, call }));
      },
    });
  }
}

function send(reply: FastifyReply, { status, headers = {}, body }: Answer): FastifyReply {
  reply.code(status).headers(headers);
  if (body === undefined || body instanceof Readable) return reply.send(body);
  return reply.type("application/json").send(JSON.stringify(body));
}

function authenticate(services: Services, request: FastifyRequest): Promise<Principal> {
  return services.authenticate(bearerToken(request.headers.authorization));
}

/** Where the caller stands; nothing for a caller that is nobody, or without a limit. */
async function rateHeaders(
  services: Services,
  request: FastifyRequest,
): Promise<Readonly<Record<string, string>>> {
  let rate: RateLimitState | undefined;
  try {
    rate = services.rateLimit(await authenticate(services, request));
  } catch {
    // The refusal itself is the answer's business, here it only means that there are no figures.
    return {};
  }
  if (!rate) return {};
  return {
    "x-ratelimit-limit": String(Math.floor(rate.limit)),
    "x-ratelimit-remaining": String(Math.max(0, Math.floor(rate.remaining))),
    "x-ratelimit-reset": String(Math.ceil(rate.resetAt)),
  };
}

/** 405 with the path's methods, 307 to the path without its slash, or 404. */
function refuseUnknown(
  request: FastifyRequest,
  reply: FastifyReply,
  prefix: string,
  routes: readonly Route[],
): FastifyReply {
  const methodsOf = (path: string) =>
    routes.filter((route) => matchesPattern(route.path, path)).map(({ method }) => method);
  const [fullPath = "", query] = request.url.split(/\?(.*)/s, 2);
  const path = fullPath.slice(prefix.length);
  const allowed = methodsOf(path);
  if (allowed.length > 0) throw new Refused(405, "Method Not Allowed", { allow: allowed.join(", ") });
  let end = path.length;
  while (path.endsWith("/", end)) end--;
  const bare = path.slice(0, end);
  if (bare === path || methodsOf(bare).length === 0) throw new Refused(404, "Not Found");
  const location = `${originOf(request)}${prefix}${bare}${query === undefined ? "" : `?${query}`}`;
  return reply.code(307).header("location", location).send();
}

/** The router takes `/predictions/` for `/predictions/:prediction_id` with an empty id; in this API it is not. */
function hasEmptyPart(request: FastifyRequest): boolean {
  return Object.values(request.params as Record<string, string>).includes("");
}

/** What the framework found before any route ran; undefined for anything else. */
function ofFramework(thrown: unknown, maxBodyBytes: number): Refused | undefined {
  if (!(thrown instanceof Error) || !("statusCode" in thrown)) return undefined;
  const { statusCode } = thrown;
  if (statusCode === 413) return new Refused(413, `Request body is larger than ${maxBodyBytes} bytes`);
  if (typeof statusCode !== "number" || statusCode < 400 || statusCode > 499) return undefined;
  return new Refused(statusCode, thrown.message);
}
