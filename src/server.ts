/** The floors put together: a server that starts, says where it listens, and stops. */
import { join } from "node:path";
import type { Logger } from "pino";
import manifest from "../package.json" with { type: "json" };
import type { Config } from "./config.ts";
import { createEngine } from "./engine/create-engine.ts";
import type { Engine } from "./engine/engine.ts";
import { holdFolder } from "./store/data-folder.ts";
import type { Store } from "./store/store.ts";

const PACKAGE_ROOT = join(import.meta.dirname, "..");

export interface Server {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** What a person wants to know first: where it listens, which store, which models. */
  readonly banner: string;
  /** Drains: nothing more is accepted, what runs may finish, the rest is left to the next start. */
  stop(): Promise<void>;
}

/**
 * Rejects with what keeps it from starting. The engine is begun first and the rest of the program is read while its
 * workers load their models, which takes a second off a start.
 */
export async function startServer(
  config: Config,
  log: Logger,
  logLinesDropped: () => number,
): Promise<Server> {
  const [[store, engine], { openDoors }] = await Promise.all([openBoth(config, log), import("./doors.ts")]);
  const doors = await openDoors({ config, log, logLinesDropped, store, engine });
  return {
    httpPort: doors.httpPort,
    grpcPort: doors.grpcPort,
    banner: banner(config, doors, store, engine),
    async stop() {
      await doors.close();
      await engine.close(0);
      await store.close();
    },
  };
}

/** Side by side, for each takes a second of a start; when one cannot be had, the other is closed again. */
async function openBoth(config: Config, log: Logger): Promise<[Store, Engine]> {
  // Before the engine: the models folder too is a running server's, and what is staged in it.
  const lock = await holdFolder(config.DATA_DIR);
  const engineOpening = createEngine({
    modelsDir: config.MODELS_DIR,
    catalogueDirs: config.CATALOGUE ? [join(PACKAGE_ROOT, "catalog", ".cache")] : [],
    catalogueModels: typeof config.CATALOGUE === "boolean" ? undefined : config.CATALOGUE,
    workers: config.WORKERS,
    threads: config.THREADS,
    runtime: config.RUNTIME === "auto" ? undefined : config.RUNTIME,
    maxPixels: config.MAX_PIXELS,
    workerMemoryBytes: config.WORKER_MEMORY,
    batchTimeoutMs: config.BATCH_TIMEOUT,
    loadTimeoutMs: config.LOAD_TIMEOUT,
    batchMax: config.BATCH_MAX || undefined,
    batchDelayMs: config.BATCH_DELAY,
    log,
  });
  const opening = [
    import("./store/open-store.ts").then(({ openStore }) =>
      openStore({
        dataDir: config.DATA_DIR,
        queueMax: config.QUEUE_MAX,
        lock,
        diskReserve: config.DISK_RESERVE,
      }),
    ),
    engineOpening,
  ] as const;
  try {
    return await Promise.all(opening);
  } catch (error) {
    const [store, engine] = await Promise.allSettled(opening);
    if (store.status === "fulfilled") await store.value.close();
    if (engine.status === "fulfilled") await engine.value.close(0);
    throw error;
  }
}

function access({ open, API_KEYS, ACCOUNTS_FILE }: Config): string {
  if (open) return "open: no credentials are asked for";
  const { bySubject, secrets } = ACCOUNTS_FILE ?? { bySubject: new Map(), secrets: new Map() };
  return `${API_KEYS.size} API keys, ${bySubject.size} subjects of accounts, ${secrets.size} secrets`;
}

type Ports = Pick<Server, "httpPort" | "grpcPort">;

function banner(config: Config, ports: Ports, store: Store, engine: Engine): string {
  const scheme = config.tls ? "https" : "http";
  const host = config.HOST.includes(":") ? `[${config.HOST}]` : config.HOST;
  const models = engine.models.list().map(({ owner, name, version, manifest: model, state }) => {
    const status =
      state.kind === "ready"
        ? state.runtime
        : state.kind === "failed"
          ? `FAILED: ${state.reason}`
          : "loading";
    return `${owner}/${name}:${version}  ${model?.task ?? ""}  ${status}`;
  });
  const rows: [string, string][] = [
    ["gRPC", `${host}:${ports.grpcPort}${config.tls ? " (TLS)" : ""}`],
    ["HTTP", `${scheme}://${host}:${ports.httpPort}  Connect, gRPC-Web, REST`],
    ["store", store.description],
    [
      "workers",
      `${engine.stats().workers}, of ${config.THREADS} ${config.THREADS === 1 ? "thread" : "threads"}`,
    ],
    ["access", access(config)],
    ...(models.length > 0
      ? models
      : ["none yet: put one into the models folder, or npm run models -- pull auspex/mobilenet"]
    ).map((line, index): [string, string] => [index === 0 ? "models" : "", line]),
  ];
  return [`Auspex ${manifest.version}`, ...rows.map(([name, value]) => `  ${name.padEnd(9)}${value}`)].join(
    "\n",
  );
}
