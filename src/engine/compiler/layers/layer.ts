/** What a Keras layer is to the compiler: a function that adds to the graph what one call of it computes. */
import type { Graph } from "../graph.ts";
import type { Padding } from "../operators/window.ts";
import { NotCovered, type Shape, type Value } from "../value.ts";
import type { Config } from "./config.ts";

export interface LayerCall {
  readonly className: string;
  readonly config: Config;
  readonly inputs: readonly Value[];
  /**
   * A weight of the layer, the same constant in each of its calls.
   * @param shape what it has to have; null for any size
   * @throws Error when the model's files have none, or one of another shape
   */
  weight(name: string, shape: Shape): Value;
}

export type Layer = (graph: Graph, call: LayerCall) => Value;

export type LayerTable = Readonly<Record<string, Layer>>;

/**
 * The one input of a call.
 * @param ranks those that TF.js takes; all if left out
 */
export function inputOf(call: LayerCall, ranks?: readonly number[]): Value {
  const [x, ...more] = call.inputs;
  if (!x || more.length > 0)
    throw new Error(`${call.className} takes one input, and has ${call.inputs.length}`);
  if (ranks && !ranks.includes(x.shape.length))
    throw new Error(`${call.className} takes no input of [${x.shape}]`);
  return x;
}

/** As `inputOf`, in floating point. */
export function floatInputOf(call: LayerCall, ranks?: readonly number[]): Value {
  const x = inputOf(call, ranks);
  if (x.type !== "float32") throw new NotCovered(`${call.className} of ${x.type}`);
  return x;
}

/** The number of channels, which have to be known where a layer has weights for each. */
export function channelsOf(call: LayerCall, x: Value): number {
  const channels = x.shape.at(-1) ?? null;
  if (channels === null) throw new Error(`${call.className} with an unknown number of channels`);
  return channels;
}

export function channelsLastOnly({ className, config }: LayerCall): void {
  if (config.text("data_format", "channels_last") !== "channels_last")
    throw new NotCovered(`${className} with channels_first`);
}

/** TF.js implements "causal" nowhere. */
export function paddingOf(
  { className, config }: LayerCall,
  kernel: readonly number[],
  strides: readonly number[],
): Padding {
  const kind = config.text("padding", "valid");
  if (kind !== "valid" && kind !== "same") throw new NotCovered(`${className} with the padding ${kind}`);
  // In three dimensions TF.js' backends in JavaScript then begin inside the edge, and TensorFlow does not.
  const hasGaps = kernel.length === 3 && kernel.some((cells, axis) => cells < (strides[axis] ?? 1));
  if (kind === "same" && hasGaps) throw new NotCovered(`${className} with strides beyond its window`);
  return { kind };
}
