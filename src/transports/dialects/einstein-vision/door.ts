/**
 * What every request of this dialect passes, whichever route it is for: who asks, the raw body within its limit,
 * errors in its own words, its own 404 and 405, and a slash at the end or none.
 *
 * `/v1` serves the same routes as `/v2`, older in what they answer.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Config } from "../../../config.ts";
import { AuspexError } from "../../../domain/error.ts";
import type { JsonValue } from "../../../domain/payload.ts";
import { NOBODY, type Principal } from "../../../domain/principal.ts";
import type { CallContext } from "../../../services/call.ts";
import type { Services } from "../../../services/services.ts";
import { bearerToken } from "../../bearer.ts";
import type { DialectContext } from "../../dialect.ts";
import { goneSignal } from "../../gone-signal.ts";
import { matchesPattern } from "../../path-pattern.ts";
import { originOf } from "../../request-origin.ts";
import { Refused, refusalOf, refuse } from "./errors.ts";

export type Version = 1 | 2;

/** One request on its way through a route. */
export interface Exchange {
  readonly services: Services;
  readonly config: Config;
  readonly request: FastifyRequest;
  readonly version: Version;
  /** `http://host`, for links. */
  readonly origin: string;
  /** Whom the operation works for, and the signal that the client has gone. */
  readonly call: CallContext;
}

export interface Answer {
  readonly status: number;
  /** undefined is no body. */
  readonly body: JsonValue | undefined;
}

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Below the version, with Fastify's `:parameters`, e.g. `/vision/predict`. */
  readonly path: string;
  /** Where it is served; both unless given. */
  readonly only?: Version;
  /** Asks for no credential; its body is then small. */
  readonly isPublic?: true;
  /** Further headers on all its answers, refusals included, to a caller who is somebody. */
  readonly headers?: (services: Services, call: CallContext) => Promise<Readonly<Record<string, string>>>;
  readonly handle: (exchange: Exchange) => Promise<Answer>;
}

/** Bytes of a body that nobody vouches for: an assertion and a few words. */
const PUBLIC_BODY_MAX = 64 * 1024;

export function openDoor(scope: FastifyInstance, context: DialectContext, all: readonly Route[]): void {
  const { services, config, log } = context;
  const { version, base } = mountOf(scope.prefix);
  const routes = all.filter(
    ({ path, only }) =>
      (only ?? version) === version && (base === "" || path === base || path.startsWith(`${base}/`)),
  );
  const callers = new WeakMap<FastifyRequest, Principal>();
  /** Those whose answers count, and whose 429 has an object. */
  const counted = new WeakSet<FastifyRequest>();

  scope.removeAllContentTypeParsers();
  // Bodies stay bytes, and only a route that wants one looks at it: clients send GETs with a form's headers.
  scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));

  const refuseUnknown = (request: FastifyRequest): never => {
    const [fullPath = ""] = request.url.split("?", 1);
    const path = base + fullPath.slice(scope.prefix.length).replace(/\/$/, "");
    const methods = routes.filter((route) => matchesPattern(route.path, path)).map(({ method }) => method);
    if (methods.length === 0) throw refuse("notFound");
    throw refuse("methodNotAllowed", { allow: methods.join(", ") });
  };

  scope.addHook("onRequest", async (request) => {
    // Before the body is read: nobody sends 50 MiB to be told that the path is unknown.
    if (request.is404 || hasEmptyPart(request)) refuseUnknown(request);
  });
  scope.setNotFoundHandler(refuseUnknown);

  scope.setErrorHandler((thrown, request, reply) => {
    const refused = ofFramework(thrown) ?? refusalOf(thrown);
    if (refused.status === 500) {
      log.error(
        { err: thrown, dialect: "einstein-vision", method: `${request.method} ${request.url}` },
        "call failed",
      );
    }
    reply.code(refused.status).headers(refused.headers).type("application/json");
    const { status, message } = refused;
    const isOverQuota = status === 429 && counted.has(request);
    return reply.send(JSON.stringify({ message, ...(isOverQuota && { object: "predictresponse" }) }));
  });

  for (const route of routes) {
    const local = route.path.slice(base.length);
    const isWhole = local === "" || local.endsWith("*");
    for (const url of isWhole ? [local || "/"] : [local, `${local}/`]) {
      scope.route({
        method: route.method,
        url,
        exposeHeadRoute: false,
        bodyLimit: route.isPublic ? PUBLIC_BODY_MAX : config.MAX_BODY_BYTES,
        onRequest: async (request) => {
          if (route.headers) counted.add(request);
          callers.set(request, route.isPublic ? NOBODY : await principalOf(services, request));
        },
        onSend: async (request, reply) => {
          const principal = callers.get(request);
          if (principal && route.headers)
            reply.headers(await route.headers(services, callOf(principal, reply)));
        },
        handler: async (request, reply) => {
          const call = callOf(callers.get(request) ?? NOBODY, reply);
          const origin = originOf(request);
          return send(reply, await route.handle({ services, config, request, version, origin, call }));
        },
      });
    }
  }
}

/** `/v1/vision` → version 1, and routes below `/vision`. */
function mountOf(prefix: string): { readonly version: Version; readonly base: string } {
  return { version: prefix.startsWith("/v1") ? 1 : 2, base: prefix.replace(/^\/v[12]/, "") };
}

function callOf(principal: Principal, reply: FastifyReply): CallContext {
  return { principal, signal: goneSignal(reply), deadlineAt: undefined };
}

/** A header that is no bearer token is refused also where none is asked for. Rejects with 401. */
async function principalOf(services: Services, { headers }: FastifyRequest): Promise<Principal> {
  const token = bearerToken(headers.authorization);
  if (token === undefined && headers.authorization !== undefined) throw refuse("invalidScheme");
  try {
    return await services.authenticate(token);
  } catch (error) {
    const isMissing = token === undefined && AuspexError.from(error).code === "unauthenticated";
    throw isMissing ? refuse("invalidScheme") : error;
  }
}

function send(reply: FastifyReply, { status, body }: Answer): FastifyReply {
  reply.code(status);
  if (body === undefined) return reply.send();
  return reply.type("application/json").send(JSON.stringify(body));
}

/** The router takes `/train/` for `/train/:modelId` with an empty id. */
function hasEmptyPart(request: FastifyRequest): boolean {
  return Object.values(request.params as Record<string, string>).includes("");
}

/** What the framework found before any route ran; undefined for anything else. */
function ofFramework(thrown: unknown): Refused | undefined {
  if (!(thrown instanceof Error) || thrown instanceof Refused || !("statusCode" in thrown)) return undefined;
  const { statusCode } = thrown;
  if (typeof statusCode !== "number" || statusCode < 400 || statusCode > 499) return undefined;
  // A Content-Type that is none is a malformed request in this API.
  return new Refused({ status: statusCode === 415 ? 400 : statusCode, message: thrown.message });
}
