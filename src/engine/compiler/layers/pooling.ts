/** Layers that pool. */
import { pool } from "../operators/pool.ts";
import { reduce } from "../operators/reduce.ts";
import { channelsLastOnly, floatInputOf, type Layer, type LayerTable, paddingOf } from "./layer.ts";

/** Under a window that slides. */
const pooling =
  (op: "MaxPool" | "AveragePool", dimensions: number): Layer =>
  (graph, call) => {
    channelsLastOnly(call);
    const x = floatInputOf(call, [dimensions + 2]);
    const kernel = call.config.perAxis("pool_size", dimensions, 2);
    const strides = call.config.has("strides") ? call.config.perAxis("strides", dimensions) : kernel;
    return pool(graph, op, x, { kernel, strides, padding: paddingOf(call, kernel, strides) });
  };

/** Over all of the space, which is gone then. */
const globalPooling =
  (op: "ReduceMean" | "ReduceMax", dimensions: number): Layer =>
  (graph, call) => {
    channelsLastOnly(call);
    const x = floatInputOf(call, [dimensions + 2]);
    const axes = Array.from({ length: dimensions }, (_, i) => i + 1);
    return reduce(graph, op, x, axes, { keepDims: false });
  };

export const POOLING: LayerTable = {
  MaxPooling1D: pooling("MaxPool", 1),
  MaxPooling2D: pooling("MaxPool", 2),
  MaxPooling3D: pooling("MaxPool", 3),
  AveragePooling1D: pooling("AveragePool", 1),
  AveragePooling2D: pooling("AveragePool", 2),
  AveragePooling3D: pooling("AveragePool", 3),
  GlobalAveragePooling1D: globalPooling("ReduceMean", 1),
  GlobalAveragePooling2D: globalPooling("ReduceMean", 2),
  GlobalMaxPooling1D: globalPooling("ReduceMax", 1),
  GlobalMaxPooling2D: globalPooling("ReduceMax", 2),
};
