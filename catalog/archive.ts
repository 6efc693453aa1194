/** Getting an archive whole and unaltered, and taking files out of it. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setInterval as every } from "node:timers/promises";
import { Parser, type ReadEntry } from "tar";
import { type Archive, sourceText } from "./entry.ts";

/** Unpacked bytes that one model may have: room for every model that a CPU serves, and no disk filled by a bomb. */
const UNPACKED_BYTES_MAX = 8 * 1024 ** 3;

/** A fetch that takes longer has stalled; running the command again takes it up. */
const FETCH_MS_MAX = 20 * 60_000;

const NPM_SAMPLE_MS = 200;

/** The client's own two retries wait 10 s and 60 s: too long to be told that the registry is away. */
const NPM_OPTIONS = [
  "--ignore-scripts",
  "--json",
  "--fetch-retry-mintimeout=1000",
  "--fetch-retry-maxtimeout=4000",
];

/** How the npm client is called. */
export interface NpmClient {
  /** Path of its `npm-cli.js` (npm tells its scripts); undefined for `npm` on the PATH. */
  readonly cli: string | undefined;
  /** Its cache folder, which shows how far a download is; undefined when unknown. */
  readonly cacheDir: string | undefined;
}

export interface FetchOptions {
  /** An existing empty folder for what is unfinished. */
  readonly workDir: string;
  readonly npm: NpmClient;
  /** Told the bytes that have arrived so far. An estimate when the npm client has other downloads. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Fetches an archive to `target`, where it appears only when its integrity is right. Rejects with a sentence that
 * a person can act on.
 */
export async function fetchArchive(archive: Archive, target: string, options: FetchOptions): Promise<void> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(FETCH_MS_MAX)]);
  const file = await download(archive, { ...options, signal });
  const actual = await integrityOf(file);
  if (actual !== archive.integrity) {
    throw new Error(
      `${sourceText(archive.from)} was altered: its integrity is ${actual}, where the catalogue says ${archive.integrity}`,
    );
  }
  await rename(file, target);
  options.onBytes(archive.bytes);
}

export async function integrityOf(file: string): Promise<string> {
  const hash = createHash("sha512");
  await pipeline(createReadStream(file), hash);
  return `sha512-${hash.digest("base64")}`;
}

async function download(archive: Archive, options: FetchOptions): Promise<string> {
  const { from, bytes } = archive;
  const file = join(options.workDir, "archive.tgz");
  switch (from.kind) {
    case "npm":
      return downloadByNpm(from.spec, bytes, options);
    case "file":
      await copy(createReadStream(from.url), file, bytes, options);
      return file;
    case "https": {
      const response = await fetch(from.url, { signal: options.signal });
      if (!response.ok || !response.body) throw new Error(`${from.url.href} answered ${response.status}`);
      await copy(Readable.fromWeb(response.body), file, bytes, options);
      return file;
    }
    default:
      return from satisfies never;
  }
}

async function copy(
  source: Readable,
  file: string,
  bytes: number,
  { onBytes, signal }: FetchOptions,
): Promise<void> {
  let arrived = 0;
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      arrived += chunk.length;
      onBytes(Math.min(arrived, bytes));
      if (arrived <= bytes) done(null, chunk);
      else done(new Error(`is longer than the ${bytes} bytes that the catalogue says`));
    },
  });
  await pipeline(source, count, createWriteStream(file), { signal });
}

async function downloadByNpm(spec: string, bytes: number, options: FetchOptions): Promise<string> {
  const { workDir, npm, signal, onBytes } = options;
  const finished = new AbortController();
  if (npm.cacheDir !== undefined) void sampleCache(npm.cacheDir, bytes, onBytes, finished.signal);
  try {
    const args = ["pack", spec, "--pack-destination", workDir, ...NPM_OPTIONS];
    const { code, stdout, stderr } = await runNpm(npm, args, signal);
    if (code !== 0) throw new Error(npmFailure(spec, stdout, stderr));
  } finally {
    finished.abort();
  }
  const [file] = (await readdir(workDir)).filter((name) => name.endsWith(".tgz"));
  if (file === undefined) throw new Error(`the npm client fetched ${spec} but left no file`);
  return join(workDir, file);
}

/** The client writes the archive at once when it has all of it; until then the bytes lie in its cache's `tmp`. */
async function sampleCache(
  cacheDir: string,
  bytes: number,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const folder = join(cacheDir, "_cacache", "tmp");
  const sizes = async (): Promise<Map<string, number>> => {
    const found = new Map<string, number>();
    for (const name of await readdir(folder)) found.set(name, (await stat(join(folder, name))).size);
    return found;
  };
  const before = await sizes().catch(() => new Map<string, number>());
  try {
    for await (const _ of every(NPM_SAMPLE_MS, undefined, { signal, ref: false })) {
      let grown = 0;
      // A file may vanish between being listed and being looked at: then this sample is left out.
      for (const [name, size] of await sizes().catch(() => before)) if (!before.has(name)) grown += size;
      if (grown > 0) onBytes(Math.min(grown, bytes));
    }
  } catch {
    // Aborted: the download has ended.
  }
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function runNpm({ cli }: NpmClient, args: readonly string[], signal: AbortSignal): Promise<Ended> {
  const child =
    cli === undefined
      ? spawn("npm", args, { signal, stdio: ["ignore", "pipe", "pipe"], shell: process.platform === "win32" })
      : spawn(process.execPath, [cli, ...args], { signal, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", (error) =>
      reject(new Error(`the npm client could not be run: ${error.message}`, { cause: error })),
    );
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

const UNREACHABLE =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTCACHED|ERR_SOCKET_TIMEOUT)\b/;

/** What went wrong, in one sentence; the npm client's own words where they are not known. */
export function npmFailure(spec: string, stdout: string, stderr: string): string {
  const said = `${stdout}\n${stderr}`;
  const unreachable = UNREACHABLE.exec(said)?.[1];
  if (unreachable) return `${spec} was not fetched: the npm registry cannot be reached (${unreachable})`;
  if (/\b(E404|ETARGET)\b/.test(said)) return `${spec} was not fetched: the npm registry does not have it`;
  const lines = stderr.split("\n").filter((line) => /^npm err/i.test(line));
  return `${spec} was not fetched: ${lines.slice(0, 3).join(" ").slice(0, 500) || "the npm client failed"}`;
}

/**
 * Takes files out of an archive: `wanted` maps paths in it to the plain names to write in `folder`. Nothing else is
 * written, so no path of the archive's ever becomes one on disk; links and doubles among the wanted are refused.
 * Answers the SHA-256 by name; rejects with the names of those that are missing.
 */
export async function extractFiles(
  archive: string,
  wanted: ReadonlyMap<string, string>,
  folder: string,
): Promise<Map<string, string>> {
  await mkdir(folder, { recursive: true });
  const hashes = new Map<string, string>();
  const writes: Promise<void>[] = [];
  const stop = new AbortController();
  let unpacked = 0;
  const take = async (entry: ReadEntry, name: string): Promise<void> => {
    if (entry.type !== "File") throw new Error(`${entry.path} is a ${entry.type}, where a file was expected`);
    unpacked += entry.size;
    if (unpacked > UNPACKED_BYTES_MAX) throw new Error(`has more than ${UNPACKED_BYTES_MAX} bytes to unpack`);
    const hash = createHash("sha256");
    const hashing = async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    };
    await pipeline(entry, hashing, createWriteStream(join(folder, name), { flags: "wx" }), {
      signal: stop.signal,
    });
    hashes.set(name, hash.digest("hex"));
  };
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      const name = wanted.get(entry.path);
      if (name === undefined) entry.resume();
      else {
        const write = take(entry, name);
        // A failed write would otherwise leave the parser waiting for somebody to read this entry.
        write.catch((error: unknown) => stop.abort(error));
        writes.push(write);
      }
    },
  });
  try {
    await pipeline(createReadStream(archive), parser, { signal: stop.signal });
  } catch (error) {
    // Files that were being written when the archive broke off end too.
    stop.abort(error);
    throw stop.signal.reason;
  }
  await Promise.all(writes);
  const missing = [...wanted].filter(([, name]) => !hashes.has(name)).map(([path]) => path);
  if (missing.length > 0) throw new Error(`the archive lacks ${missing.join(", ")}`);
  return hashes;
}
