/** From a model's scores to probabilities, as its `auspex.json` says. */
import type { Manifest } from "../../domain/model.ts";

/** @param scores one for each class */
export function activate(scores: Float32Array, activation: Manifest["activation"]): Float32Array {
  switch (activation) {
    case "none":
      return scores;
    case "sigmoid":
      return scores.map((score) => 1 / (1 + Math.exp(-score)));
    case "softmax": {
      // Less the largest, so that no exponential overflows.
      const largest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      const powers = Float64Array.from(scores, (score) => Math.exp(score - largest));
      const sum = powers.reduce((a, b) => a + b, 0);
      return Float32Array.from(powers, (power) => power / sum);
    }
    default:
      return activation satisfies never;
  }
}
