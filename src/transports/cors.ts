/**
 * Cross-origin calls from browsers (the Fetch standard's CORS protocol): which origins may call, and what their
 * scripts may send and see. No cookies are involved, so credentials mode is never allowed.
 */
import type { FastifyInstance } from "fastify";
import { mayCall } from "../services/origin.ts";

export interface CorsOptions {
  /** The setting CORS_ORIGINS: origins, `*` for any, [] for loopback ones alone. */
  readonly origins: readonly string[];
  readonly methods: readonly string[];
  /** Request headers that scripts may set; `Authorization` is named by itself, `*` does not cover it. */
  readonly allowedHeaders: readonly string[];
  /** Response headers that scripts may read beside the safelisted ones. */
  readonly exposedHeaders: readonly string[];
}

/** Browsers ask again after at most two hours (Chromium's cap); longer would only look as if it worked. */
const PREFLIGHT_MAX_AGE_S = 7200;

/**
 * Adds the headers to every answer of the scope, errors included, and answers preflights. The scope's routes must
 * take OPTIONS for that.
 */
export function allowOrigins(scope: FastifyInstance, options: CorsOptions): void {
  scope.addHook("onRequest", async (request, reply) => {
    const { origin } = request.headers;
    // The answer differs by origin, also for a cache that saw a request without one.
    reply.header("vary", "Origin");
    const allowed = origin !== undefined && mayCall(origin, options.origins);
    if (allowed) {
      reply.header("access-control-allow-origin", origin);
      reply.header("access-control-expose-headers", options.exposedHeaders.join(", "));
    }
    if (request.method !== "OPTIONS") return;
    if (allowed) {
      reply.header("access-control-allow-methods", options.methods.join(", "));
      reply.header("access-control-allow-headers", options.allowedHeaders.join(", "));
      reply.header("access-control-max-age", PREFLIGHT_MAX_AGE_S);
    }
    return reply.code(204).send();
  });
}
