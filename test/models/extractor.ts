/** A picture model of three layers, which tests take embeddings from: nothing that it sees means anything. */
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { headFiles } from "../../src/engine/worker/head-files.ts";
import { uniform, writeModel } from "./mlp.ts";

/** Pictures of 8 × 8 pixels. */
export const PICTURE = { width: 8, height: 8, range: [0, 1], resize: "stretch" } as const;

/** Numbers of an embedding. */
export const WIDTH = 6;

/** The layer `pool` gives the embedding, 6 wide; `y` a probability for `dark` and `light`. */
export async function writeExtractor(
  folder: string,
  manifest: Readonly<Record<string, unknown>> = {},
  seed = 1,
): Promise<void> {
  tf.enableProdMode();
  await tf.setBackend("cpu");
  const input = layers.input({ shape: [PICTURE.height, PICTURE.width, 3], name: "x" });
  const seen = layers.layers.conv2d({ filters: WIDTH, kernelSize: 3, activation: "relu", name: "seen" });
  const pool = layers.layers.globalAveragePooling2d({ name: "pool" });
  const last = layers.layers.dense({ units: 2, activation: "softmax", name: "y" });
  const output = last.apply(pool.apply(seen.apply(input))) as layers.SymbolicTensor;
  const model = layers.model({ inputs: input, outputs: output });
  const random = uniform(seed);
  model.setWeights(
    model.getWeights().map(({ size, shape }) =>
      tf.tensor(
        Float32Array.from({ length: size }, () => random() * 2 - 1),
        shape,
      ),
    ),
  );
  await writeModel(folder, model, {
    task: "image-classification",
    labels: ["dark", "light"],
    picture: PICTURE,
    embedding: "pool",
    ...manifest,
  });
  model.dispose();
}

export interface Head {
  readonly files: Readonly<Record<string, Buffer>>;
  /** What it makes of an embedding, computed by hand. */
  probabilities(embedding: Float32Array): number[];
}

/** With weights that the seed fixes. */
export function createHead(
  backbone: string,
  labels: readonly string[],
  options: { readonly width?: number; readonly seed?: number; readonly manifest?: object } = {},
): Head {
  const { width = WIDTH, seed = 1, manifest = {} } = options;
  const classes = labels.length;
  const random = uniform(seed + 1000);
  const weights = Float32Array.from({ length: (width + 1) * classes }, () => random() * 4 - 2);
  const shape = { width, classes, activation: "softmax" } as const;
  const scaling = { mean: new Float64Array(width), factor: new Float64Array(width).fill(1) };
  const files = headFiles(shape, { weights, mean: weights, variance: weights }, scaling);
  const text = {
    task: "image-classification",
    labels,
    picture: PICTURE,
    activation: "softmax",
    backbone,
    ...manifest,
  };
  return {
    files: {
      ...Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, Buffer.from(bytes)])),
      "auspex.json": Buffer.from(JSON.stringify(text)),
    },
    probabilities(embedding) {
      const powers = labels.map((_, label) => {
        const bias = weights[width * classes + label] ?? 0;
        const score = embedding.reduce((sum, x, i) => sum + x * (weights[i * classes + label] ?? 0), bias);
        return Math.exp(score);
      });
      const sum = powers.reduce((a, b) => a + b, 0);
      return powers.map((power) => power / sum);
    },
  };
}
