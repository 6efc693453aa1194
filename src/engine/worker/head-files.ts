/** A fitted head as the files of a TF.js layers model, one dense layer, which every runtime loads. */
import type { Scaling } from "./fit-data.ts";
import type { HeadShape, HeadState } from "./head-weights.ts";

/**
 * The scaling of the numbers that come in goes into the weights, so that the model takes embeddings as they are. It
 * gives scores: the activation is for `auspex.json` to name.
 */
export function headFiles(
  { width, classes }: HeadShape,
  { weights }: HeadState,
  { mean, factor }: Scaling,
): Readonly<Record<string, Uint8Array>> {
  const kernel = new Float32Array(width * classes);
  const bias = Float64Array.from(weights.subarray(width * classes));
  for (let row = 0; row < width; row++) {
    for (let column = 0; column < classes; column++) {
      const weight = (weights[row * classes + column] ?? 0) * (factor[row] ?? 0);
      kernel[row * classes + column] = weight;
      bias[column] = (bias[column] ?? 0) - (mean[row] ?? 0) * weight;
    }
  }
  const layer = {
    class_name: "Dense",
    config: {
      name: "head",
      batch_input_shape: [null, width],
      dtype: "float32",
      units: classes,
      activation: "linear",
      use_bias: true,
    },
  };
  const model = {
    format: "layers-model",
    generatedBy: "auspex",
    modelTopology: { class_name: "Sequential", config: { name: "classifier", layers: [layer] } },
    weightsManifest: [
      {
        paths: ["weights.bin"],
        weights: [
          { name: "head/kernel", shape: [width, classes], dtype: "float32" },
          { name: "head/bias", shape: [classes], dtype: "float32" },
        ],
      },
    ],
  };
  return {
    "model.json": Buffer.from(`${JSON.stringify(model, null, 2)}\n`),
    "weights.bin": Buffer.concat([bytesOf(kernel), bytesOf(Float32Array.from(bias))]),
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
