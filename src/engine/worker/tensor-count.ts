/** How many tensors TF.js holds in this process: what a model or a call has left behind shows here first. */
import type * as tf from "@tensorflow/tfjs-core";

type Core = Pick<typeof tf, "engine">;

/** The wasm backend's, and the one that native TensorFlow brings along. */
const cores = new Set<Core>();

export function countTensorsOf(core: Core): void {
  cores.add(core);
}

/** The same number as in `memory()`, which cannot be asked while a backend is being started. */
export function tensorCount(): number {
  return [...cores].reduce((sum, core) => sum + core.engine().state.numTensors, 0);
}
