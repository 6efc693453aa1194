/**
 * Writes the small model of tests and benches: an MLP 64-128-128-10 (relu, relu, softmax) as a TF.js layers model
 * with seeded weights, the same bytes every time.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";

export interface MlpOptions {
  /** Another seed, other weights. */
  readonly seed?: number;
  /** Sizes from input to output. */
  readonly sizes?: readonly number[];
  /** Merged into `auspex.json`. */
  readonly manifest?: Readonly<Record<string, unknown>>;
}

/** Input `x` [any, 64] float32, output `y` [any, 10] float32. `auspex.json` is written last. */
export async function writeMlp(folder: string, options: MlpOptions = {}): Promise<void> {
  const { seed = 1, sizes = [64, 128, 128, 10], manifest = {} } = options;
  // Otherwise TF.js prints its advice into every test and bench.
  tf.enableProdMode();
  await tf.setBackend("cpu");
  const random = uniform(seed);
  const [inputSize = 64, ...outputSizes] = sizes;
  const input = layers.input({ shape: [inputSize], name: "x" });
  let last: layers.SymbolicTensor = input;
  for (const [i, units] of outputSizes.entries()) {
    const isLast = i === outputSizes.length - 1;
    const dense = layers.layers.dense({
      units,
      activation: isLast ? "softmax" : "relu",
      name: isLast ? "y" : `hidden_${i + 1}`,
      kernelInitializer: "zeros",
    });
    last = dense.apply(last) as layers.SymbolicTensor;
  }
  const model = layers.model({ inputs: input, outputs: last });
  model.setWeights(
    model.getWeights().map((weight) => {
      // He's scale, so that the outputs of random weights stay apart from one another.
      const scale = Math.sqrt(6 / (weight.shape[0] ?? 1));
      return tf.tensor(
        Float32Array.from({ length: weight.size }, () => (random() * 2 - 1) * scale),
        weight.shape,
      );
    }),
  );
  await writeModel(folder, model, { task: "tensor", description: `MLP ${sizes.join("-")}`, ...manifest });
  model.dispose();
}

/** Saves any layers model with its `auspex.json`, as one weight file. */
export async function writeModel(
  folder: string,
  model: layers.LayersModel,
  manifest: Readonly<Record<string, unknown>>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await model.save({
    async save({ modelTopology, weightSpecs = [], weightData }) {
      const weights = tf.io.CompositeArrayBuffer.join(weightData);
      await writeFile(join(folder, "weights.bin"), new Uint8Array(weights));
      const weightsManifest = [{ paths: ["weights.bin"], weights: weightSpecs }];
      await writeFile(
        join(folder, "model.json"),
        JSON.stringify({ format: "layers-model", modelTopology, weightsManifest }),
      );
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
    },
  });
  await writeFile(join(folder, "auspex.json"), JSON.stringify(manifest, null, 2));
}

/** Numbers in [0, 1) that a seed fixes (mulberry32). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
