/**
 * Reads `model.json`, a TF.js model's description, and checks what holds whatever the runtime: that it is no larger
 * than models are, and that a graph is one. What the compiler or TF.js would choke on is so refused with a sentence.
 */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { io } from "@tensorflow/tfjs-core";
import { isRecord, NODES_MAX, readPort } from "../compiler/graph-def.ts";
import { BadModel } from "./runtime.ts";

/** Bytes of a model.json: fifty times the largest published ones, and parsed within a second. */
export const MODEL_JSON_BYTES_MAX = 32 * 1024 ** 2;

/** Levels of nesting: a model within a model takes four. Whoever walks through it does so by recursion. */
export const MODEL_JSON_DEPTH_MAX = 200;

/** Dimensions of a weight, of which TF.js knows 6; each is less than 2^31, so that no product is beyond a double. */
export const WEIGHT_RANK_MAX = 32;

/** @throws BadModel with a sentence that says what is wrong */
export async function readModelJson(folder: string): Promise<io.ModelJSON> {
  const model = parseModelJson(await readText(join(folder, "model.json")));
  const { modelTopology } = model;
  const nodes = countNodes(modelTopology);
  if (nodes > NODES_MAX)
    throw new BadModel(`model.json has ${nodes} nodes and layers; at most ${NODES_MAX} are allowed`);
  if (!("node" in modelTopology) || !Array.isArray(modelTopology.node)) return model;
  checkGraph(modelTopology.node);
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
  const isSize = (size: unknown): boolean =>
    Number.isInteger(size) && Number(size) >= 0 && Number(size) < 2 ** 31;
  return (
    typeof name === "string" &&
    typeof dtype === "string" &&
    Array.isArray(shape) &&
    shape.length <= WEIGHT_RANK_MAX &&
    shape.every(isSize)
  );
}

/** Nodes of a graph and of its functions; layers, and those of models within the model. */
function countNodes(topology: object): number {
  let count = 0;
  const waiting: unknown[] = [topology];
  for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) {
    if (!isRecord(item)) continue;
    const { node, library, nodeDef, model_config, config, layers } = item;
    for (const list of [node, nodeDef]) if (Array.isArray(list)) count += list.length;
    if (isRecord(library) && Array.isArray(library.function))
      for (const body of library.function) waiting.push(body);
    // A Sequential model of old has its layers for a config.
    for (const list of [layers, config]) {
      if (!Array.isArray(list)) continue;
      count += list.length;
      for (const layer of list) waiting.push(layer);
    }
    if (isRecord(config)) waiting.push(config);
    if (isRecord(model_config)) waiting.push(model_config);
  }
  return count;
}

/** Every name is one node's, every input is there, and no node depends on itself but through a loop's next turn. */
function checkGraph(nodes: readonly unknown[]): void {
  const inputs = new Map<string, readonly string[]>();
  for (const item of nodes) {
    if (!isRecord(item) || typeof item.name !== "string" || typeof item.op !== "string")
      throw new BadModel("the graph has a node without a name or an operator");
    const { name, op, input = [] } = item;
    if (!Array.isArray(input) || !input.every((text) => typeof text === "string"))
      throw new BadModel(`the node ${name} has inputs of a wrong form`);
    if (inputs.has(name)) throw new BadModel(`the graph has two nodes ${name}`);
    // Its output comes from the turn before.
    inputs.set(
      name,
      op === "NextIteration" ? [] : input.map((text) => readPort(text.replace(/^\^/, "")).node),
    );
  }
  const readers = new Map<string, string[]>();
  const missing = new Map<string, number>();
  for (const [name, from] of inputs) {
    missing.set(name, from.length);
    for (const input of from) {
      if (!inputs.has(input))
        throw new BadModel(`the node ${name} has the input ${input}, which is not there`);
      const known = readers.get(input);
      if (known) known.push(name);
      else readers.set(input, [name]);
    }
  }
  // Nodes whose inputs all are done are done; what stays is in a cycle or behind one.
  const done = [...inputs.keys()].filter((name) => missing.get(name) === 0);
  for (let name = done.pop(); name !== undefined; name = done.pop()) {
    missing.delete(name);
    for (const reader of readers.get(name) ?? []) {
      const left = (missing.get(reader) ?? 0) - 1;
      missing.set(reader, left);
      if (left === 0) done.push(reader);
    }
  }
  const [stuck] = missing.keys();
  if (stuck !== undefined) throw new BadModel(`the graph has a cycle: the node ${stuck} waits for itself`);
}
