/**
 * How a Keras model joins its layers, in one form for sequential and functional models: layers by name, and for each
 * call of one the tensors that it takes.
 */
import { isRecord } from "../graph-def.ts";
import { NotCovered } from "../value.ts";
import { readObject } from "./config.ts";

/** One call of a layer. A layer that several calls share has one set of weights. */
export interface Place {
  readonly layer: string;
  readonly call: number;
}

export interface LayerNode {
  readonly name: string;
  readonly className: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Present when the layer is a model itself. */
  readonly model?: Topology;
  /** For each call, where its inputs come from: the output of that number of a call. */
  readonly calls: readonly (readonly Source[])[];
}

export interface Source extends Place {
  readonly output: number;
}

export interface Topology {
  readonly layers: ReadonlyMap<string, LayerNode>;
  readonly inputs: readonly Source[];
  readonly outputs: readonly Source[];
  /** The outputs' names, which are those of the layers that give them. */
  readonly outputNames: readonly string[];
}

/** Beyond any published model, and well below what would take seconds. */
const LAYERS_MAX = 20_000;
const DEPTH_MAX = 32;

/** @throws Error when the JSON is no Keras model; NotCovered for the form of Keras 3 */
export function readTopology(modelTopology: unknown): Topology {
  const root = isRecord(modelTopology) && isRecord(modelTopology.model_config) ? "model_config" : undefined;
  const { className, config } = readObject(
    root && isRecord(modelTopology) ? modelTopology[root] : modelTopology,
  );
  const model = readModel(className, config, 0);
  if (!model) throw new NotCovered(`a model of the class ${className}`);
  return model;
}

function readModel(className: string, config: unknown, depth: number): Topology | undefined {
  if (!["Sequential", "Model", "Functional"].includes(className)) return undefined;
  if (depth > DEPTH_MAX) throw new Error(`models are nested deeper than ${DEPTH_MAX}`);
  const list = Array.isArray(config) ? config : isRecord(config) ? config.layers : undefined;
  if (!Array.isArray(list) || list.length === 0) throw new Error("the model has no layers");
  if (list.length > LAYERS_MAX)
    throw new Error(`the model has ${list.length} layers, and at most ${LAYERS_MAX} are compiled`);
  return className === "Sequential"
    ? sequential(list, depth)
    : functional(list, isRecord(config) ? config : {}, depth);
}

/** A layer without its calls. */
function readLayer(item: unknown, depth: number): Omit<LayerNode, "calls"> & { readonly inbound: unknown } {
  const { className, config, raw } = readObject(item);
  const settings = isRecord(config) ? config : {};
  const name = raw.name ?? settings.name;
  if (typeof name !== "string") throw new Error(`a layer ${className} has no name`);
  const model = readModel(className, config, depth + 1);
  return { name, className, config: settings, ...(model && { model }), inbound: raw.inbound_nodes };
}

/** TF.js counts a nested model's calls from 1: the call 0 is the one that the model was made with. */
const firstCall = (layer: Pick<LayerNode, "model">): number => (layer.model ? 1 : 0);

function functional(
  list: readonly unknown[],
  config: Readonly<Record<string, unknown>>,
  depth: number,
): Topology {
  const layers = new Map<string, LayerNode>();
  for (const item of list) {
    const { inbound, ...layer } = readLayer(item, depth);
    if (!Array.isArray(inbound)) throw new Error(`the layer ${layer.name} has no list of inbound_nodes`);
    const calls = inbound.map((node) => readCall(layer.name, node));
    addLayer(layers, { ...layer, calls: layer.className === "InputLayer" ? [[]] : calls });
  }
  const outputs = sourcesOf(config.output_layers, "output_layers");
  return {
    layers,
    inputs: sourcesOf(config.input_layers, "input_layers"),
    outputs,
    outputNames: outputs.map(({ layer }) => layer),
  };
}

function addLayer(layers: Map<string, LayerNode>, layer: LayerNode): void {
  if (layers.has(layer.name)) throw new Error(`the model has two layers ${layer.name}`);
  const skipped = firstCall(layer);
  const calls = [...Array.from({ length: skipped }, () => []), ...layer.calls];
  layers.set(layer.name, { ...layer, calls });
}

function readCall(layer: string, node: unknown): readonly Source[] {
  if (!Array.isArray(node)) throw new NotCovered("layers joined as Keras 3 writes it");
  return node.map((item: unknown) => {
    if (Array.isArray(item) && isRecord(item[3])) checkArguments(layer, item[3]);
    return readSource(item, `inbound_nodes of the layer ${layer}`);
  });
}

/** What a layer is called with besides tensors. Nothing but what holds without it is compiled. */
function checkArguments(layer: string, given: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(given)) {
    const isDefault = value === null || (name === "training" && value === false);
    if (!isDefault) throw new NotCovered(`the layer ${layer} called with ${name}`);
  }
}

function sourcesOf(list: unknown, what: string): readonly Source[] {
  if (!Array.isArray(list) || list.length === 0) throw new Error(`the model has no ${what}`);
  return list.map((item) => readSource(item, what));
}

function readSource(item: unknown, what: string): Source {
  const [layer, call, output] = Array.isArray(item) ? item : [];
  if (typeof layer !== "string" || !isIndex(call) || !isIndex(output))
    throw new Error(`${what} are not lists of [layer, call, output]`);
  return { layer, call, output };
}

const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/**
 * Each layer takes what the one before gives. The first one's input has a layer of its own, as TF.js makes it: named
 * after the layer, or in a nested model, the nested model's.
 */
function sequential(list: readonly unknown[], depth: number): Topology {
  const layers = new Map<string, LayerNode>();
  const items = list.map((item) => readLayer(item, depth));
  const [first] = items;
  if (!first) throw new Error("the model has no layers");
  const input = inputLayer(first);
  let last: Source = { layer: input.name, call: 0, output: 0 };
  addLayer(layers, input);
  for (const { inbound: _, ...layer } of items) {
    if (layer.className === "InputLayer") {
      if (layer.name !== input.name) throw new Error(`the layer ${layer.name} takes no input`);
      continue;
    }
    addLayer(layers, { ...layer, calls: [[last]] });
    last = { layer: layer.name, call: firstCall(layer), output: 0 };
  }
  // A model that consists of one model has that one's outputs, by their names.
  const outputNames = items.length === 1 && first.model ? first.model.outputNames : [last.layer];
  return { layers, inputs: [{ layer: input.name, call: 0, output: 0 }], outputs: [last], outputNames };
}

function inputLayer(first: Omit<LayerNode, "calls">): LayerNode {
  const { className, name, config, model } = first;
  if (className === "InputLayer") return { name, className, config, calls: [[]] };
  if (model) {
    const [source] = model.inputs;
    const found = model.layers.get(source?.layer ?? "");
    if (!found || model.inputs.length !== 1 || model.outputs.length !== 1)
      throw new Error(`the model ${name} has not one input and one output`);
    return { ...found, calls: [[]] };
  }
  const shape = config.batch_input_shape ?? defaultShape(className, config);
  if (!shape) throw new Error(`the first layer, ${name}, has no batch_input_shape`);
  const dtype = config.dtype ?? "float32";
  return {
    name: `${name}_input`,
    className: "InputLayer",
    config: { batch_input_shape: shape, dtype },
    calls: [[]],
  };
}

/** The shapes that some layers foretell of their input. */
function defaultShape(className: string, config: Readonly<Record<string, unknown>>): unknown {
  const batch = config.batch_size ?? null;
  if (Array.isArray(config.input_shape)) return [batch, ...config.input_shape];
  if (className === "Dense" && config.input_dim) return [batch, config.input_dim];
  if (className === "Embedding") return [batch, ...[config.input_length ?? null].flat()];
  return undefined;
}
