/**
 * For `--import`: this process finds the imitation where it looks for `@tensorflow/tfjs-node-gpu`. Environment
 * variables carry it into the workers of a real engine.
 */
import { registerHooks } from "node:module";

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "@tensorflow/tfjs-node-gpu"
      ? { url: new URL("./package.ts", import.meta.url).href, shortCircuit: true }
      : next(specifier, context),
});
