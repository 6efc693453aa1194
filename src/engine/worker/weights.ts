/**
 * Reads a TF.js model folder into memory: `model.json` and the weight files that its manifest names, no others.
 * Sizes are checked against the declared shapes before a byte is read, so that a cut file is named as such.
 */
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import type { io } from "@tensorflow/tfjs-core";
import { readModelJson } from "./model-json.ts";
import { BadModel } from "./runtime.ts";

export type WeightSpec = io.WeightsManifestEntry;

export interface ModelFiles {
  readonly model: io.ModelJSON;
  readonly specs: readonly WeightSpec[];
  /** All weights, one after the other in the order of `specs`. */
  readonly data: ArrayBuffer;
}

/** Plain names, folders only below the model's own. */
export const WEIGHT_FILE = /^(?:[A-Za-z0-9_][A-Za-z0-9._+-]*\/)*[A-Za-z0-9_][A-Za-z0-9._+-]*$/;

/** Elements along a dimension: with the dimensions below, no product is beyond what a double holds. */
export const WEIGHT_SIZE_MAX = 2 ** 31 - 1;

/** Dimensions of a weight, of which TF.js knows 6. */
export const WEIGHT_RANK_MAX = 32;

const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  float32: 4,
  int32: 4,
  bool: 1,
  complex64: 8,
  uint8: 1,
  uint16: 2,
  float16: 2,
};

/** @throws BadModel with a sentence that names the file at fault */
export async function readModelFiles(folder: string): Promise<ModelFiles> {
  const model = await readModelJson(folder);
  const groups = model.weightsManifest ?? [];
  const parts: Part[] = [];
  const named = new Set<string>();
  for (const group of groups) parts.push(...(await checkedGroup(folder, group, named)));
  const data = new ArrayBuffer(parts.reduce((sum, part) => sum + part.bytes, 0));
  let offset = 0;
  for (const part of parts) {
    await readInto(join(folder, part.path), part, new Uint8Array(data, offset, part.bytes));
    offset += part.bytes;
  }
  return { model, specs: groups.flatMap((group) => group.weights), data };
}

interface Part {
  readonly path: string;
  readonly bytes: number;
}

async function checkedGroup(
  folder: string,
  group: io.WeightsManifestConfig[number],
  named: Set<string>,
): Promise<Part[]> {
  const parts: Part[] = [];
  for (const path of group.paths) {
    if (!WEIGHT_FILE.test(path))
      throw new BadModel(`model.json names a weight file outside its folder: ${path}`);
    // One small file, named often enough, would fill the memory.
    if (named.has(path)) throw new BadModel(`model.json names the weight file ${path} twice`);
    named.add(path);
    const found = await stat(join(folder, path)).catch(() => undefined);
    if (!found?.isFile()) throw new BadModel(`the weight file ${path} is missing`);
    parts.push({ path, bytes: found.size });
  }
  const have = parts.reduce((sum, part) => sum + part.bytes, 0);
  const { need, isExact } = bytesOf(group.weights);
  if (have < need || (isExact && have !== need)) {
    const names = parts.map((part) => `${part.path} (${part.bytes} bytes)`).join(", ");
    throw new BadModel(
      `the weights need ${need} bytes, and ${names} ${have < need ? "is cut short" : "has more"}`,
    );
  }
  return parts;
}

/** A text weight's length stands in the file alone: then it is the least that there has to be. */
function bytesOf(weights: readonly WeightSpec[]): { readonly need: number; readonly isExact: boolean } {
  let need = 0;
  let isExact = true;
  for (const spec of weights) {
    const { name, shape } = spec;
    const wrong = shape.find((size) => !Number.isInteger(size) || size < 0 || size > WEIGHT_SIZE_MAX);
    if (wrong !== undefined) throw new BadModel(`the weight ${name} has the size ${wrong}`);
    if (shape.length > WEIGHT_RANK_MAX)
      throw new BadModel(
        `the weight ${name} has ${shape.length} dimensions; at most ${WEIGHT_RANK_MAX} are allowed`,
      );
    const bytes = weightBytes(spec);
    if (bytes === undefined && spec.dtype !== "string")
      throw new BadModel(`the weight ${spec.name} has the unknown type ${spec.dtype}`);
    if (bytes === undefined) isExact = false;
    else need += bytes;
  }
  return { need, isExact };
}

/** Bytes that a weight takes in its file; undefined for a text weight or an unknown type. */
export function weightBytes({ dtype, shape, quantization }: WeightSpec): number | undefined {
  const stored = quantization?.dtype ?? dtype;
  const bytes = Object.hasOwn(ELEMENT_BYTES, stored) ? ELEMENT_BYTES[stored] : undefined;
  return bytes === undefined ? undefined : shape.reduce((product, size) => product * size, bytes);
}

async function readInto(path: string, part: Part, target: Uint8Array): Promise<void> {
  const file = await open(path);
  try {
    let done = 0;
    while (done < target.length) {
      const { bytesRead } = await file.read(target, done);
      if (bytesRead === 0)
        throw new BadModel(`the weight file ${part.path} became shorter while it was read`);
      done += bytesRead;
    }
  } finally {
    await file.close();
  }
}
