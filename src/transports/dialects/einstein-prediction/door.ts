/**
 * What every request of this dialect passes, whichever route it is for: who asks, the raw body within its limit, its
 * own 404 and 405, and a slash at the end or none.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Config } from "../../../config.ts";
import type { Principal } from "../../../domain/principal.ts";
import type { CallContext } from "../../../services/call.ts";
import type { Services } from "../../../services/services.ts";
import { bearerToken } from "../../bearer.ts";
import type { DialectContext } from "../../dialect.ts";
import { goneSignal } from "../../gone-signal.ts";
import { matchesPattern } from "../../path-pattern.ts";
import { type Answer, writeAnswer } from "./answer.ts";
import { Refused, refusalAnswer } from "./errors.ts";

/** One request on its way through a route. */
export interface Exchange {
  readonly services: Services;
  readonly config: Config;
  readonly request: FastifyRequest;
  /** Whom the operation works for, and the signal that the client has gone. */
  readonly call: CallContext;
}

export interface Route {
  readonly method: "GET" | "POST";
  /** Below `/api/v1`, with Fastify's `:parameters`. */
  readonly path: string;
  readonly handle: (exchange: Exchange) => Promise<Answer>;
}

interface Caller {
  readonly principal: Principal;
  /** What it sent, issued anew; undefined when it sent none. */
  readonly token: string | undefined;
}

/** Where this dialect's paths begin; what else is there is another's. */
const ROOT = "/api/v1";

export function openDoor(scope: FastifyInstance, context: DialectContext, all: readonly Route[]): void {
  const { services, config, log } = context;
  const base = scope.prefix.slice(ROOT.length);
  const routes = all.filter(({ path }) => path === base || path.startsWith(`${base}/`));
  const callers = new WeakMap<FastifyRequest, Caller>();
  const beginnings = new WeakMap<FastifyRequest, number>();
  const write = (request: FastifyRequest, reply: FastifyReply, answer: Answer) => {
    const now = performance.now();
    writeAnswer(reply, answer, now - (beginnings.get(request) ?? now));
  };

  scope.removeAllContentTypeParsers();
  // Bodies stay bytes: what they are is found out by the route that wants one.
  scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: config.MAX_BODY_BYTES }, (_, body, done) =>
    done(null, body),
  );

  const refuseUnknown = (request: FastifyRequest): never => {
    const [fullPath = ""] = request.url.split("?", 1);
    const path = fullPath.slice(ROOT.length).replace(/\/$/, "");
    const methods = routes.filter((route) => matchesPattern(route.path, path)).map(({ method }) => method);
    if (methods.length === 0) throw new Refused(404, "Not Found");
    throw new Refused(405, "Method Not Allowed", { Allow: methods.join(", ") });
  };

  scope.addHook("onRequest", async (request) => {
    beginnings.set(request, performance.now());
    // Before the body is read: nobody sends 50 MiB to be told that the path is unknown, or who is unknown.
    if (request.is404 || hasEmptyPart(request)) refuseUnknown(request);
    callers.set(request, await callerOf(services, request.headers.authorization));
  });
  scope.setNotFoundHandler(refuseUnknown);

  scope.setErrorHandler((thrown, request, reply) => {
    const answer = refusalAnswer(thrown);
    if (answer.status === 500) {
      const method = `${request.method} ${request.url}`;
      log.error({ err: thrown, dialect: "einstein-prediction", method }, "call failed");
    }
    write(request, reply, answer);
  });

  for (const { method, path, handle } of routes) {
    const local = path.slice(base.length);
    // Of the prefix itself the router takes both.
    for (const url of local === "" ? ["/"] : [local, `${local}/`]) {
      scope.route({
        method,
        url,
        exposeHeadRoute: false,
        handler: async (request, reply) => {
          const caller = callers.get(request);
          if (!caller) throw new Error("nobody has asked who calls");
          const call = callOf(caller, reply);
          const answer = await handle({ services, config, request, call });
          write(request, reply, { ...answer, token: caller.token });
        },
      });
    }
  }
}

function callOf({ principal }: Caller, reply: FastifyReply): CallContext {
  return { principal, signal: goneSignal(reply), deadlineAt: undefined };
}

/** `Token token="…"`; its quotes are often left out, and more may follow. */
const TOKEN = /^token +token="?([^\s",;]*)"?(?:[\s,;]|$)/i;

/**
 * Of the `Token` scheme this API takes JWTs alone, and answers each anew. Whatever else we know how to authenticate is
 * taken as everywhere. Rejects with `unauthenticated`.
 */
async function callerOf(services: Services, header: string | undefined): Promise<Caller> {
  const token = header === undefined ? undefined : TOKEN.exec(header)?.[1];
  if (token !== undefined) return services.renewToken(token);
  return { principal: await services.authenticate(bearerToken(header)), token: undefined };
}

/** The router takes `/imports/` for `/imports/:id` with an empty id. */
function hasEmptyPart(request: FastifyRequest): boolean {
  return Object.values(request.params as Record<string, string>).includes("");
}
