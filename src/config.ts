/**
 * The server's configuration: `readConfig` makes a complete one of the environment and the table of settings, or names
 * everything that is wrong with it at once; nobody else reads the environment. `--help` is printed from the same table.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Parse } from "./setting.ts";
import { CORES, SETTINGS, type Setting } from "./setting-table.ts";

type Name = keyof typeof SETTINGS;
type Values = { readonly [K in Name]: (typeof SETTINGS)[K] extends { parse: Parse<infer T> } ? T : never };

/** All settings, complete. Paths are absolute, THREADS is at least 1, MAX_BYTES_IN_FLIGHT is computed; TLS files are read. */
export interface Config extends Values {
  /** Without keys and accounts everybody is its one principal. */
  readonly open: boolean;
  readonly tls: Tls | undefined;
  /** Keys of language models by the name of their environment variable. */
  readonly llmKeys: ReadonlyMap<string, LlmKey>;
}

export interface LlmKey {
  /** Where it may be sent. */
  readonly origins: readonly string[];
  readonly key: string;
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

/** Ten of the largest bodies of the default size: more at once would only wait for the workers. */
const BYTES_IN_FLIGHT = 512 * 1024 ** 2;

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
  const llmKeys = readLlmKeys(config, env, complaints);
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
    if (config.MAX_BYTES_IN_FLIGHT !== 0 && config.MAX_BYTES_IN_FLIGHT < 4 * config.MAX_BODY_BYTES) {
      complaints.push(
        `${PREFIX}MAX_BYTES_IN_FLIGHT is ${config.MAX_BYTES_IN_FLIGHT}, less than four times ${PREFIX}MAX_BODY_BYTES`,
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
    MAX_BYTES_IN_FLIGHT: config.MAX_BYTES_IN_FLIGHT || Math.max(BYTES_IN_FLIGHT, 4 * config.MAX_BODY_BYTES),
    DATA_DIR: dataDir,
    MODELS_DIR: config.MODELS_DIR === "" ? join(dataDir, "models") : resolve(config.MODELS_DIR),
    tls,
    llmKeys,
  };
}

/** Named and not there is a mistake that would otherwise be found with the first question. */
function readLlmKeys(
  { LLM_KEYS = new Map() }: Partial<Values>,
  env: Readonly<Record<string, string | undefined>>,
  complaints: string[],
): Map<string, LlmKey> {
  const keys = new Map<string, LlmKey>();
  for (const [name, origins] of LLM_KEYS) {
    const key = env[name]?.trim() ?? "";
    if (key === "") complaints.push(`${PREFIX}LLM_KEYS names ${name}, which is not set`);
    // What a header can hold; anything else would fail with the first question.
    else if (!/^[\x21-\x7e]+$/.test(key)) complaints.push(`${name} holds what cannot be sent as a key`);
    else keys.set(name, { origins, key });
  }
  return keys;
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
