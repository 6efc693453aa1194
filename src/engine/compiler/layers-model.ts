/** Compiles a TF.js layers model: Keras' description of it, layer by layer. */
import type { ModelFiles } from "../worker/weights.ts";
import type { Compiled } from "./compiled.ts";
import { NotCovered } from "./value.ts";

/** @throws NotCovered naming the layer; Error when the model is at fault */
export function compileLayersModel(files: ModelFiles): Compiled {
  throw new NotCovered(`a layers model of ${files.specs.length} weights`);
}
