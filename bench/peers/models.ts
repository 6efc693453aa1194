/**
 * What every peer serves and what it has to answer: the MLP and MobileNet as ONNX, written by our own compiler from the
 * files that Auspex serves itself, and the right answers from TF.js, which knows nothing of the compiler.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compileGraphModel } from "../../src/engine/compiler/graph-model.ts";
import { compileLayersModel } from "../../src/engine/compiler/layers-model.ts";
import { MANIFEST_FILE, readManifest } from "../../src/engine/manifest.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { openVersion } from "../../src/engine/worker/version.ts";
import { readModelFiles } from "../../src/engine/worker/weights.ts";
import { photograph } from "../../test/harness.ts";
import { writeMlp } from "../../test/models/mlp.ts";

const MOBILENET = join(import.meta.dirname, "..", "..", "catalog", ".cache", "auspex", "mobilenet", "1");
const RUNTIME = "tfjs-wasm";
const MAX_PIXELS = 50_000_000;

export interface Served {
  /** `mlp.onnx`, `mobilenet.onnx` and `labels.json`. */
  readonly folder: string;
  /** For Auspex, which has the MLP in it as `bench/mlp`. */
  readonly modelsDir: string;
  readonly mlp: { readonly x: readonly number[]; readonly y: readonly number[] };
  readonly picture: { readonly jpeg: Uint8Array; readonly label: string; readonly probability: number };
}

export async function writeServed(folder: string): Promise<Served> {
  const modelsDir = join(folder, "auspex");
  const mlpFolder = join(modelsDir, "bench", "mlp", "1");
  await writeMlp(mlpFolder);
  await writeFile(join(folder, "mlp.onnx"), await compiled(mlpFolder));
  await writeFile(join(folder, "mobilenet.onnx"), await compiled(MOBILENET));
  const { labels } = readManifest(await readFile(join(MOBILENET, MANIFEST_FILE), "utf8"));
  await writeFile(join(folder, "labels.json"), JSON.stringify(labels));
  const x = Array.from(Float32Array.from({ length: 64 }, (_, i) => Math.sin(i)));
  const jpeg = await readFile(photograph("zebra"));
  return {
    folder,
    modelsDir,
    mlp: { x, y: await rightRow(mlpFolder, x) },
    picture: { jpeg, ...(await rightClass(jpeg)) },
  };
}

async function compiled(folder: string): Promise<Uint8Array> {
  const files = await readModelFiles(folder);
  const compile = files.model.format === "graph-model" ? compileGraphModel : compileLayersModel;
  return compile(files).model;
}

async function load(folder: string) {
  const manifest = readManifest(await readFile(join(folder, MANIFEST_FILE), "utf8"));
  return { manifest, choice: await createRuntimes(1).load(folder, manifest, RUNTIME) };
}

async function rightRow(folder: string, x: readonly number[]): Promise<readonly number[]> {
  const { model } = (await load(folder)).choice;
  try {
    const { y } = await model.run({
      x: { dtype: "float32", shape: [1, x.length], data: Float32Array.from(x) },
    });
    if (!y) throw new Error("the MLP gave no y");
    return Array.from(y.data);
  } finally {
    model.dispose();
  }
}

interface Labelled {
  readonly label: string;
  readonly probability: number;
}

function isLabelled(value: unknown): value is Labelled {
  return typeof value === "object" && value !== null && "label" in value && "probability" in value;
}

async function rightClass(image: Uint8Array): Promise<Labelled> {
  const { manifest, choice } = await load(MOBILENET);
  const version = await openVersion(choice, { folder: MOBILENET, manifest, known: null }, MAX_PIXELS);
  try {
    const [outcome] = await version.runPictures([{ image, topK: 1, minScore: 0 }]);
    if (!outcome?.ok) throw new Error("TF.js could not classify the photograph");
    const { probabilities } = outcome.value;
    const best: unknown = Array.isArray(probabilities) ? probabilities[0] : undefined;
    if (!isLabelled(best)) throw new Error("TF.js named no class of the photograph");
    return best;
  } finally {
    choice.model.dispose();
  }
}
