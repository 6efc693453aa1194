/**
 * TF.js as a runtime, whatever its backend: WebAssembly, or native TensorFlow where its package is installed. It
 * loads graph models, layers models (also the older Keras form that says no format), and with native TensorFlow
 * SavedModels, all from files of the model's folder.
 */
import { join } from "node:path";
import type * as converter from "@tensorflow/tfjs-converter";
import type * as tf from "@tensorflow/tfjs-core";
import type * as layers from "@tensorflow/tfjs-layers";
import type { Manifest, RuntimeName } from "../../domain/model.ts";
import type { Dtype } from "../../domain/tensor.ts";
import { isRecord } from "../compiler/graph-def.ts";
import { exists } from "../files.ts";
import { GPU_EXIT_CODE, TRAP_EXIT_CODE } from "../protocol.ts";
import type { TensorSpec } from "../signature.ts";
import { foldBatchNorms } from "./batch-norm.ts";
import { narrowed } from "./int64.ts";
import {
  type HostTensor,
  type HostTensors,
  type LoadedModel,
  type OutputSpec,
  onlyTensor,
  type Runtime,
  Unsupported,
} from "./runtime.ts";
import type { SavedModel } from "./saved-model.ts";
import { countTensorsOf } from "./tensor-count.ts";
import { type ModelFiles, readModelFiles } from "./weights.ts";

/** The parts of TF.js that are used here, from four packages or from one. */
export interface TfjsKit {
  readonly core: Pick<
    typeof tf,
    "tensor" | "tidy" | "dispose" | "setBackend" | "getBackend" | "memory" | "engine" | "Tensor"
  >;
  /** The backend's name in TF.js. */
  readonly backend: string;
  /** Asked for when the first model of that form comes: each costs 70 ms to import. */
  readonly layers: () => Promise<Pick<typeof layers, "loadLayersModel" | "model">>;
  readonly converter: () => Promise<Pick<typeof converter, "loadGraphModel">>;
  readonly loadSavedModel?: (folder: string) => Promise<SavedModel>;
  /** Asked after a run that failed: whether the backend is of no more use in this process. */
  readonly isBroken?: () => boolean;
}

type Tensor = tf.Tensor;

interface ForeignSpec {
  readonly name: string;
  readonly shape?: readonly (number | null)[] | undefined;
  readonly dtype: string;
}

/** A model before names, types and disposal are dealt with: its tensors come in the order of the specs. */
interface BareModel {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly OutputSpec[];
  execute(inputs: Tensor[]): Tensor[];
  /** For graphs with loops, or shapes that depend on values: `execute` refuses those. */
  readonly executeAsync?: (inputs: Tensor[]) => Promise<Tensor[]>;
  /** The embedding alone. */
  readonly embed?: ((inputs: Tensor[]) => Tensor) | undefined;
  dispose(): void;
}

export function createTfjsRuntime(name: RuntimeName, kit: TfjsKit): Runtime {
  countTensorsOf(kit.core);
  return {
    name,
    async load(folder, manifest) {
      await useBackend(kit);
      return withHostTensors(kit, await loadBare(kit, folder, manifest));
    },
  };
}

async function loadBare(kit: TfjsKit, folder: string, manifest: Manifest): Promise<BareModel> {
  if (await exists(join(folder, "saved_model.pb"))) {
    if (!kit.loadSavedModel) throw new Unsupported("a SavedModel needs tfjs-node");
    return savedModel(await kit.loadSavedModel(folder), manifest.embedding);
  }
  if (!(await exists(join(folder, "model.json")))) throw new Unsupported("the folder has no model.json");
  const files = await readModelFiles(folder);
  return files.model.format === "graph-model"
    ? graphModel(kit, files, manifest.embedding)
    : layersModel(kit, foldBatchNorms(files, manifest.embedding), manifest.embedding);
}

/** Native TensorFlow and wasm may share one TF.js, whose backend is a global of it. */
async function useBackend({ core, backend }: TfjsKit): Promise<void> {
  if (core.getBackend() === backend) return;
  if (!(await core.setBackend(backend))) throw new Error(`TF.js could not start its ${backend} backend`);
}

function handler({ model, specs, data }: ModelFiles): tf.io.IOHandler {
  const { modelTopology, format, signature, userDefinedMetadata, modelInitializer, initializerSignature } =
    model;
  return {
    load: async () => ({
      modelTopology,
      weightSpecs: [...specs],
      weightData: data,
      ...(format === undefined ? {} : { format }),
      ...(signature === undefined ? {} : { signature }),
      ...(userDefinedMetadata === undefined ? {} : { userDefinedMetadata }),
      ...(modelInitializer === undefined ? {} : { modelInitializer }),
      ...(initializerSignature === undefined ? {} : { initializerSignature }),
    }),
  };
}

async function layersModel(kit: TfjsKit, files: ModelFiles, embedding: string | null): Promise<BareModel> {
  const { loadLayersModel, model: createModel } = await kit.layers();
  const model = await loadLayersModel(handler(files));
  // A sequential model names its inputs and outputs only once it is built, which the first run would do.
  if (model.inputNames.length === 0) model.build(model.inputs.map(({ shape }) => shape));
  const layer = model.layers.find(({ name }) => name === embedding);
  // What the layer gives when it is called last. It is no model of its own to dispose of: the layers are the model's.
  const embedder = layer && createModel({ inputs: model.inputs, outputs: lastOutput(layer) });
  const specs = (names: readonly string[], tensors: readonly layers.SymbolicTensor[]): ForeignSpec[] =>
    names.map((name, i) => ({ name, shape: tensors[i]?.shape, dtype: tensors[i]?.dtype ?? "float32" }));
  return {
    inputs: specs(model.inputNames, model.inputs).map(inputSpec),
    outputs: specs(model.outputNames, model.outputs).map(outputSpec),
    // predictOnBatch, for predict cuts what it is given into batches of its own.
    execute: (inputs) => [model.predictOnBatch(inputs)].flat(),
    embed: embedder && ((inputs) => onlyOne([embedder.predictOnBatch(inputs)].flat())),
    dispose: () => void model.dispose(),
  };
}

function lastOutput(layer: layers.layers.Layer): layers.SymbolicTensor[] {
  return [layer.getOutputAt(layer.inboundNodes.length - 1)].flat();
}

function onlyOne([tensor]: readonly Tensor[]): Tensor {
  if (!tensor) throw new Error("the model gave no embedding");
  return tensor;
}

async function graphModel(kit: TfjsKit, files: ModelFiles, embedding: string | null): Promise<BareModel> {
  const { loadGraphModel } = await kit.converter();
  const model = await loadGraphModel(handler(files));
  const { inputNodes, outputNodes } = model;
  const specs = (nodes: readonly string[], found: readonly ForeignSpec[]): ForeignSpec[] =>
    nodes.map((node, i) => ({
      name: plainName(node),
      shape: found[i]?.shape,
      dtype: found[i]?.dtype ?? "float32",
    }));
  const named = (inputs: Tensor[]): Record<string, Tensor> =>
    Object.fromEntries(inputs.map((tensor, i) => [inputNodes[i] ?? "", tensor]));
  return {
    inputs: specs(inputNodes, model.inputs).map(inputSpec),
    outputs: specs(outputNodes, model.outputs).map(outputSpec),
    execute: (inputs) => [model.execute(named(inputs), outputNodes)].flat(),
    executeAsync: async (inputs) => [await model.executeAsync(named(inputs), outputNodes)].flat(),
    embed:
      embedding !== null && hasNode(files, embedding)
        ? (inputs) => onlyOne([model.execute(named(inputs), embedding)].flat())
        : undefined,
    dispose: () => model.dispose(),
  };
}

/** `node`, or `node:1` for an output that is not the first. */
function hasNode({ model }: ModelFiles, name: string): boolean {
  const { modelTopology } = model;
  const nodes: unknown = "node" in modelTopology ? modelTopology.node : [];
  const node = name.replace(/:\d+$/, "");
  return Array.isArray(nodes) && nodes.some((item) => isRecord(item) && item.name === node);
}

function savedModel(model: SavedModel, embedding: string | null): BareModel {
  const { inputs, outputs } = specsOrDisposal(model);
  const execute = (given: Tensor[]): Tensor[] => {
    const named = Object.fromEntries(given.map((tensor, i) => [inputs[i]?.name ?? "", tensor]));
    const answer = model.predict(named);
    return outputs.map(({ name }) => {
      const tensor = answer[name];
      if (!tensor) throw new Error(`the SavedModel gave no output ${name}`);
      return tensor;
    });
  };
  // TensorFlow shows nothing of what is inside.
  const embedded = outputs.findIndex(({ name }) => name === embedding);
  return {
    inputs,
    outputs,
    execute,
    embed: embedded < 0 ? undefined : (given) => onlyOne(execute(given).slice(embedded)),
    dispose: () => model.dispose(),
  };
}

/** A refused model is nobody's to dispose of later. */
function specsOrDisposal(model: SavedModel): Pick<BareModel, "inputs" | "outputs"> {
  try {
    return { inputs: model.inputs.map(inputSpec), outputs: model.outputs.map(outputSpec) };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** `images:0` is the first output of the node `images`: the part that is always the same is left out. */
function plainName(name: string): string {
  return name.replace(/:0$/, "");
}

const HOST_DTYPES: Readonly<Record<string, Dtype>> = {
  float32: "float32",
  int32: "int32",
  bool: "bool",
  uint8: "uint8",
};

function inputSpec(foreign: ForeignSpec): TensorSpec {
  const { shape } = foreign;
  if (!shape) throw new Error(`the input ${foreign.name} has no declared shape`);
  // TF.js writes a free dimension as null or as a negative number.
  return { ...outputSpec(foreign), shape: shape.map((size) => (size === null || size < 0 ? null : size)) };
}

function outputSpec({ name, dtype }: ForeignSpec): OutputSpec {
  const host = HOST_DTYPES[dtype];
  if (!host) throw new Error(`the tensor ${name} is of type ${dtype}, which predictions cannot carry`);
  return { name, dtype: host };
}

function withHostTensors(kit: TfjsKit, model: BareModel): LoadedModel {
  const { core } = kit;
  const toDevice = ({ dtype, shape, data }: HostTensor): Tensor =>
    core.tensor(data, [...shape], dtype === "uint8" ? "int32" : dtype);
  let needsAsync = false;
  const execute = async (given: Tensor[]): Promise<Tensor[]> => {
    if (!needsAsync) {
      try {
        return core.tidy(() => model.execute(given));
      } catch (error) {
        // A graph that cannot run in one go says so by naming the method to use.
        if (!model.executeAsync || !String(error).includes("executeAsync")) throw error;
        needsAsync = true;
      }
    }
    return model.executeAsync?.(given) ?? [];
  };
  const run = async (
    inputs: HostTensors,
    outputs: readonly OutputSpec[],
    compute: (given: Tensor[]) => Tensor[] | Promise<Tensor[]>,
  ): Promise<HostTensors> => {
    await useBackend(kit);
    const tensors: Tensor[] = [];
    try {
      for (const spec of model.inputs) {
        const input = inputs[spec.name];
        if (!input) throw new Error(`the input ${spec.name} is missing`);
        tensors.push(toDevice(input));
      }
      const results = await compute([...tensors]);
      tensors.push(...results);
      return toHost(outputs, results);
    } catch (error) {
      // WebAssembly's own, by its name: TypeScript does not know the class.
      if (error instanceof Error && error.name === "RuntimeError") process.exit(TRAP_EXIT_CODE);
      // After certain errors CUDA refuses a process everything: what comes next needs another one.
      if (kit.isBroken?.()) {
        process.stderr.write(`${error}\n`);
        process.exit(GPU_EXIT_CODE);
      }
      throw error;
    } finally {
      core.dispose(tensors);
    }
  };
  const { embed } = model;
  const embedded: readonly OutputSpec[] = [{ name: "embedding", dtype: "float32" }];
  return {
    inputs: model.inputs,
    outputs: model.outputs,
    run: (inputs) => run(inputs, model.outputs, execute),
    embed:
      embed &&
      (async (inputs) => onlyTensor(await run(inputs, embedded, (given) => core.tidy(() => [embed(given)])))),
    dispose: () => model.dispose(),
  };
}

function toHost(specs: readonly OutputSpec[], outputs: readonly Tensor[]): HostTensors {
  const named: Record<string, HostTensor> = {};
  for (const [i, { name, dtype: declared }] of specs.entries()) {
    const tensor = outputs[i];
    if (!tensor) throw new Error(`the model gave no output ${name}`);
    // Graphs need not declare types, and then float32 was a guess. For uint8 TF.js has no type of its own.
    const dtype = declared === "uint8" ? declared : (HOST_DTYPES[tensor.dtype] ?? declared);
    // Both backends hold their results in this process: reading them waits for nothing.
    named[name] = { dtype, shape: tensor.shape, data: hostData(name, dtype, tensor.dataSync()) };
  }
  return named;
}

/** `values` are declared as below; native TensorFlow gives int64 tensors, which TF.js takes for int32, as they are. */
function hostData(
  name: string,
  dtype: Dtype,
  values: HostTensor["data"] | BigInt64Array,
): HostTensor["data"] {
  if (values instanceof BigInt64Array) return narrowed(name, values);
  return dtype === "uint8" || dtype === "bool" ? Uint8Array.from(values) : values;
}
