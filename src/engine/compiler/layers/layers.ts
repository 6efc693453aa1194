/** Every layer of Keras that compiles, by its class. */
import { ACTIVATION } from "./activation.ts";
import { CONVOLUTION } from "./convolution.ts";
import { CORE } from "./core.ts";
import type { LayerTable } from "./layer.ts";
import { NORMALIZATION } from "./normalization.ts";
import { POOLING } from "./pooling.ts";

export const LAYERS: LayerTable = { ...CORE, ...ACTIVATION, ...CONVOLUTION, ...NORMALIZATION, ...POOLING };
