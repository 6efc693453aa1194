/**
 * Starts that cannot be: one message that says what to do, an exit that says that it failed, and nothing left behind.
 * The server itself, run to its end.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startServer } from "../harness.ts";
import { CAN_MOUNT, onSmallDisk } from "../small-disk.ts";

const MAIN = join(import.meta.dirname, "..", "..", "src", "main.ts");

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "auspex-start-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function start(
  settings: Readonly<Record<string, string>>,
  launcher: readonly string[] = [],
): Promise<Ended> {
  const all = { HTTP_PORT: "0", GRPC_PORT: "0", CATALOGUE: "0", WORKERS: "1", DATA_DIR: folder, ...settings };
  const env = { ...process.env };
  for (const [name, value] of Object.entries(all)) env[`AUSPEX_${name}`] = value;
  const [command = "", ...args] = [...launcher, process.execPath, MAIN];
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { out, err, code };
}

/** One paragraph for a person, without a line of our program in it. */
function expectRefusal({ code, out, err }: Ended, ...says: readonly (string | RegExp)[]): void {
  expect(code).toBe(2);
  expect(err).toMatch(/^auspex: /);
  expect(err).not.toMatch(/^\s+at |node:|\.ts:/m);
  expect(err.trim().split("\n")).toHaveLength(1);
  for (const words of says) expect(err).toMatch(words);
  expect(out).not.toContain("ready");
}

/** A port that somebody has until the test is over. */
async function takenPort(): Promise<{ readonly port: string; readonly free: () => void }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return { port: String(typeof address === "object" && address?.port), free: () => server.close() };
}

test("a data folder that is a file, or below one", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expectRefusal(await start({ DATA_DIR: file }), file, "not a folder", "AUSPEX_DATA_DIR");
  expectRefusal(await start({ DATA_DIR: join(file, "data") }), file, "not a folder", "AUSPEX_DATA_DIR");
  expect(readdirSync(folder)).toEqual(["file"]);
});

test.runIf(CAN_MOUNT)("a data folder on a read-only file system", async () => {
  const readOnly = onSmallDisk(folder, 1024 ** 2, ",ro");
  expectRefusal(await start({}, readOnly), folder, "read-only", "AUSPEX_DATA_DIR");
});

test.runIf(CAN_MOUNT)("a full disk", async () => {
  expectRefusal(await start({}, onSmallDisk(folder, 4096)), folder, "the disk is full", "AUSPEX_DATA_DIR");
  // Room for the lock and a probe, and not for the database.
  expectRefusal(await start({}, onSmallDisk(folder, 25 * 4096)), folder, "auspex.db", "disk", "free space");
});

test("a database that is none, and one that is damaged inside", async () => {
  const file = join(folder, "auspex.db");
  writeFileSync(file, "certainly not a database, for all its length ".repeat(100));
  expectRefusal(await start({}), file, "is damaged", "backup");
  rmSync(file);
  await (await startServer({ dataDir: folder, settings: { CATALOGUE: "0" } })).terminate();
  const bytes = Buffer.alloc(4096, 0xa5);
  const database = await import("node:fs/promises").then(({ open }) => open(file, "r+"));
  // The root pages of the first tables, and all that lies behind them; the header stays.
  for (let page = 1; page < 8; page++) await database.write(bytes, 0, bytes.length, page * 4096);
  await database.close();
  expectRefusal(await start({}), file, "is damaged", "backup");
});

test("a database that a newer release has written", async () => {
  await (await startServer({ dataDir: folder, settings: { CATALOGUE: "0" } })).terminate();
  const database = new DatabaseSync(join(folder, "auspex.db"));
  database.exec("insert into migration (version, name) values (9999, 'from the future')");
  database.close();
  expectRefusal(await start({}), "9999", "newer release", "start that one");
});

test("a port in use, either of the two: the other one is let go, and so is the folder", async () => {
  for (const name of ["HTTP_PORT", "GRPC_PORT"]) {
    const { port, free } = await takenPort();
    expectRefusal(await start({ [name]: port }), port, "AUSPEX_HTTP_PORT", "AUSPEX_GRPC_PORT");
    free();
  }
  await using server = await startServer({ dataDir: folder, settings: { CATALOGUE: "0" } });
  expect(server.process.exitCode).toBe(null);
});

test("an address that is not this machine's", async () => {
  expectRefusal(
    await start({ HOST: "192.0.2.1", API_KEYS: "a:0123456789abcdef" }),
    "192.0.2.1",
    "AUSPEX_HOST",
  );
});

test("a second server on one data folder touches nothing of the first", async () => {
  await using server = await startServer({ dataDir: folder, settings: { CATALOGUE: "0" } });
  // What the first is about to publish.
  const staged = join(folder, "models", ".staging", "one");
  mkdirSync(staged, { recursive: true });
  expectRefusal(await start({}), folder, String(server.process.pid), "AUSPEX_DATA_DIR");
  expect(existsSync(staged)).toBe(true);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
});

test("a models folder that is none", async () => {
  const file = join(folder, "models");
  writeFileSync(file, "");
  expectRefusal(await start({}), file, "AUSPEX_MODELS_DIR");
});

test("a setting that is wrong", async () => {
  const ended = await start({ LEASE: "soon", HTTP_PORT: "70000" });
  expect(ended.code).toBe(2);
  for (const name of ["AUSPEX_LEASE", "AUSPEX_HTTP_PORT"]) expect(ended.err).toContain(name);
  expect(ended.err).not.toMatch(/^\s+at /m);
  expect(readdirSync(folder)).toEqual([]);
});
