/**
 * Every setting and every limit: its name, default, unit and reason in one table. `readConfig` makes a complete
 * configuration of the environment or names everything that is wrong with it at once; nobody else reads the
 * environment. `--help` is printed from the same table.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { type Accounts, readAccountsFile, SECRET_LENGTH } from "./accounts-file.ts";
import { RUNTIMES } from "./domain/model.ts";
import {
  apiKeys,
  duration,
  flag,
  integer,
  limitOrOff,
  list,
  type Parse,
  size,
  someOf,
  text,
  within,
} from "./setting.ts";

interface Setting<T> {
  readonly default: T;
  readonly parse: Parse<T>;
  /** How the default reads in --help where it is computed. */
  readonly shown?: string;
  readonly help: string;
}

const runtime: Parse<string> = (value) => {
  if (value !== "auto" && !RUNTIMES.some((name) => name === value)) {
    throw new Error(`must be auto or one of ${RUNTIMES.join(", ")}, not ${JSON.stringify(value)}`);
  }
  return value;
};

export const DIALECTS = ["wriftai", "einstein-vision", "einstein-prediction"] as const;
export type DialectName = (typeof DIALECTS)[number];

const DAY_MS = 86_400_000;
const GIB = 1024 ** 3;
const CORES = availableParallelism();

const SETTINGS = {
  HOST: { default: "127.0.0.1", parse: text, help: "address that both listeners bind" },
  HTTP_PORT: {
    default: 8080,
    parse: integer(0, 65535),
    help: "Connect, gRPC-Web, REST, health and metrics; 0 takes a free one",
  },
  GRPC_PORT: { default: 50051, parse: integer(0, 65535), help: "gRPC; 0 takes a free one" },
  DATA_DIR: {
    default: "./data",
    parse: text,
    help: "folder of the database, pictures and the server's own secrets",
  },
  MODELS_DIR: {
    default: "",
    parse: text,
    shown: "<data>/models",
    help: "folder of models, <owner>/<name>/<version>/",
  },
  CATALOGUE: {
    default: true,
    parse: flag,
    help: "serve the pulled catalogue models beside the models folder",
  },
  API_KEYS: {
    default: new Map<string, string>() as ReadonlyMap<string, string>,
    parse: apiKeys,
    shown: "unset",
    help: "name:key,… ; without keys and accounts the server is open, which it refuses to be on a non-loopback address",
  },
  ACCOUNTS_FILE: {
    default: undefined as Accounts | undefined,
    parse: readAccountsFile,
    shown: "unset",
    help: "JSON file of accounts (public keys) and secrets that sign tokens; set, the server is not open either",
  },
  JWT_SECRET: {
    default: "",
    parse: within(SECRET_LENGTH.min, SECRET_LENGTH.max),
    shown: "made and kept in the data folder",
    help: "signs the tokens that the server issues, and the users' tokens of Einstein Prediction; 32 characters or more",
  },
  INSECURE: { default: false, parse: flag, help: "1 allows an open server on a non-loopback address" },
  TLS_CERT: {
    default: "",
    parse: text,
    shown: "unset",
    help: "PEM file; with TLS_KEY both listeners speak TLS only",
  },
  TLS_KEY: { default: "", parse: text, shown: "unset", help: "PEM file" },
  TLS_CLIENT_CA: {
    default: "",
    parse: text,
    shown: "unset",
    help: "PEM file; clients must then present a certificate it signed",
  },
  DIALECTS: {
    default: DIALECTS as readonly DialectName[],
    parse: someOf(DIALECTS),
    shown: "all",
    help: `REST APIs that are served, of ${DIALECTS.join(", ")}; none for gRPC, Connect and gRPC-Web alone`,
  },
  CORS_ORIGINS: {
    default: [] as readonly string[],
    parse: list,
    shown: "loopback origins",
    help: "browser origins allowed to call, comma-separated; * for any",
  },
  EGRESS_ALLOW: {
    default: [] as readonly string[],
    parse: list,
    shown: "unset",
    help: "CIDRs and host names, each with :port or without, that picture URLs and webhooks may reach besides public addresses",
  },
  RATE_LIMIT: {
    default: 10_000 as number | undefined,
    parse: limitOrOff(10_000_000),
    help: "predictions created per second and principal, on all transports together; off for none",
  },
  MONTHLY_QUOTA: {
    default: undefined as number | undefined,
    parse: limitOrOff(1_000_000_000),
    shown: "off",
    help: "predictions created per calendar month (UTC) and principal; past it creation is refused",
  },
  WORKERS: {
    default: CORES,
    parse: integer(1, 256),
    shown: "cores",
    help: "worker processes that run models",
  },
  THREADS: {
    default: 0,
    parse: integer(0, 256),
    shown: "cores ÷ workers",
    help: "threads that one model runs on in a worker, at least 1; workers × threads may not exceed the cores (tfjs-wasm has 1)",
  },
  RUNTIME: { default: "auto", parse: runtime, help: `auto (best first) or one of ${RUNTIMES.join(", ")}` },
  BATCH_MAX: {
    default: 0,
    parse: integer(0, 1024),
    shown: "the model's own",
    help: "overrides every model's batch maximum; 1 switches batching off",
  },
  BATCH_DELAY: {
    default: 0,
    parse: duration(0, 1000),
    shown: "0ms",
    help: "a batch that is not full may wait this long for more, deadlines or not, where auspex.json says nothing else; 0ms: a free worker takes what there is",
  },
  QUEUE_MAX: {
    default: 100_000,
    parse: integer(1, 10_000_000),
    help: "unfinished predictions; past it creation is refused (bounds disk and the wait)",
  },
  RETENTION: {
    default: 7 * DAY_MS,
    parse: duration(1000, 3650 * DAY_MS),
    shown: "7d",
    help: "finished predictions are deleted after this",
  },
  LEASE: {
    default: 10_000,
    parse: duration(200, 600_000),
    shown: "10s",
    help: "a prediction whose server is gone runs again after this",
  },
  RUN_MAX: {
    default: 1_800_000,
    parse: duration(100, DAY_MS),
    shown: "30m",
    help: "a prediction that runs longer fails",
  },
  BATCH_TIMEOUT: {
    default: 60_000,
    parse: duration(100, DAY_MS),
    shown: "60s",
    help: "a worker that is silent for this long in one batch is killed and replaced",
  },
  LOAD_TIMEOUT: {
    default: 60_000,
    parse: duration(100, 3_600_000),
    shown: "60s",
    help: "a model version that takes longer to load and warm up is marked failed",
  },
  WORKER_MEMORY: {
    default: 2 * GIB,
    parse: size(64 * 1024 ** 2, 1024 * GIB),
    shown: "2GiB",
    help: "resident bytes past which a worker is killed and replaced",
  },
  WAIT_MAX: {
    default: 60_000,
    parse: duration(0, 600_000),
    shown: "60s",
    help: "longest time that a create holds its answer",
  },
  DRAIN: {
    default: 25_000,
    parse: duration(0, 600_000),
    shown: "25s",
    help: "time that SIGTERM gives running calls (below the 30 s that orchestrators give)",
  },
  MAX_BODY_BYTES: {
    default: 50 * 1024 ** 2,
    parse: size(1024, GIB),
    shown: "50MiB",
    help: "one request on any transport, after decompression",
  },
  MAX_HEADER_BYTES: {
    default: 16 * 1024,
    parse: size(1024, 1024 ** 2),
    shown: "16KiB",
    help: "request headers together over HTTP (over gRPC 64 KiB, which is Node's own limit)",
  },
  MAX_PIXELS: {
    default: 50_000_000,
    parse: integer(1, 1_000_000_000),
    help: "width × height of a picture, checked from its header (bounds memory: 3 bytes a pixel)",
  },
  MAX_TENSOR_ELEMENTS: {
    default: 16_777_216,
    parse: integer(1, 2 ** 31),
    help: "elements of all tensors of one request (64 MiB of float32)",
  },
  MAX_JSON_DEPTH: {
    default: 32,
    parse: integer(2, 45),
    help: "levels of nesting in a JSON input (protobuf takes two of its own 100 for each)",
  },
  MAX_JSON_VALUES: {
    default: 1_000_000,
    parse: integer(1000, 100_000_000),
    help: "values in one JSON body (each takes the main thread about a microsecond)",
  },
  FEATURE_EXTRACTOR: {
    default: "auspex/mobilenet",
    parse: text,
    help: "model whose embeddings are trained on",
  },
  TRAININGS: { default: 1, parse: integer(1, 64), help: "trainings at once, of one core each" },
  MAX_TRAINING_EXAMPLES: {
    default: 50_000,
    parse: integer(4, 10_000_000),
    help: "examples of one training (each takes 4 KiB of memory, in the server and beside it)",
  },
  MAX_STREAMS: { default: 128, parse: integer(1, 100_000), help: "concurrent calls per HTTP/2 connection" },
  MAX_WATCHES: {
    default: 10_000,
    parse: integer(1, 1_000_000),
    help: "watch streams at once, all connections (each costs a few KiB)",
  },
  LOG_LEVEL: { default: "info", parse: text, help: "trace, debug, info, warn, error or silent" },
} as const satisfies Record<string, Setting<never> | Setting<unknown>>;

type Name = keyof typeof SETTINGS;
type Values = { readonly [K in Name]: (typeof SETTINGS)[K] extends { parse: Parse<infer T> } ? T : never };

/** All settings, complete. Paths are absolute, THREADS is at least 1; TLS files are read. */
export interface Config extends Values {
  /** Without keys and accounts everybody is its one principal. */
  readonly open: boolean;
  readonly tls: Tls | undefined;
}

export interface Tls {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** PEM; clients must present a certificate that it signed. */
  readonly clientCa: Buffer | undefined;
}

export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly complaints: readonly string[];
  constructor(complaints: readonly string[]) {
    super(`the settings are wrong:\n${complaints.map((line) => `  ${line}`).join("\n")}`);
    this.complaints = complaints;
  }
}

const PREFIX = "AUSPEX_";
/** Read by scripts and the catalogue, not by the server. */
const FOREIGN = new Set(["AUSPEX_SKIP_MODELS"]);

function isOpen({ API_KEYS, ACCOUNTS_FILE }: Values): boolean {
  return API_KEYS.size === 0 && ACCOUNTS_FILE === undefined;
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** @throws ConfigError with every complaint */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const complaints: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(SETTINGS) as [Name, Setting<unknown>][]) {
    const given = env[PREFIX + name];
    try {
      values[name] = given === undefined || given === "" ? setting.default : setting.parse(given);
    } catch (error) {
      complaints.push(`${PREFIX}${name} ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith(PREFIX) && !FOREIGN.has(name) && !(name.slice(PREFIX.length) in SETTINGS)) {
      complaints.push(`${name} is not a setting (npm start -- --help lists them)`);
    }
  }
  // Keys are those of SETTINGS and each value came from its own parser.
  const config = values as unknown as Values;
  let tls: Tls | undefined;
  if (complaints.length === 0) {
    if (!isLoopback(config.HOST) && isOpen(config) && !config.INSECURE) {
      complaints.push(
        `${PREFIX}HOST is ${config.HOST}, where others can reach the server, and neither ${PREFIX}API_KEYS nor ` +
          `${PREFIX}ACCOUNTS_FILE is set: set keys (name:key,…), or ${PREFIX}INSECURE=1 to serve everybody`,
      );
    }
    const threads = config.WORKERS * config.THREADS;
    if (config.THREADS > 1 && threads > CORES) {
      complaints.push(
        `${PREFIX}WORKERS × ${PREFIX}THREADS is ${config.WORKERS} × ${config.THREADS} = ${threads}, and there are ${CORES} cores`,
      );
    }
    if (config.RUN_MAX < config.WAIT_MAX)
      complaints.push(`${PREFIX}WAIT_MAX is longer than ${PREFIX}RUN_MAX`);
    tls = readTls(config, complaints);
  }
  if (complaints.length > 0) throw new ConfigError(complaints);
  const dataDir = resolve(config.DATA_DIR);
  return {
    ...config,
    open: isOpen(config),
    THREADS: config.THREADS || Math.max(1, Math.floor(CORES / config.WORKERS)),
    DATA_DIR: dataDir,
    MODELS_DIR: config.MODELS_DIR === "" ? join(dataDir, "models") : resolve(config.MODELS_DIR),
    tls,
  };
}

function readTls(config: Values, complaints: string[]): Tls | undefined {
  if (config.TLS_CERT === "" && config.TLS_KEY === "") {
    if (config.TLS_CLIENT_CA !== "")
      complaints.push(`${PREFIX}TLS_CLIENT_CA needs ${PREFIX}TLS_CERT and ${PREFIX}TLS_KEY`);
    return undefined;
  }
  const read = (name: Name & `TLS_${string}`): Buffer => {
    if (config[name] === "") {
      complaints.push(`${PREFIX}${name} is unset, and ${PREFIX}TLS_CERT and ${PREFIX}TLS_KEY go together`);
      return Buffer.alloc(0);
    }
    try {
      return readFileSync(config[name]);
    } catch (error) {
      complaints.push(
        `${PREFIX}${name} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      );
      return Buffer.alloc(0);
    }
  };
  return {
    cert: read("TLS_CERT"),
    key: read("TLS_KEY"),
    clientCa: config.TLS_CLIENT_CA === "" ? undefined : read("TLS_CLIENT_CA"),
  };
}

/** The text of `npm start -- --help`. */
export function helpText(): string {
  const rows = (Object.entries(SETTINGS) as [Name, Setting<unknown>][]).map(([name, setting]) => [
    PREFIX + name,
    setting.shown ?? String(setting.default),
    setting.help,
  ]);
  const nameWidth = Math.max(...rows.map(([name]) => name?.length ?? 0));
  const defaultWidth = Math.max(...rows.map((row) => row[1]?.length ?? 0));
  return [
    "Auspex, a prediction server: gRPC on one port, Connect, gRPC-Web and REST on another.",
    "",
    "Usage: npm start                 settings come from the environment:",
    "",
    ...rows.map(
      ([name = "", value = "", help = ""]) =>
        `  ${name.padEnd(nameWidth)}  ${value.padEnd(defaultWidth)}  ${help}`,
    ),
    "",
    "Times: 500ms, 10s, 30m, 12h, 7d. Sizes: bytes, or 16KiB, 50MiB, 2GiB.",
  ].join("\n");
}
