/** Every layer of Keras that compiles, by its class. */
import type { Graph } from "../graph.ts";
import { reshaped } from "../operators/shape.ts";
import { isStatic, NotCovered, type Value } from "../value.ts";
import { ACTIVATION } from "./activation.ts";
import { configOf, readObject } from "./config.ts";
import { CONVOLUTION } from "./convolution.ts";
import { CORE } from "./core.ts";
import { inputOf, type LayerCall, type LayerTable } from "./layer.ts";
import { MERGE } from "./merge.ts";
import { NORMALIZATION } from "./normalization.ts";
import { PICTURE } from "./picture.ts";
import { POOLING } from "./pooling.ts";

/** Layers that a wrapper can hold, by family. */
const PLAIN = {
  "dense and form": CORE,
  activation: ACTIVATION,
  convolution: CONVOLUTION,
  pooling: POOLING,
  normalization: NORMALIZATION,
  picture: PICTURE,
} as const satisfies Readonly<Record<string, LayerTable>>;

const WRAPPED: LayerTable = Object.assign({}, ...Object.values(PLAIN));

/**
 * A layer for each step of a sequence: the steps become rows, and rows become steps again. The layer's weights bear
 * the wrapper's name.
 */
function timeDistributed(graph: Graph, call: LayerCall): Value {
  const x = inputOf(call);
  const { className, config } = readObject(call.config.raw("layer"));
  const layer = Object.hasOwn(WRAPPED, className) ? WRAPPED[className] : undefined;
  if (!layer || Array.isArray(config)) throw new NotCovered(`TimeDistributed of ${className}`);
  const [rows = null, ...inner] = x.shape;
  const [steps = null] = inner;
  if (inner.length < 2 || !isStatic(inner)) throw new NotCovered(`TimeDistributed over [${x.shape}]`);
  const joint = rows === null || steps === null ? null : rows * steps;
  const step = reshaped(graph, x, [joint, ...inner.slice(1)]);
  const settings = configOf(className, { ...config });
  const result = layer(graph, { ...call, className, config: settings, inputs: [step] });
  return reshaped(graph, result, [rows, steps, ...result.shape.slice(1)]);
}

/** For the page of what is covered. */
export const LAYER_FAMILIES: Readonly<Record<string, LayerTable>> = {
  ...PLAIN,
  merge: MERGE,
  wrapper: { TimeDistributed: timeDistributed },
};

export const LAYERS: LayerTable = Object.assign({}, ...Object.values(LAYER_FAMILIES));
