/** Tiny models as files, and a `load` that really reads them, for tests of what stands around a runtime. */
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { FoundVersion, LoadedVersion } from "../../src/engine/model-registry.ts";

const BYTES_PER_ELEMENT: Readonly<Record<string, number>> = { float32: 4, int32: 4, uint8: 1, bool: 1 };

interface Weights {
  readonly weightsManifest: readonly {
    readonly paths: readonly string[];
    readonly weights: readonly { readonly name: string; readonly shape: number[]; readonly dtype: string }[];
  }[];
}

/** The files of a valid model of two shards; `seed` makes its bytes differ from another's. */
export function modelFiles(seed: number, manifest: object = { task: "tensor" }): Record<string, Buffer> {
  const shard = (index: number) =>
    Buffer.from(Float32Array.from({ length: 16 }, (_, i) => seed + index + i).buffer);
  const weightsManifest = [1, 2].map((index) => ({
    paths: [`group${index}-shard1of1.bin`],
    weights: [{ name: `w${index}`, shape: [4, 4], dtype: "float32" }],
  }));
  return {
    "model.json": Buffer.from(JSON.stringify({ format: "graph-model", modelTopology: {}, weightsManifest })),
    "group1-shard1of1.bin": shard(1),
    "group2-shard1of1.bin": shard(2),
    "auspex.json": Buffer.from(JSON.stringify(manifest)),
  };
}

/** Writes the folder as DESIGN.md asks of a person: `auspex.json` last. */
export async function writeModel(
  root: string,
  model: string,
  version: number,
  files: Record<string, Buffer>,
) {
  const folder = join(root, model, String(version));
  await mkdir(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
  return folder;
}

/** Reads every weight file that `model.json` names and compares its length with what the weights need. */
export async function loadWeights({ folder }: FoundVersion): Promise<LoadedVersion> {
  const { weightsManifest } = JSON.parse(await readFile(join(folder, "model.json"), "utf8")) as Weights;
  for (const { paths, weights } of weightsManifest) {
    let needed = 0;
    for (const { name, shape, dtype } of weights) {
      const bytes = BYTES_PER_ELEMENT[dtype];
      if (bytes === undefined) throw new Error(`weight ${name} has dtype ${dtype}, which is not supported`);
      needed += shape.reduce((a, b) => a * b, bytes);
    }
    let actual = 0;
    for (const path of paths) actual += (await stat(join(folder, path))).size;
    if (actual !== needed)
      throw new Error(`${paths.join(", ")} has ${actual} bytes, where its weights need ${needed}`);
  }
  return { runtime: "tfjs-wasm", notes: [] };
}
