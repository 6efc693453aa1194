/** The dialect on a Fastify instance of its own, over services in memory; closed again after each test. */
import fastify, { type FastifyInstance, type InjectOptions } from "fastify";
import pino from "pino";
import { afterEach } from "vitest";
import { readConfig } from "../../../../src/config.ts";
import { wriftai } from "../../../../src/transports/dialects/wriftai.ts";
import { type MemoryServices, memoryServices } from "./memory-services.ts";

export const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** Bytes, of the served dialect. */
export const BODY_MAX = 4096;

let app: FastifyInstance | undefined;
/** What the dialect logged at level error in this test. */
export const logged: Record<string, unknown>[] = [];

afterEach(async () => {
  await stop();
  logged.length = 0;
});

export async function stop(): Promise<void> {
  await app?.close();
  app = undefined;
}

export function serve(services: MemoryServices = memoryServices(), bodyMax = BODY_MAX): MemoryServices {
  const config = readConfig({ AUSPEX_MAX_BODY_BYTES: String(bodyMax), AUSPEX_WAIT_MAX: "30s" });
  const log = pino({ level: "error" }, { write: (line: string) => void logged.push(JSON.parse(line)) });
  app = fastify({ routerOptions: { maxParamLength: 4096 }, forceCloseConnections: true });
  app.register(async (scope) => wriftai.register(scope, { services, config, log }), {
    prefix: wriftai.prefixes[0] ?? "",
  });
  return services;
}

export async function ask(method: string, path: string, options: Omit<InjectOptions, "method" | "url"> = {}) {
  const response = await app?.inject({ ...options, method: method as "GET", url: `/v1${path}` });
  if (!response) throw new Error("serve first");
  return response;
}

export const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  ask("POST", path, {
    payload: typeof body === "string" || body instanceof Buffer ? body : JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });

export const create = (headers: Record<string, string> = {}) =>
  post("/predictions", { model: "acme/echo", input: { prompt: "hi" } }, headers);

/** Opens a real port; answers the dialect's base URL. */
export async function listen(): Promise<string> {
  await app?.listen({ host: "127.0.0.1", port: 0 });
  const address = app?.server.address();
  if (typeof address !== "object" || address === null) throw new Error("serve first");
  return `http://127.0.0.1:${address.port}/v1`;
}
