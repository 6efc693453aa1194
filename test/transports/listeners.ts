/** Both listeners on free ports over given services, closed with the test. */
import { Writable } from "node:stream";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { pino } from "pino";
import { type Config, readConfig } from "../../src/config.ts";
import type { Services } from "../../src/services/services.ts";
import { createByteBudget } from "../../src/transports/byte-budget.ts";
import type { Dialect } from "../../src/transports/dialect.ts";
import { type GrpcListener, startGrpc } from "../../src/transports/grpc.ts";
import { type HttpListener, startHttp } from "../../src/transports/http.ts";

export interface Listeners {
  readonly grpc: GrpcListener;
  readonly http: HttpListener;
  readonly grpcUrl: string;
  readonly httpUrl: string;
  /** What was logged, parsed. */
  readonly logged: readonly Readonly<Record<string, unknown>>[];
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ListenerOptions {
  readonly settings?: Readonly<Record<string, string>>;
  readonly tls?: Config["tls"];
  readonly dialects?: readonly Dialect[];
}

export async function startListeners(services: Services, options: ListenerOptions = {}): Promise<Listeners> {
  const env: Record<string, string> = { AUSPEX_HTTP_PORT: "0", AUSPEX_GRPC_PORT: "0" };
  for (const [name, value] of Object.entries(options.settings ?? {})) env[`AUSPEX_${name}`] = value;
  const config: Config = { ...readConfig(env), tls: options.tls };
  const logged: Record<string, unknown>[] = [];
  const sink = new Writable({
    write(line, _encoding, done) {
      logged.push(JSON.parse(String(line)));
      done();
    },
  });
  const log = pino({ level: "debug" }, sink);
  const budget = createByteBudget(config.MAX_BYTES_IN_FLIGHT);
  const grpc = await startGrpc({ services, config, log, budget });
  const dialects = options.dialects ?? [];
  const http = await startHttp({ services, config, log, budget, dialects, grpcPort: grpc.port });
  const scheme = options.tls ? "https" : "http";
  return {
    grpc,
    http,
    grpcUrl: `${scheme}://127.0.0.1:${grpc.port}`,
    httpUrl: `${scheme}://127.0.0.1:${http.port}`,
    logged,
    async [Symbol.asyncDispose]() {
      await Promise.all([grpc.drain(0), http.drain(0)]);
    },
  };
}

export const DOORS = ["grpc", "connect", "connect-json", "grpc-web"] as const;
export type Door = (typeof DOORS)[number];

export function transportOf(listeners: Listeners, door: Door): Transport {
  const http = { baseUrl: listeners.httpUrl, httpVersion: "1.1" } as const;
  switch (door) {
    case "grpc":
      return createGrpcTransport({ baseUrl: listeners.grpcUrl });
    case "connect":
      return createConnectTransport(http);
    case "connect-json":
      return createConnectTransport({ ...http, useBinaryFormat: false });
    case "grpc-web":
      return createGrpcWebTransport(http);
    default:
      return door satisfies never;
  }
}

export function clientOf<S extends DescService>(listeners: Listeners, door: Door, service: S): Client<S> {
  return createClient(service, transportOf(listeners, door));
}

/** Waits until the condition holds; the test's own timeout bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}
