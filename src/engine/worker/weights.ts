/**
 * Reads a TF.js model folder into memory: `model.json` and the weight files that its manifest names, no others.
 * Sizes are checked against the declared shapes before a byte is read, so that a cut file is named as such.
 */
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { io } from "@tensorflow/tfjs-core";

export type WeightSpec = io.WeightsManifestEntry;

export interface ModelFiles {
  readonly model: io.ModelJSON;
  readonly specs: readonly WeightSpec[];
  /** All weights, one after the other in the order of `specs`. */
  readonly data: ArrayBuffer;
}

/** Plain names, folders only below the model's own. */
export const WEIGHT_FILE = /^(?:[A-Za-z0-9_][A-Za-z0-9._+-]*\/)*[A-Za-z0-9_][A-Za-z0-9._+-]*$/;

const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  float32: 4,
  int32: 4,
  bool: 1,
  complex64: 8,
  uint8: 1,
  uint16: 2,
  float16: 2,
};

/** @throws Error with a sentence that names the file at fault */
export async function readModelFiles(folder: string): Promise<ModelFiles> {
  const model = await readModelJson(folder);
  const groups = model.weightsManifest ?? [];
  const parts: Part[] = [];
  for (const group of groups) parts.push(...(await checkedGroup(folder, group)));
  const data = new ArrayBuffer(parts.reduce((sum, part) => sum + part.bytes, 0));
  let offset = 0;
  for (const part of parts) {
    await readInto(join(folder, part.path), part, new Uint8Array(data, offset, part.bytes));
    offset += part.bytes;
  }
  return { model, specs: groups.flatMap((group) => group.weights), data };
}

async function readModelJson(folder: string): Promise<io.ModelJSON> {
  let text: string;
  try {
    text = await readFile(join(folder, "model.json"), "utf8");
  } catch (error) {
    throw new Error("model.json cannot be read", { cause: error });
  }
  try {
    const model: unknown = JSON.parse(text);
    if (isModelJson(model)) return withFormat(model);
  } catch (error) {
    throw new Error(`model.json is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw new Error("model.json has no modelTopology, or a weightsManifest without paths and weights");
}

/** Older converters wrote no format: graphs have nodes. */
function withFormat(model: io.ModelJSON): io.ModelJSON {
  return model.format === undefined && "node" in model.modelTopology
    ? { ...model, format: "graph-model" }
    : model;
}

function isModelJson(value: unknown): value is io.ModelJSON {
  if (typeof value !== "object" || value === null || !("modelTopology" in value)) return false;
  if (typeof value.modelTopology !== "object" || value.modelTopology === null) return false;
  const groups: unknown = "weightsManifest" in value ? value.weightsManifest : [];
  return Array.isArray(groups) && groups.every(isGroup);
}

function isGroup(value: unknown): boolean {
  if (typeof value !== "object" || value === null || !("paths" in value) || !("weights" in value))
    return false;
  const { paths, weights } = value;
  return (
    Array.isArray(paths) &&
    paths.every((path) => typeof path === "string") &&
    Array.isArray(weights) &&
    weights.every(isSpec)
  );
}

function isSpec(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { name, shape, dtype } = value as { name?: unknown; shape?: unknown; dtype?: unknown };
  const isSize = (size: unknown): boolean => Number.isSafeInteger(size) && Number(size) >= 0;
  return typeof name === "string" && typeof dtype === "string" && Array.isArray(shape) && shape.every(isSize);
}

interface Part {
  readonly path: string;
  readonly bytes: number;
}

async function checkedGroup(folder: string, group: io.WeightsManifestConfig[number]): Promise<Part[]> {
  const parts: Part[] = [];
  for (const path of group.paths) {
    if (!WEIGHT_FILE.test(path))
      throw new Error(`model.json names a weight file outside its folder: ${path}`);
    const found = await stat(join(folder, path)).catch(() => undefined);
    if (!found?.isFile()) throw new Error(`the weight file ${path} is missing`);
    parts.push({ path, bytes: found.size });
  }
  const have = parts.reduce((sum, part) => sum + part.bytes, 0);
  const need = bytesOf(group.weights);
  if (need !== undefined && have !== need) {
    const names = parts.map((part) => `${part.path} (${part.bytes} bytes)`).join(", ");
    throw new Error(
      `the weights need ${need} bytes, and ${names} ${have < need ? "is cut short" : "has more"}`,
    );
  }
  return parts;
}

/** undefined when a text weight is among them: its length stands in the file alone. */
function bytesOf(weights: readonly WeightSpec[]): number | undefined {
  let sum = 0;
  for (const spec of weights) {
    const bytes = weightBytes(spec);
    if (bytes === undefined && spec.dtype === "string") return undefined;
    if (bytes === undefined) throw new Error(`the weight ${spec.name} has the unknown type ${spec.dtype}`);
    sum += bytes;
  }
  return sum;
}

/** Bytes that a weight takes in its file; undefined for a text weight or an unknown type. */
export function weightBytes({ dtype, shape, quantization }: WeightSpec): number | undefined {
  const bytes = ELEMENT_BYTES[quantization?.dtype ?? dtype];
  return bytes === undefined ? undefined : shape.reduce((product, size) => product * size, bytes);
}

async function readInto(path: string, part: Part, target: Uint8Array): Promise<void> {
  const file = await open(path);
  try {
    let done = 0;
    while (done < target.length) {
      const { bytesRead } = await file.read(target, done);
      if (bytesRead === 0) throw new Error(`the weight file ${part.path} became shorter while it was read`);
      done += bytesRead;
    }
  } finally {
    await file.close();
  }
}
