/**
 * Every setting and every limit in one table: its default, how it is read, its unit and its reason. `config.ts` makes a
 * configuration of it.
 */
import { availableParallelism } from "node:os";
import { type Accounts, readAccountsFile, SECRET_LENGTH } from "./accounts-file.ts";
import { RUNTIMES } from "./domain/model.ts";
import {
  apiKeys,
  duration,
  flag,
  integer,
  keyOrigins,
  limitOrOff,
  list,
  type Parse,
  selection,
  size,
  someOf,
  text,
  within,
} from "./setting.ts";

export interface Setting<T> {
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

export const DIALECTS = ["wriftai", "einstein-vision", "einstein-prediction", "studio"] as const;
export type DialectName = (typeof DIALECTS)[number];

const DAY_MS = 86_400_000;
const GIB = 1024 ** 3;
export const CORES = availableParallelism();

export const SETTINGS = {
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
    default: true as boolean | ReadonlySet<string>,
    parse: selection,
    help: "serve the pulled catalogue models beside the models folder; or these of them alone: owner/name,…",
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
  LLM_KEYS: {
    default: new Map<string, readonly string[]>() as ReadonlyMap<string, readonly string[]>,
    parse: keyOrigins,
    shown: "unset",
    help: "NAME=https://origin,… ; environment variables whose keys chatflows may send to that origin (otherwise whoever makes a flow could have any of them sent to an address of his)",
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
  DISK_RESERVE: {
    default: 256 * 1024 ** 2,
    parse: size(0, 1024 * GIB),
    shown: "256MiB",
    help: "room on the data folder's disk below which nothing more is accepted, so that what is accepted can be finished; 0 looks at no disk",
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
  MAX_BYTES_IN_FLIGHT: {
    default: 0,
    parse: size(4096, 1024 * GIB),
    shown: "512MiB",
    help: "bodies of all requests that are in memory at once, packed and unpacked; past it requests are refused (bounds memory; at least, and by default at least, four times AUSPEX_MAX_BODY_BYTES)",
  },
  MAX_HEADER_BYTES: {
    default: 16 * 1024,
    parse: size(1024, 1024 ** 2),
    shown: "16KiB",
    help: "request headers together, on both ports",
  },
  MAX_CONNECTIONS: {
    default: 20_000,
    parse: integer(1, 1_000_000),
    help: "connections to each port at once; further ones are closed (an idle one costs some 30 KiB)",
  },
  REQUEST_TIMEOUT: {
    default: 120_000,
    parse: duration(100, 3_600_000),
    shown: "120s",
    help: "a request that has not arrived whole by then is refused (the largest body needs 3.5 Mbit/s)",
  },
  ANSWER_TIMEOUT: {
    default: 120_000,
    parse: duration(100, 3_600_000),
    shown: "120s",
    help: "a caller that takes nothing of what waits for it for this long is cut off; a watch can be resumed",
  },
  IDLE_TIMEOUT: {
    default: 600_000,
    parse: duration(100, DAY_MS),
    shown: "10m",
    help: "a gRPC connection without calls is closed after this (clients connect anew by themselves)",
  },
  MAX_EXAMPLE_BYTES: {
    default: 5 * 1024 ** 2,
    parse: size(1024, GIB),
    shown: "5MiB",
    help: "one picture of a dataset; an import holds four of them in memory",
  },
  MAX_ZIP_BYTES: {
    default: 2 * GIB,
    parse: size(1024, 1024 * GIB),
    shown: "2GiB",
    help: "a dataset's zip that is fetched from a URL (bounds the disk that four at once take)",
  },
  MAX_ZIP_ENTRIES: {
    default: 100_000,
    parse: integer(1, 10_000_000),
    help: "files and folders of a zip (each takes some 300 bytes of memory while it is taken up)",
  },
  MAX_ZIP_UNPACKED: {
    default: 4 * GIB,
    parse: size(1024, 1024 * GIB),
    shown: "4GiB",
    help: "all files of a zip together, unpacked (twice the zip: pictures hardly shrink)",
  },
  MAX_ZIP_RATIO: {
    default: 200,
    parse: integer(1, 2000),
    help: "unpacked to packed size of a file over 1 MiB (pictures are near 1, a bomb is at 1,000)",
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
    help: "values in one body, JSON or protobuf (each takes the main thread about a microsecond)",
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
  MAX_UPSERT_PASSAGES: {
    default: 5000,
    parse: integer(1, 1_000_000),
    help: "passages that the documents of one upsert may make (embedding one takes some 20 ms of a core)",
  },
  MAX_STREAMS: { default: 128, parse: integer(1, 100_000), help: "concurrent calls per HTTP/2 connection" },
  MAX_WATCHES: {
    default: 10_000,
    parse: integer(1, 1_000_000),
    help: "watch streams at once, all connections (each costs a few KiB)",
  },
  MAX_ANSWERS: {
    default: 256,
    parse: integer(1, 100_000),
    help: "answers of chatflows that are made at once (each may hold a connection to a language model); four times as many may be unfinished, past that asking is refused",
  },
  LOG_LEVEL: { default: "info", parse: text, help: "trace, debug, info, warn, error or silent" },
} as const satisfies Record<string, Setting<never> | Setting<unknown>>;
