/**
 * Reads `model.json`, a TF.js model's description, and checks what holds whatever the runtime: that it is no larger
 * than models are, and that a graph is one. What the compiler or TF.js would choke on is so refused with a sentence.
 */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { io } from "@tensorflow/tfjs-core";
import { isRecord } from "../compiler/graph-def.ts";
import { BadModel } from "./runtime.ts";
import { checkTopology } from "./topology.ts";

/** Bytes of a model.json: fifty times the largest published ones, and parsed within a second. */
export const MODEL_JSON_BYTES_MAX = 32 * 1024 ** 2;

/** Levels of nesting: a model within a model takes four. Whoever walks through it does so by recursion. */
export const MODEL_JSON_DEPTH_MAX = 200;

/** @throws BadModel with a sentence that says what is wrong */
export async function readModelJson(folder: string): Promise<io.ModelJSON> {
  const model = parseModelJson(await readText(join(folder, "model.json")));
  const { modelTopology } = model;
  checkTopology(modelTopology);
  if (!("node" in modelTopology) || !Array.isArray(modelTopology.node)) return model;
  // Older converters wrote no format: a graph is known by its nodes.
  return model.format === undefined ? { ...model, format: "graph-model" } : model;
}

async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MODEL_JSON_BYTES_MAX)
      throw new BadModel(`model.json has ${size} bytes; at most ${MODEL_JSON_BYTES_MAX} are allowed`);
    return await readFile(path, "utf8");
  } catch (error) {
    throw error instanceof BadModel ? error : new BadModel("model.json cannot be read", { cause: error });
  }
}

/** @throws BadModel when the text is no model.json */
export function parseModelJson(text: string): io.ModelJSON {
  if (depthOf(text) > MODEL_JSON_DEPTH_MAX)
    throw new BadModel(`model.json is nested deeper than ${MODEL_JSON_DEPTH_MAX} levels`);
  let model: unknown;
  try {
    model = JSON.parse(text);
  } catch (error) {
    throw new BadModel(`model.json is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (isModelJson(model)) return model;
  throw new BadModel("model.json has no modelTopology, or a weightsManifest without paths and weights");
}

/** Brackets open at once, those in texts not counted. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let isText = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (isText) {
      if (character === "\\") i++;
      else if (character === '"') isText = false;
    } else if (character === '"') isText = true;
    else if (character === "{" || character === "[") deepest = Math.max(deepest, ++depth);
    else if (character === "}" || character === "]") depth--;
  }
  return deepest;
}

function isModelJson(value: unknown): value is io.ModelJSON {
  if (!isRecord(value) || !isRecord(value.modelTopology)) return false;
  const groups = "weightsManifest" in value ? value.weightsManifest : [];
  return Array.isArray(groups) && groups.every(isGroup);
}

function isGroup(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { paths, weights } = value;
  return (
    Array.isArray(paths) &&
    paths.every((path) => typeof path === "string") &&
    Array.isArray(weights) &&
    weights.every(isSpec)
  );
}

function isSpec(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { name, shape, dtype } = value;
  const isNumber = (size: unknown): boolean => typeof size === "number";
  return (
    typeof name === "string" && typeof dtype === "string" && Array.isArray(shape) && shape.every(isNumber)
  );
}
