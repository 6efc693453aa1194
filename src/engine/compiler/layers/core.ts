/** Layers of every network: dense ones, tables, and those that only give a tensor another form. */
import type { Graph } from "../graph.ts";
import { cast } from "../operators/elementwise.ts";
import { tiled } from "../operators/fill.ts";
import { fromFront, gathered } from "../operators/gather.ts";
import { matrixProduct } from "../operators/matrix.ts";
import { reshaped, transposed, unsqueezed } from "../operators/shape.ts";
import { isStatic, NotCovered, type Shape, sizeOf, type Value } from "../value.ts";
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

/** A product with the last axis. */
function dense(graph: Graph, call: LayerCall): Value {
  const x = floatInputOf(call);
  const units = call.config.int("units");
  const kernel = call.weight("kernel", [channelsOf(call, x), units]);
  const bias = call.config.bool("use_bias", true) ? call.weight("bias", [units]) : undefined;
  return activated(graph, matrixProduct(graph, x, kernel, { bias }), call);
}

/** The rows stay as they are. @param sizes of what is in each row, one of them null at most */
export function reshapedRows(graph: Graph, x: Value, sizes: Shape): Value {
  const [rows = null, ...inner] = x.shape;
  if (!isStatic(inner)) throw new NotCovered(`rows of [${inner}] as rows of [${sizes}]`);
  const known = sizeOf(sizes.map((size) => size ?? 1));
  const left = sizeOf(inner) / known;
  const unknown = sizes.filter((size) => size === null).length;
  if (unknown > 1 || !Number.isInteger(left) || (unknown === 0 && left !== 1))
    throw new Error(`rows of [${inner}] cannot become rows of [${sizes}]`);
  return reshaped(graph, x, [rows, ...sizes.map((size) => size ?? left)]);
}

const flatten: Layer = (graph, call) => {
  channelsLastOnly(call);
  return reshapedRows(graph, inputOf(call), [null]);
};

const permute: Layer = (graph, call) => {
  const x = inputOf(call);
  const dims = call.config.ints("dims");
  const isOrder =
    dims.length === x.shape.length - 1 && x.shape.every((_, axis) => axis === 0 || dims.includes(axis));
  if (!isOrder) throw new Error(`dims [${dims}] are no order of the axes of [${x.shape}]`);
  return transposed(graph, x, [0, ...dims]);
};

const repeatVector: Layer = (graph, call) => {
  const x = unsqueezed(graph, inputOf(call, [2]), [1]);
  return tiled(graph, x, graph.integers([1, call.config.int("n"), 1]));
};

/** Indices become rows of a table. Masks are not followed, so an index of 0 has to mean nothing special. */
const embedding: Layer = (graph, call) => {
  if (call.config.bool("mask_zero", false)) throw new NotCovered("Embedding with mask_zero");
  const table = call.weight("embeddings", [call.config.int("input_dim"), call.config.int("output_dim")]);
  return gathered(graph, table, fromFront(graph, cast(graph, inputOf(call), "int32")), 0);
};

const same: Layer = (_, call) => inputOf(call);

export const CORE: LayerTable = {
  Dense: dense,
  Embedding: embedding,
  Flatten: flatten,
  Reshape: (graph, call) => reshapedRows(graph, inputOf(call), call.config.shape("target_shape")),
  Permute: permute,
  RepeatVector: repeatVector,
  Dropout: same,
  AlphaDropout: same,
  GaussianDropout: same,
  GaussianNoise: same,
  SpatialDropout1D: same,
};
