/** Layers of every network: dense ones, and those that only give a tensor another form. */
import type { Graph } from "../graph.ts";
import { broadcast } from "../operators/elementwise.ts";
import { isStatic, type Shape, sizeOf, type Value } from "../value.ts";
import { activated } from "./activation.ts";
import {
  channelsLastOnly,
  channelsOf,
  floatInputOf,
  inputOf,
  type Layer,
  type LayerCall,
  type LayerTable,
} from "./layer.ts";

function dense(graph: Graph, call: LayerCall): Value {
  const x = graph.channelsLast(floatInputOf(call));
  if (x.shape.length < 2) throw new Error(`Dense takes no input of [${x.shape}]`);
  const units = call.config.int("units");
  const kernel = call.weight("kernel", [channelsOf(call, x), units]);
  const shape = [...x.shape.slice(0, -1), units];
  const product = graph.node("MatMul", [x, kernel], { type: x.type, shape });
  const biased = call.config.bool("use_bias", true)
    ? broadcast(graph, "Add", [product, call.weight("bias", [units])])
    : product;
  return activated(graph, biased, call);
}

/** The rows stay as they are. @param sizes of what is in each row, one of them null at most */
export function reshapeRows(graph: Graph, x: Value, sizes: Shape): Value {
  const inner = x.shape.slice(1);
  const known = sizeOf(sizes.map((size) => size ?? 1));
  const total = isStatic(inner) ? sizeOf(inner) : undefined;
  const isWhole = sizes.includes(null) ? known > 0 && (total ?? 0) % known === 0 : (total ?? known) === known;
  if (!isWhole || sizes.filter((size) => size === null).length > 1)
    throw new Error(`rows of [${inner}] cannot become rows of [${sizes}]`);
  const shape = sizes.map((size) => size ?? (total === undefined ? null : total / known));
  // 0 is the size that the input has there.
  const target = graph.integers([0, ...shape.map((size) => size ?? -1)]);
  return graph.node("Reshape", [graph.channelsLast(x), target], {
    type: x.type,
    shape: [x.shape[0] ?? null, ...shape],
  });
}

const flatten: Layer = (graph, call) => {
  channelsLastOnly(call);
  return reshapeRows(graph, inputOf(call), [null]);
};

const same: Layer = (_, call) => inputOf(call);

export const CORE: LayerTable = {
  Dense: dense,
  Flatten: flatten,
  Reshape: (graph, call) => reshapeRows(graph, inputOf(call), call.config.shape("target_shape")),
  Dropout: same,
  AlphaDropout: same,
  GaussianDropout: same,
  GaussianNoise: same,
  SpatialDropout1D: same,
};
