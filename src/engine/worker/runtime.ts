/** What a runtime is. TF.js implements it four ways of backend; others join by implementing it too. */
import type { Manifest, RuntimeName } from "../../domain/model.ts";
import type { Dtype } from "../../domain/tensor.ts";
import type { TensorSpec } from "../signature.ts";

/** A tensor in this process, with its elements as numbers; `bool` and `uint8` take one byte each. */
export interface HostTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

export type HostTensors = Readonly<Record<string, HostTensor>>;

/** Graphs do not say their outputs' shapes, nor always their types; the warm-up sees them. */
export type OutputSpec = Omit<TensorSpec, "shape">;

export interface LoadedModel {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly OutputSpec[];
  /** Inputs and outputs by the names of the specs. Rejects with the runtime's own error. */
  run(inputs: HostTensors): Promise<HostTensors>;
  /**
   * The output of the layer or node that `auspex.json` names as the embedding, rows first; undefined when it names
   * none, or the model has none of that name. Takes and rejects as `run` does.
   */
  readonly embed?: ((inputs: HostTensors) => Promise<HostTensor>) | undefined;
  /** What `run` does, where inputs come again: a first run asks for the same of every head on a backbone. */
  readonly tryRun?: (inputs: HostTensors) => Promise<HostTensors>;
  dispose(): void;
}

/** The tensor of a run that was asked for one. */
export function onlyTensor(tensors: HostTensors): HostTensor {
  const [tensor] = Object.values(tensors);
  if (!tensor) throw new Error("the model gave no output");
  return tensor;
}

export interface Runtime {
  readonly name: RuntimeName;
  /**
   * @throws Unsupported when this runtime does not take such models, BadModel when none should; any other error says
   * what went wrong here, where another runtime may do better
   */
  load(folder: string, manifest: Manifest): Promise<LoadedModel>;
}

/** The model itself is at fault, whatever the runtime: none of the others is to be bothered with it. */
export class BadModel extends Error {
  override readonly name = "BadModel";
}

/** This runtime is not for this model or this machine: pass on to the next. */
export class Unsupported extends Error {
  override readonly name = "Unsupported";
}
