/** The gRPC listener: our services, health and reflection, on one HTTP/2 port. */

import { EventEmitter } from "node:events";
import type { ServerHttp2Stream } from "node:http2";
import {
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServiceDefinition,
  setLogVerbosity,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { Logger } from "pino";
import { type Config, isLoopback } from "../config.ts";
import { AuspexError } from "../domain/error.ts";
import type { Services } from "../services/services.ts";
import { bearerToken } from "./bearer.ts";
import { type Binding, bindings, callerOf, checkSize, methodPath, serviceNames } from "./binding.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { type CallDeps, streamHandler, unaryHandler } from "./grpc-call.ts";
import { createIntake, type Intake } from "./grpc-intake.ts";
import { createPatience, type Patience } from "./grpc-patience.ts";
import { addStandardServices } from "./grpc-standard.ts";
import {
  headerBytes,
  http2ServersOf,
  limitControlFrames,
  limitSessions,
  widenWindow,
} from "./http2-limits.ts";

export interface GrpcListener {
  readonly port: number;
  /**
   * Health says NOT_SERVING, nothing new is accepted (GOAWAY), and running calls have up to `graceMs` to finish
   * before their connections are cut; the services, told to stop before this, end their watch streams themselves.
   * Resolves when everything is closed.
   */
  drain(graceMs: number): Promise<void>;
}

export interface GrpcOptions {
  readonly services: Services;
  readonly config: Config;
  readonly log: Logger;
  readonly budget: ByteBudget;
}

/** A connection without traffic is tried after this; one whose peer is gone without a word is closed 20 s later. */
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;

/** @throws Error with code EADDRINUSE when the port is taken */
export async function startGrpc({ services, config, log, budget }: GrpcOptions): Promise<GrpcListener> {
  // It would print to stderr what the callers of its methods are told anyway.
  setLogVerbosity(logVerbosity.NONE);
  const bound = bindings(services);
  const intake = intakeOf(bound, { services, config, budget });
  const server = new Server({ ...serverOptions(config), interceptors: [intake.interceptor] });
  limitSessions(server, config);
  addServices(server, bound, { services, config, log });
  const drainStandardServices = addStandardServices(server, bound, services.health);
  const port = await bindPort(server, config);
  const patience = createPatience(config);
  guard(server, {
    intake,
    patience,
    connectionsMax: config.MAX_CONNECTIONS,
    headersMax: config.MAX_HEADER_BYTES,
  });
  if (!config.tls && !isLoopback(config.HOST)) {
    log.warn({ host: config.HOST, port }, "gRPC is served without TLS where others can listen in");
  }
  return {
    port,
    async drain(graceMs) {
      drainStandardServices();
      // A turn, in which that is written: frames of the connection's own, as GOAWAY, go before those of its streams.
      await new Promise(setImmediate);
      // Announces the end on every connection and cuts those that are left after the grace. (forceShutdown would
      // not: without channelz it loses sight of the connections.)
      server.drain(address(config.HOST, port), graceMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      patience.stop();
    },
  };
}

function serverOptions(config: Config): ServerOptions {
  return {
    // After decompression too: grpc-js stops inflating at the same number.
    "grpc.max_receive_message_length": config.MAX_BODY_BYTES,
    "grpc.max_connection_idle_ms": config.IDLE_TIMEOUT,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    // Its bookkeeping costs on every call, and /metrics has what we show.
    "grpc.enable_channelz": 0,
  };
}

interface Guards {
  readonly intake: Intake;
  readonly patience: Patience;
  readonly connectionsMax: number;
  /** Bytes of one call's headers. */
  readonly headersMax: number;
}

/** Holds every connection and call to the limits that grpc-js does not know. */
function guard(server: Server, { intake, patience, connectionsMax, headersMax }: Guards): void {
  for (const http2Server of http2ServersOf(server)) {
    http2Server.maxConnections = connectionsMax;
    http2Server.on("session", limitControlFrames);
    http2Server.on("session", widenWindow);
    // Before grpc-js's own listener, so that what is refused never gets there.
    http2Server.prependListener("stream", (stream, headers, _flags, rawHeaders) => {
      const arrival = intake.take(stream, headers);
      const leave = patience.watch(stream, arrival);
      // One listener, for each costs every call.
      stream.on("close", () => {
        arrival.close();
        leave();
        letGo(stream);
      });
      if (headerBytes(rawHeaders) > headersMax) {
        arrival.refuse(new AuspexError("resource_exhausted", "the request headers are too large"));
      }
    });
  }
}

/**
 * V8 keeps a closed stream until it next collects all of the heap, and with it whatever its listeners speak of: the whole
 * call. Collecting the young ones of those took a fifth of this thread's time.
 */
function letGo(stream: ServerHttp2Stream): void {
  // Those of this event are called all the same. The emitter's own method: the stream's would look after its flow.
  EventEmitter.prototype.removeAllListeners.call(stream);
  stream.on("error", ignore);
}

function ignore(): void {}

function intakeOf(
  bound: readonly Binding[],
  { services, config, budget }: Pick<GrpcOptions, "services" | "config" | "budget">,
): Intake {
  const methods = new Map(bound.map(({ method }) => [methodPath(method), method]));
  return createIntake({
    budget,
    maxBytes: config.MAX_BODY_BYTES,
    async admit(bytes, path, authorization) {
      const method = methods.get(path);
      if (method === undefined) {
        throw new AuspexError("resource_exhausted", `${path} takes no message of that size`);
      }
      checkSize(bytes, method, await callerOf(services, method, bearerToken(authorization)), config);
    },
  });
}

const identity = (bytes: Buffer): Buffer => bytes;

function addServices(server: Server, bound: readonly Binding[], deps: CallDeps): void {
  for (const name of serviceNames(bound)) {
    const definition: Record<string, ServiceDefinition[string]> = {};
    const implementation: UntypedServiceImplementation = {};
    for (const binding of bound) {
      const { method } = binding;
      if (method.parent.typeName !== name) continue;
      definition[method.name] = {
        path: methodPath(method),
        requestStream: false,
        responseStream: binding.kind === "server_streaming",
        // Bytes pass through: messages are read and written where a failure can be told apart; see grpc-call.ts.
        requestSerialize: identity,
        requestDeserialize: identity,
        responseSerialize: identity,
        responseDeserialize: identity,
      };
      implementation[method.name] =
        binding.kind === "unary" ? unaryHandler(binding, deps) : streamHandler(binding, deps);
    }
    server.addService(definition, implementation);
  }
}

async function bindPort(server: Server, config: Config): Promise<number> {
  const wanted = address(config.HOST, config.GRPC_PORT);
  try {
    return await new Promise((resolve, reject) => {
      server.bindAsync(wanted, credentials(config), (error, port) => (error ? reject(error) : resolve(port)));
    });
  } catch (error) {
    // grpc-js tells the reason in its text alone, in brackets.
    const text = error instanceof Error ? error.message : String(error);
    const message = `gRPC: ${/\[(.+)\]/.exec(text)?.[1] ?? `cannot listen on ${wanted}: ${text}`}`;
    throw Object.assign(new Error(message, { cause: error }), {
      code: /\b(E[A-Z]{3,})\b/.exec(message)?.[1],
    });
  }
}

function address(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function credentials({ tls }: Config): ServerCredentials {
  if (!tls) return ServerCredentials.createInsecure();
  const pair = { cert_chain: tls.cert, private_key: tls.key };
  return ServerCredentials.createSsl(tls.clientCa ?? null, [pair], tls.clientCa !== undefined);
}
