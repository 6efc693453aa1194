/**
 * Model folders as they lie on disk, `<root>/<owner>/<name>/<version>/`: finding them, checking one, and noticing
 * that its files changed. A folder is a version from the moment its `auspex.json` is there.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Manifest, NAME_PART } from "../domain/model.ts";
import { exists } from "./files.ts";
import { MANIFEST_BYTES_MAX, MANIFEST_FILE, readManifestFile } from "./manifest.ts";

/** Files in one model folder: the largest sharded models have some hundreds. */
export const FOLDER_FILES_MAX = 1024;

/** Folders inside a model folder: SavedModels have one (`variables/`). */
const FOLDER_DEPTH_MAX = 3;

const VERSION = /^[1-9][0-9]{0,8}$/;

export interface FolderPlace {
  readonly owner: string;
  readonly name: string;
  readonly version: number;
  /** Absolute. */
  readonly folder: string;
}

export interface CheckedFolder {
  readonly manifest: Manifest;
  /** SHA-256, lower-case hex, of the lines `<sha256>  <name>`: what `sha256sum * | sha256sum` prints. */
  readonly digest: string;
}

/**
 * Every version below a root, in no order. Undefined when the root is not there: an unmounted disk is no reason to
 * forget its models. Rejects when something below cannot be listed, so that no error looks like an empty folder.
 */
export async function findVersions(root: string): Promise<FolderPlace[] | undefined> {
  const owners = await names(root);
  if (owners === undefined) return undefined;
  const places: FolderPlace[] = [];
  for (const owner of owners.filter((part) => NAME_PART.test(part))) {
    for (const name of (await names(join(root, owner))) ?? []) {
      if (!NAME_PART.test(name)) continue;
      for (const version of (await names(join(root, owner, name))) ?? []) {
        const folder = join(root, owner, name, version);
        if (!VERSION.test(version) || !(await exists(join(folder, MANIFEST_FILE)))) continue;
        places.push({ owner, name, version: Number(version), folder });
      }
    }
  }
  return places;
}

/** The highest number that a folder of this model has, be it a version, a removed one or still being copied. */
export async function highestNumber(modelFolder: string): Promise<number> {
  const numbers = ((await names(modelFolder)) ?? []).filter((name) => VERSION.test(name)).map(Number);
  return Math.max(0, ...numbers);
}

/** A text that changes when any file of the folder is added, removed, replaced or written to. Reads no contents. */
export async function folderSignature(folder: string): Promise<string> {
  const lines: string[] = [];
  for (const file of await listFiles(folder)) {
    const { size, mtimeNs, ctimeNs, ino } = await stat(join(folder, file), { bigint: true });
    lines.push(`${file} ${size} ${mtimeNs} ${ctimeNs} ${ino}`);
  }
  return lines.join("\n");
}

/** When the folder became a version, microseconds since the epoch. */
export async function publishedAt(folder: string): Promise<number> {
  return Math.round((await stat(join(folder, MANIFEST_FILE))).mtimeMs * 1000);
}

/**
 * Reads the manifest and every byte, and compares with the checksums that the manifest gives. Rejects with all
 * that is wrong, naming the files.
 */
export async function checkFolder(folder: string, signal: AbortSignal): Promise<CheckedFolder> {
  const { manifest, checksums } = readManifestFile(await readManifestText(folder));
  const hashes = new Map<string, string>();
  for (const file of await listFiles(folder)) hashes.set(file, await hashFile(join(folder, file), signal));
  const faults: string[] = [];
  for (const [file, expected] of checksums) {
    const actual = hashes.get(file);
    if (actual === undefined) faults.push(`${file} is missing`);
    else if (actual !== expected) {
      faults.push(`${file} has checksum ${actual}, where ${MANIFEST_FILE} says ${expected}`);
    }
  }
  if (faults.length > 0) throw new Error(faults.join("; "));
  const digest = createHash("sha256");
  for (const [file, hash] of hashes) digest.update(`${hash}  ${file}\n`);
  return { manifest, digest: digest.digest("hex") };
}

async function readManifestText(folder: string): Promise<string> {
  const path = join(folder, MANIFEST_FILE);
  const { size } = await stat(path);
  if (size > MANIFEST_BYTES_MAX) {
    throw new Error(`${MANIFEST_FILE} has ${size} bytes; at most ${MANIFEST_BYTES_MAX} are allowed`);
  }
  return readFile(path, "utf8");
}

async function hashFile(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash, { signal });
  return hash.digest("hex");
}

/** Paths from the folder, `/` between their parts, sorted by code unit; hidden files are none of the model's. */
async function listFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  const walk = async (inside: string, depth: number): Promise<void> => {
    for (const name of await readdir(join(folder, inside))) {
      if (name.startsWith(".")) continue;
      const path = inside === "" ? name : `${inside}/${name}`;
      // Follows links: volumes mounted by orchestrators are made of them.
      if (!(await stat(join(folder, path))).isDirectory()) files.push(path);
      else if (depth === FOLDER_DEPTH_MAX) throw new Error(`${path} lies too deep for a model's file`);
      else await walk(path, depth + 1);
      if (files.length > FOLDER_FILES_MAX) throw new Error(`has more than ${FOLDER_FILES_MAX} files`);
    }
  };
  await walk("", 0);
  return files.sort();
}

/** The names in a folder; undefined when it is not there or no folder. */
async function names(folder: string): Promise<string[] | undefined> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

/** Whether a file or folder was simply not there. */
export function isAbsence(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}
