/** Compiles a TF.js layers model: Keras' description of it, layer by layer. */
import type { ModelFiles } from "../worker/weights.ts";
import { type Compiled, EMBEDDING_OUTPUT } from "./compiled.ts";
import { createGraph, type Graph } from "./graph.ts";
import { configOf, typeOf } from "./layers/config.ts";
import { type LayerWeights, layerWeights } from "./layers/layer-weights.ts";
import { LAYERS } from "./layers/layers.ts";
import { type LayerNode, type Place, readTopology, type Source, type Topology } from "./layers/topology.ts";
import { NotCovered, type Value } from "./value.ts";

/** Calls of layers, those inside nested models counted each time; a model beyond that is refused. */
const CALLS_MAX = 50_000;

/** What the calls of one model share. */
interface Context {
  readonly graph: Graph;
  readonly weights: LayerWeights;
  calls: number;
}

/**
 * @param embedding name of the layer whose output becomes `Compiled.embedding`; null for none
 * @throws NotCovered naming the layers; Error when the model is at fault
 */
export function compileLayersModel(files: ModelFiles, embedding: string | null = null): Compiled {
  const topology = readTopology(files.model.modelTopology);
  // All of them at once: whoever wants to add layers learns which.
  const missing = [...new Set(uncovered(topology))];
  if (missing.length > 0)
    throw new NotCovered(`the layer${missing.length > 1 ? "s" : ""} ${missing.join(", ")}`);
  const names = [...topology.inputs.map(({ layer }) => layer), ...topology.outputNames];
  if (new Set(names).size < names.length) throw new NotCovered("inputs and outputs of the same name");
  const graph = createGraph("layers-model", [...names, EMBEDDING_OUTPUT]);
  const weights = layerWeights(graph, files);
  const inputs = topology.inputs.map(({ layer }) => {
    const node = topology.layers.get(layer);
    if (node?.className !== "InputLayer") throw new Error(`the model has no input layer ${layer}`);
    return { name: layer, value: inputValue(graph, node) };
  });
  const embedded = lastCall(topology, embedding);
  const results = compileModel(
    { graph, weights, calls: 0 },
    { ...topology, outputs: [...topology.outputs, ...embedded] },
    inputs.map(({ value }) => value),
  );
  weights.finish();
  const outputs = topology.outputNames.map((name, i) => {
    const value = results[i];
    if (!value) throw new Error(`the model gives no ${name}`);
    return { name, value };
  });
  for (const { name, value } of outputs) graph.output(name, value);
  const value = embedded.length > 0 ? results.at(-1) : undefined;
  if (value) graph.output(EMBEDDING_OUTPUT, value);
  return { inputs, outputs, embedding: value && { name: EMBEDDING_OUTPUT, value }, model: graph.finish() };
}

/** What the layer gives when it is called last; nothing when it is not there, or never called. */
function lastCall({ layers }: Topology, layer: string | null): readonly Source[] {
  const calls = layers.get(layer ?? "")?.calls.length ?? 0;
  return layer !== null && calls > 0 ? [{ layer, call: calls - 1, output: 0 }] : [];
}

function uncovered(topology: Topology): readonly string[] {
  return [...topology.layers.values()].flatMap(({ className, model }) => {
    if (model) return uncovered(model);
    return className === "InputLayer" || Object.hasOwn(LAYERS, className) ? [] : [className];
  });
}

function inputValue(graph: Graph, { name, config: raw }: LayerNode): Value {
  const config = configOf(name, raw);
  return graph.input(name, typeOf(config.text("dtype", "float32")), config.shape("batch_input_shape"));
}

/** @returns the outputs of one call of the model */
function compileModel(context: Context, topology: Topology, inputs: readonly Value[]): readonly Value[] {
  const { layers } = topology;
  if (inputs.length !== topology.inputs.length)
    throw new Error(`a model of ${topology.inputs.length} inputs is given ${inputs.length}`);
  const values = new Map<string, readonly Value[]>();
  topology.inputs.forEach((source, i) => {
    const value = inputs[i];
    if (value) values.set(keyOf(source), [value]);
  });
  const valueAt = (source: Source): Value => {
    const value = values.get(keyOf(source))?.[source.output];
    if (!value) throw new Error(`the layer ${source.layer} has no output ${source.output}`);
    return value;
  };
  for (const place of inOrder(topology)) {
    if (values.has(keyOf(place))) continue;
    const node = layers.get(place.layer);
    if (!node || node.className === "InputLayer") throw new Error(`the input ${place.layer} is not given`);
    const taken = (node.calls[place.call] ?? []).map(valueAt);
    values.set(keyOf(place), compileCall(context, node, taken));
  }
  return topology.outputs.map(valueAt);
}

function compileCall(context: Context, node: LayerNode, inputs: readonly Value[]): readonly Value[] {
  const { graph, weights } = context;
  const { name, className, model } = node;
  context.calls++;
  if (context.calls > CALLS_MAX) throw new Error(`the model has more than ${CALLS_MAX} calls of layers`);
  if (model) return compileModel(context, model, inputs);
  const layer = LAYERS[className];
  if (!layer) throw new NotCovered(`the layer ${className}`);
  graph.at(name);
  try {
    const weight = (part: string, shape: Value["shape"]) => weights.take(node, part, shape);
    return [layer(graph, { className, config: configOf(name, node.config), inputs, weight })];
  } catch (error) {
    const message = `${error instanceof Error ? error.message : String(error)} (layer ${name})`;
    throw error instanceof NotCovered ? new NotCovered(message) : new Error(message);
  }
}

const keyOf = ({ layer, call }: Place): string => `${call} ${layer}`;

/**
 * The calls that the outputs need, inputs first.
 * @throws Error naming a layer in a cycle, or one that is not there
 */
function inOrder({ layers, outputs }: Topology): readonly Place[] {
  const order: Place[] = [];
  const state = new Map<string, "open" | "done">();
  // A stack of our own: a chain of layers is deeper than the engine's.
  const stack: Place[] = [...outputs].reverse();
  for (let place = stack.at(-1); place !== undefined; place = stack.at(-1)) {
    const key = keyOf(place);
    const sources = layers.get(place.layer)?.calls[place.call];
    if (!sources) throw new Error(`the model has no call ${place.call} of a layer ${place.layer}`);
    if (state.get(key) === undefined) {
      state.set(key, "open");
      for (const source of sources.toReversed()) {
        if (state.get(keyOf(source)) === "open")
          throw new Error(`the layer ${source.layer} depends on itself`);
        if (state.get(keyOf(source)) === undefined) stack.push(source);
      }
      continue;
    }
    stack.pop();
    if (state.get(key) === "done") continue;
    state.set(key, "done");
    order.push(place);
  }
  return order;
}
