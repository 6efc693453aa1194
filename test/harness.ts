/** The real server through its real entry, on free ports with a throw-away data folder. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { childrenOf, resume } from "./processes.ts";

const MAIN = join(import.meta.dirname, "..", "src", "main.ts");

/**
 * All that is served of the catalogue unless a test asks for more: the others are a third of what a start takes. The bench and
 * the demo, which start servers by this too, have the whole of it, as users do.
 */
const CATALOGUE = process.env.VITEST === undefined ? "1" : "auspex/mobilenet-tiny";

export interface ServerOptions {
  /** Settings without their prefix, e.g. `{ WORKERS: "1" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** An existing data folder; without one a new one is made and removed with the server. */
  readonly dataDir?: string;
  /** A command that becomes the command after it, e.g. `["nice"]`: the server runs under it, as the same process. */
  readonly launcher?: readonly string[];
  /** For Node, before the entry. */
  readonly nodeArgs?: readonly string[];
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface TestServer {
  readonly url: string;
  readonly grpcUrl: string;
  readonly dataDir: string;
  readonly process: ChildProcess;
  /** Everything it has logged so far. */
  readonly log: readonly LogLine[];
  /** Everything it has printed so far that is not a log line. */
  readonly printed: readonly string[];
  /** Milliseconds from spawning to ready. */
  readonly startMs: number;
  /** SIGKILL; resolves when it is gone. Its data folder stays. */
  kill(): Promise<void>;
  /** SIGTERM; resolves to its exit code. */
  terminate(): Promise<number | null>;
  /** Ends it however it stands and removes a folder that was made for it. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a server and waits until it says that it is ready. Rejects with its output when it exits before. */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const ownDir = options.dataDir === undefined;
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "auspex-test-")));
  const settings = {
    HTTP_PORT: "0",
    GRPC_PORT: "0",
    DATA_DIR: dataDir,
    WORKERS: "1",
    CATALOGUE,
    ...options.settings,
  };
  const env: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env)) if (!name.startsWith("AUSPEX_")) env[name] = value;
  // The test runner's own: a server keeps its compiled sources where it does for everybody.
  delete env.NODE_COMPILE_CACHE;
  for (const [name, value] of Object.entries(settings)) env[`AUSPEX_${name}`] = value;
  const began = performance.now();
  const [command = "", ...args] = [
    ...(options.launcher ?? []),
    process.execPath,
    ...(options.nodeArgs ?? []),
    MAIN,
  ];
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit") as Promise<[number | null]>;
  const log: LogLine[] = [];
  const printed: string[] = [];
  const ready = Promise.withResolvers<LogLine>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (!line.startsWith("{")) {
      printed.push(line);
      return;
    }
    const entry: LogLine = JSON.parse(line);
    log.push(entry);
    if (entry.msg === "ready") ready.resolve(entry);
  });
  createInterface({ input: child.stderr }).on("line", (line) => printed.push(line));
  exited.then(async ([code]) => {
    // The pipes may still hold its last words.
    await Promise.all([child.stdout, child.stderr].map((pipe) => pipe.closed || once(pipe, "close")));
    ready.reject(
      new Error(
        `the server exited with ${code}:\n${[...printed, ...log.map((l) => JSON.stringify(l))].join("\n")}`,
      ),
    );
  });
  const { http, grpc } = await ready.promise;
  const kill = async (): Promise<void> => {
    const workers = childrenOf(child.pid ?? 0);
    child.kill("SIGKILL");
    await exited;
    // Those that a test has suspended would not notice that their server is gone.
    resume(workers);
  };
  const scheme = settings["TLS_CERT" as keyof typeof settings] ? "https" : "http";
  return {
    url: `${scheme}://127.0.0.1:${http}`,
    grpcUrl: `${scheme}://127.0.0.1:${grpc}`,
    dataDir,
    process: child,
    log,
    printed,
    startMs: performance.now() - began,
    kill,
    async terminate() {
      child.kill("SIGTERM");
      return (await exited)[0];
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await kill();
      else await exited;
      if (ownDir) await rm(dataDir, { recursive: true, force: true });
    },
  };
}

export const DOORS = ["grpc", "connect", "grpc-web"] as const;
export type Door = (typeof DOORS)[number];

/** A client through one of the RPC doors; `key` is sent as a bearer token. */
export function clientOf<S extends DescService>(
  server: Pick<TestServer, "url" | "grpcUrl">,
  door: Door,
  service: S,
  key?: string,
): Client<S> {
  const interceptors: Interceptor[] =
    key === undefined
      ? []
      : [
          (next) => (request) => {
            request.header.set("authorization", `Bearer ${key}`);
            return next(request);
          },
        ];
  const transports: Record<Door, () => Transport> = {
    grpc: () => createGrpcTransport({ baseUrl: server.grpcUrl, interceptors }),
    connect: () => createConnectTransport({ baseUrl: server.url, httpVersion: "1.1", interceptors }),
    "grpc-web": () => createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1", interceptors }),
  };
  return createClient(service, transports[door]());
}

/** Waits until the condition holds; the test's own timeout bounds it. */
export async function until<T>(
  condition: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const PHOTOGRAPHS = join(
  import.meta.dirname,
  "..",
  "node_modules",
  "react-native-template-pytorch-live",
  "template",
  "assets",
  "images",
);

/** Path of one of the real photographs, e.g. `zebra`. */
export const photograph = (name: string): string => join(PHOTOGRAPHS, `${name}.jpg`);
