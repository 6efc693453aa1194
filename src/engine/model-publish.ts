/**
 * Writing and deleting version folders. A version appears whole or not at all: its files are written and synced
 * aside, then the folder is renamed to its number.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { AuspexError, type FieldViolation, invalidArgument } from "../domain/error.ts";
import type { JsonObject } from "../domain/payload.ts";
import { MANIFEST_FILE, MODEL_FILE_NAME, readManifestFile } from "./manifest.ts";
import { type FolderPlace, highestNumber, isAbsence } from "./model-folder.ts";

/** Files in one publish: all of them lie in memory, and a larger model belongs into the models folder. */
export const PUBLISH_FILES_MAX = 256;

/** Beside the owners, on the same file system; no owner's name begins with a dot. */
const STAGING = ".staging";

export type ModelFiles = Readonly<Record<string, Uint8Array>>;

/** Removes what a stopped server left half written. */
export async function clearStaging(modelsDir: string): Promise<void> {
  await rm(join(modelsDir, STAGING), { recursive: true, force: true });
}

/**
 * Writes the files as the next version of the model: one above every number that its folder has and above
 * `knownHighest`. Two at once get different numbers, because a folder cannot be renamed onto one with contents.
 *
 * @throws AuspexError `invalid_argument` with every complaint; then nothing was written
 */
export async function writeVersion(args: {
  readonly modelsDir: string;
  readonly owner: string;
  readonly name: string;
  readonly knownHighest: number;
  readonly files: ModelFiles;
  readonly signal: AbortSignal;
}): Promise<FolderPlace> {
  const { modelsDir, owner, name, files, signal } = args;
  const manifest = acceptFiles(files);
  const staged = join(modelsDir, STAGING, randomUUID());
  const modelFolder = join(modelsDir, owner, name);
  try {
    await mkdir(staged, { recursive: true });
    for (const [file, bytes] of Object.entries(files)) {
      signal.throwIfAborted();
      await writeSynced(join(staged, file), file === MANIFEST_FILE ? manifest : bytes);
    }
    await syncFolder(staged);
    await mkdir(modelFolder, { recursive: true });
    signal.throwIfAborted();
    const version = await renameToNext(staged, modelFolder, args.knownHighest);
    await syncFolder(modelFolder);
    return { owner, name, version, folder: join(modelFolder, String(version)) };
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

/**
 * Deletes a version's files, `auspex.json` first: after a crash in between, what is left is no version. The empty
 * folder stays and holds the number, which predictions keep naming, so that no other version ever gets it.
 */
export async function deleteVersion(folder: string): Promise<void> {
  try {
    await rm(join(folder, MANIFEST_FILE), { force: true });
    await syncFolder(folder);
    for (const entry of await readdir(folder))
      await rm(join(folder, entry), { recursive: true, force: true });
  } catch (error) {
    if (!isAbsence(error)) throw error;
  }
}

/** Checks names, manifest and checksums; answers the manifest's bytes with the checksums of all files in it. */
function acceptFiles(files: ModelFiles): Uint8Array {
  const names = Object.keys(files);
  const violations: FieldViolation[] = [];
  const complain = (field: string, reason: string, description: string) =>
    violations.push({ field, reason, description });
  if (names.length > PUBLISH_FILES_MAX) {
    complain("files", "too_many", `has ${names.length} entries; at most ${PUBLISH_FILES_MAX} are allowed`);
  }
  for (const name of names) {
    if (!MODEL_FILE_NAME.test(name) || name.includes("/"))
      complain(fileField(name.slice(0, 128)), "format", "is not a plain file name");
  }
  const given = files[MANIFEST_FILE];
  if (!given) complain(fileField(MANIFEST_FILE), "required", "is required");
  const complete = given && completeManifest(given, files, violations);
  const [first, ...rest] = violations;
  if (first) throw invalidArgument(first, ...rest);
  if (!complete) throw new Error("a manifest was refused without a complaint");
  return complete;
}

/** The manifest with checksums; undefined when something is wrong with it, which `violations` then says. */
function completeManifest(
  bytes: Uint8Array,
  files: ModelFiles,
  violations: FieldViolation[],
): Uint8Array | undefined {
  const text = Buffer.from(bytes).toString("utf8");
  let given: ReadonlyMap<string, string>;
  try {
    given = readManifestFile(text).checksums;
  } catch (error) {
    if (!(error instanceof AuspexError)) throw error;
    for (const { field, reason, description } of error.violations) {
      const inside = field === MANIFEST_FILE ? description : `${field}: ${description}`;
      violations.push({ field: fileField(MANIFEST_FILE), reason, description: inside });
    }
    return undefined;
  }
  const checksums: Record<string, string> = {};
  for (const [name, contents] of Object.entries(files)) {
    if (name !== MANIFEST_FILE) checksums[name] = createHash("sha256").update(contents).digest("hex");
  }
  for (const [name, expected] of given) {
    if (checksums[name] === expected) continue;
    const description = checksums[name]
      ? `has checksum ${checksums[name]}, where ${MANIFEST_FILE} says ${expected}`
      : `is missing, and ${MANIFEST_FILE} names it`;
    violations.push({ field: fileField(name), reason: "checksum", description });
  }
  return Buffer.from(
    `${JSON.stringify({ ...(JSON.parse(text) as JsonObject), files: checksums }, null, 2)}\n`,
  );
}

function fileField(name: string): string {
  return `files[${JSON.stringify(name)}]`;
}

async function renameToNext(staged: string, modelFolder: string, knownHighest: number): Promise<number> {
  for (;;) {
    const version = Math.max(knownHighest, await highestNumber(modelFolder)) + 1;
    try {
      await rename(staged, join(modelFolder, String(version)));
      return version;
    } catch (error) {
      const isTaken =
        error instanceof Error && "code" in error && ["ENOTEMPTY", "EEXIST"].includes(String(error.code));
      if (!isTaken) throw error;
    }
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes the names in a folder durable; platforms that cannot open folders write them through anyway. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
