/**
 * Whether what a model.json describes hangs together: few enough nodes, each name once, every input there, and no node
 * or layer that waits for itself. TF.js looks for missing layers for ever.
 */
import { isRecord, NODES_MAX, readPort } from "../compiler/graph-def.ts";
import { BadModel } from "./runtime.ts";

/** @throws BadModel naming the node or layer at fault; what else may be wrong is left to the runtimes */
export function checkTopology(topology: object): void {
  let count = 0;
  const waiting: unknown[] = [topology];
  while (waiting.length > 0) {
    const item = waiting.pop();
    if (!isRecord(item)) continue;
    const { node, library, nodeDef, model_config, config } = item;
    // A Sequential model of old has its layers for a config.
    const layers = isRecord(config) ? config.layers : config;
    for (const list of [node, nodeDef, layers]) if (Array.isArray(list)) count += list.length;
    if (count > NODES_MAX)
      throw new BadModel(
        `model.json has more than ${NODES_MAX} nodes and layers, which is the most that is taken`,
      );
    if (isRecord(library) && Array.isArray(library.function))
      for (const body of library.function) waiting.push(body);
    // A layer may be a model, or hold a layer.
    if (Array.isArray(layers)) for (const layer of layers) waiting.push(layer);
    if (isRecord(config)) waiting.push(config.layer);
    waiting.push(model_config);
    if (Array.isArray(node)) checkGraph(node);
    if (Array.isArray(layers) && item.class_name !== "Sequential") checkLayers(layers);
  }
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

/** One use of a layer, and the uses of layers that it takes its inputs from. */
interface Use {
  readonly layer: string;
  readonly from: readonly (readonly [layer: string, use: number])[];
}

/** Every layer that another one takes its input from is there, and used before it. */
function checkLayers(layers: readonly unknown[]): void {
  /** Uses that are there to be referred to. A model within the model counts its own making as one. */
  const ready = new Map<string, number>();
  const open: Use[] = [];
  for (const layer of layers) {
    if (!isRecord(layer)) continue;
    const { class_name, config, inbound_nodes = [] } = layer;
    const name = String(layer.name ?? (isRecord(config) ? config.name : ""));
    if (ready.has(name)) throw new BadModel(`the model has two layers ${name}`);
    const isModel = isRecord(config) ? "layers" in config : Array.isArray(config);
    ready.set(name, class_name === "InputLayer" || isModel ? 1 : 0);
    if (!Array.isArray(inbound_nodes)) continue;
    for (const node of inbound_nodes) {
      // Newer Keras writes objects here.
      if (!Array.isArray(node)) return;
      open.push({ layer: name, from: node.flatMap(readReference) });
    }
  }
  const blocked = new Map<string, Use[]>();
  for (let use = open.pop(); use !== undefined; use = open.pop()) {
    const missing = use.from.find(([layer, index]) => (ready.get(layer) ?? 0) <= index)?.[0];
    if (missing === undefined) {
      ready.set(use.layer, (ready.get(use.layer) ?? 0) + 1);
      for (const other of blocked.get(use.layer) ?? []) open.push(other);
      blocked.delete(use.layer);
    } else {
      if (!ready.has(missing))
        throw new BadModel(`the layer ${use.layer} has the input ${missing}, which is not there`);
      const others = blocked.get(missing);
      if (others) others.push(use);
      else blocked.set(missing, [use]);
    }
  }
  const [stuck] = blocked.keys();
  if (stuck !== undefined)
    throw new BadModel(`other layers wait for ${stuck}, which is in a cycle or not used often enough`);
}

/** `[layer, use, output, …]`; other forms are the runtimes' business. */
function readReference(item: unknown): readonly (readonly [string, number])[] {
  if (!Array.isArray(item)) return [];
  const [layer, use] = item as readonly unknown[];
  return typeof layer === "string" && typeof use === "number" ? [[layer, use]] : [];
}
