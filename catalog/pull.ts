/**
 * Pulling: from an entry to a whole model folder, `<cache>/<owner>/<name>/<version>/`, which servers serve read-only.
 * It appears whole, by a rename, and running it again takes up what was interrupted: archives that arrived whole
 * are kept until their models are published.
 */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { JsonObject } from "../src/domain/payload.ts";
import { MANIFEST_FILE, readManifestFile } from "../src/engine/manifest.ts";
import { extractFiles, fetchArchive, integrityOf, type NpmClient } from "./archive.ts";
import type { Archive, Entry } from "./entry.ts";
import { readLabels } from "./labels.ts";

export interface PullOptions {
  readonly cacheDir: string;
  readonly npm: NpmClient;
  /** Bytes fetched and to fetch, of all entries together. */
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}

export type Outcome =
  | { readonly kind: "already"; readonly entry: Entry; readonly folder: string }
  | { readonly kind: "pulled"; readonly entry: Entry; readonly folder: string }
  | { readonly kind: "failed"; readonly entry: Entry; readonly reason: string };

/** Pulls all entries at once; one that fails leaves the others alone. */
export async function pull(entries: readonly Entry[], options: PullOptions): Promise<Outcome[]> {
  await clearWork(options.cacheDir);
  const archives = new ArchiveCache(options);
  const outcomes = await Promise.all(
    entries.map(async (entry): Promise<Outcome> => {
      const folder = modelFolder(entry, options.cacheDir);
      try {
        if (await isPulled(entry, options.cacheDir)) return { kind: "already", entry, folder };
        await pullOne(entry, folder, archives, options.cacheDir);
        return { kind: "pulled", entry, folder };
      } catch (error) {
        // Another run may have been faster, and have removed the archive afterwards.
        if (await isPulled(entry, options.cacheDir)) return { kind: "already", entry, folder };
        return { kind: "failed", entry, reason: error instanceof Error ? error.message : String(error) };
      }
    }),
  );
  // After a failure they are what the next run need not fetch again.
  if (outcomes.every((outcome) => outcome.kind !== "failed")) await archives.clear();
  return outcomes;
}

/** Whether the model folder is there, as the entry says it should be, with all its files. Reads no weights. */
export async function isPulled(entry: Entry, cacheDir: string): Promise<boolean> {
  const folder = modelFolder(entry, cacheDir);
  try {
    const text = await readFile(join(folder, MANIFEST_FILE), "utf8");
    for (const file of readManifestFile(text).checksums.keys()) await stat(join(folder, file));
    const written = JSON.parse(text) as JsonObject;
    delete written.files;
    if (entry.labels) delete written.labels;
    return isDeepStrictEqual(written, entry.manifest);
  } catch {
    return false;
  }
}

export function modelFolder(entry: Entry, cacheDir: string): string {
  return join(cacheDir, entry.model, String(entry.version));
}

async function pullOne(
  entry: Entry,
  folder: string,
  archives: ArchiveCache,
  cacheDir: string,
): Promise<void> {
  const weights = archives.get(entry.archive);
  const labels = entry.labels && archives.get(entry.labels.archive);
  // Both are awaited below one after the other; a failure of the second must not go unheard meanwhile.
  labels?.catch(() => {});
  const work = await workFolder(cacheDir);
  try {
    const staged = join(work, "model");
    const wanted = new Map(entry.files.map(({ from, to }) => [join("/", entry.folder, from).slice(1), to]));
    const hashes = await extractFiles(await weights, wanted, staged);
    const manifest: JsonObject = { ...entry.manifest };
    if (entry.labels && labels) {
      await extractFiles(await labels, new Map([[entry.labels.file, "labels"]]), work);
      manifest.labels = [...entry.labels.before, ...readLabels(await readFile(join(work, "labels"), "utf8"))];
    }
    manifest.files = Object.fromEntries(hashes);
    const text = `${JSON.stringify(manifest, null, 2)}\n`;
    readManifestFile(text);
    await writeFile(join(staged, MANIFEST_FILE), text);
    await mkdir(dirname(folder), { recursive: true });
    await publish(staged, folder, () => isPulled(entry, cacheDir));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Renames into place. What is there already stays when it is whole: another run was faster, and may be serving it. */
async function publish(staged: string, folder: string, isWhole: () => Promise<boolean>): Promise<void> {
  try {
    await rename(staged, folder);
  } catch (error) {
    const isTaken =
      error instanceof Error && "code" in error && /^(?:ENOTEMPTY|EEXIST|EPERM)$/.test(String(error.code));
    if (!isTaken) throw error;
    if (await isWhole()) return;
    // An interrupted copy, or made from an older entry.
    await rm(folder, { recursive: true, force: true });
    await rename(staged, folder);
  }
}

/** Archives of one run, each fetched once though several entries may want it. */
class ArchiveCache {
  readonly #options: PullOptions;
  readonly #files = new Map<string, Promise<string>>();
  readonly #progress = new Map<string, { done: number; readonly total: number }>();

  constructor(options: PullOptions) {
    this.#options = options;
  }

  /** The path of the archive, its integrity checked. */
  get(archive: Archive): Promise<string> {
    const file = this.#files.get(archive.integrity) ?? this.#fetch(archive);
    this.#files.set(archive.integrity, file);
    return file;
  }

  async clear(): Promise<void> {
    for (const integrity of this.#files.keys()) await rm(this.#path(integrity), { force: true });
  }

  async #fetch(archive: Archive): Promise<string> {
    const { cacheDir } = this.#options;
    const target = this.#path(archive.integrity);
    const isThere = (await integrityOf(target).catch(() => undefined)) === archive.integrity;
    if (isThere) return target;
    const progress = { done: 0, total: archive.bytes };
    this.#progress.set(archive.integrity, progress);
    const onBytes = (bytes: number): void => {
      progress.done = Math.max(progress.done, bytes);
      this.#report();
    };
    await mkdir(dirname(target), { recursive: true });
    const workDir = await workFolder(cacheDir);
    try {
      await fetchArchive(archive, target, { ...this.#options, workDir, onBytes });
    } finally {
      await rm(workDir, { recursive: true, force: true });
    }
    return target;
  }

  #path(integrity: string): string {
    const name = Buffer.from(integrity.slice("sha512-".length), "base64").toString("hex").slice(0, 40);
    return join(this.#options.cacheDir, ".archives", `${name}.tgz`);
  }

  #report(): void {
    let done = 0;
    let total = 0;
    for (const progress of this.#progress.values()) {
      done += progress.done;
      total += progress.total;
    }
    this.#options.onProgress(done, total);
  }
}

/** A folder for unfinished work. Its name has our process's id, so that a later run knows whether it was abandoned. */
async function workFolder(cacheDir: string): Promise<string> {
  const folder = join(cacheDir, ".work");
  await mkdir(folder, { recursive: true });
  return mkdtemp(join(folder, `${process.pid}-`));
}

/** Removes the work of runs that were interrupted, and of no other. */
async function clearWork(cacheDir: string): Promise<void> {
  const folder = join(cacheDir, ".work");
  for (const name of await readdir(folder).catch(() => [])) {
    if (!isAlive(Number.parseInt(name, 10))) await rm(join(folder, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process is alive too.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
