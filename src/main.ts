/** The entry: reads the environment, starts, stops, exits. Nothing else does. */
import { enableCompileCache, getCompileCacheDir } from "node:module";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { pino } from "pino";
import { COLLECTOR_FLAGS } from "./collector-flags.ts";
import { ConfigError, helpText, readConfig } from "./config.ts";
import { AuspexError } from "./domain/error.ts";
import { createLogOutput } from "./log-output.ts";

/** Compiled sources are kept between starts, for this process and its workers: about a third of a start. */
const COMPILE_CACHE = join(import.meta.dirname, "..", "node_modules", ".cache", "auspex");

/** What a person can do about a listener that does not start. */
const LISTEN_ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE:
    "another program listens there; choose another port with AUSPEX_HTTP_PORT or AUSPEX_GRPC_PORT (0 takes a free one)",
  EACCES: "this user may not listen there; ports below 1024 are the administrator's on most systems",
  EADDRNOTAVAIL: "no network interface of this machine has that address; look at AUSPEX_HOST",
  ENOTFOUND: "that name has no address; look at AUSPEX_HOST",
};

function explain(error: unknown): string {
  if (error instanceof ConfigError || error instanceof AuspexError) return error.message;
  if (error instanceof Error && "code" in error) {
    const advice = LISTEN_ADVICE[String(error.code)];
    if (advice !== undefined) return `${error.message}: ${advice}`;
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function main(): Promise<void> {
  const [argument] = process.argv.slice(2);
  if (argument === "--help" || argument === "-h") {
    console.log(helpText());
    return;
  }
  if (argument !== undefined) throw new ConfigError([`there is no argument ${argument}; see --help`]);
  const config = readConfig(process.env);
  for (const flag of COLLECTOR_FLAGS) setFlagsFromString(flag);
  enableCompileCache(COMPILE_CACHE);
  const cache = getCompileCacheDir();
  // There is none where the folder cannot be written; `undefined` would become a folder of that name.
  if (cache !== undefined) process.env.NODE_COMPILE_CACHE = cache;
  // Loaded only now, so that the cache serves it and --help need not wait for it.
  const { startServer } = await import("./server.ts");
  const output = createLogOutput(
    process.stdout,
    (dropped) =>
      `${JSON.stringify({ level: 40, time: Date.now(), dropped, msg: "log lines were dropped" })}\n`,
  );
  const log = pino({ level: config.LOG_LEVEL }, output);
  const server = await startServer(config, log, output.dropped);
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, "stopping; once more to stop at once");
    server.stop().then(
      () => {
        log.info("stopped");
        process.exit(0);
      },
      (error: unknown) => {
        log.fatal({ err: error }, "stopping failed");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.on("uncaughtException", (error) => {
    // Nothing is known about the state any more; what is durable is taken up by the next start.
    log.fatal({ err: error }, "uncaught error; stopping at once");
    process.exit(1);
  });
  // Last: whoever is told that it is ready may stop it.
  output.write(`${server.banner}\n`);
  const startMs = Math.round(performance.now());
  log.info({ http: server.httpPort, grpc: server.grpcPort, startMs }, "ready");
}

main().catch((error: unknown) => {
  console.error(`auspex: ${explain(error)}`);
  process.exit(2);
});
