/**
 * One REST API, as a transcoder between its HTTP and our operations. A dialect lives in a Fastify scope of its own:
 * its body parsers, hooks, error answers and 404s touch nothing outside its prefix.
 */
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import type { Services } from "../services/services.ts";

export interface DialectContext {
  readonly services: Services;
  readonly config: Config;
  readonly log: Logger;
}

export interface Dialect {
  /** For logs and tests, e.g. `wriftai`. */
  readonly name: string;
  /** The paths below which everything, unknown paths included, is this dialect's to answer, e.g. `/v1`. */
  readonly prefixes: readonly string[];
  /** Adds routes, parsers, hooks and answers to a scope of its own for each prefix; paths are relative to it. */
  register(scope: FastifyInstance, context: DialectContext): void;
}
