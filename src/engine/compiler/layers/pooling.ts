/** Layers that pool. */
import { channelsLastOnly, floatInputOf, type Layer, type LayerTable } from "./layer.ts";

/** Over all of the space, which is gone then. */
const globalPooling =
  (op: "ReduceMean" | "ReduceMax", dimensions: number): Layer =>
  (graph, call) => {
    channelsLastOnly(call);
    const x = floatInputOf(call, [dimensions + 2]);
    const first = x.layout === "channels-first" ? 2 : 1;
    const axes = graph.integers(Array.from({ length: dimensions }, (_, i) => first + i));
    return graph.node(
      op,
      [x, axes],
      { type: x.type, shape: [x.shape[0] ?? null, x.shape.at(-1) ?? null] },
      { keepdims: 0 },
    );
  };

export const POOLING: LayerTable = {
  GlobalAveragePooling1D: globalPooling("ReduceMean", 1),
  GlobalAveragePooling2D: globalPooling("ReduceMean", 2),
  GlobalMaxPooling1D: globalPooling("ReduceMax", 1),
  GlobalMaxPooling2D: globalPooling("ReduceMax", 2),
};
