/** Runs one layers model in tfjs-layers and compiled in ONNX Runtime, and expects the same. */
import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { expect } from "vitest";
import type { Compiled } from "../../../../src/engine/compiler/compiled.ts";
import { compileLayersModel } from "../../../../src/engine/compiler/layers-model.ts";
import type { ModelFiles } from "../../../../src/engine/worker/weights.ts";
import { expectClose, floats, ints, runOnnx, type Tensor } from "../reference.ts";

export type Layer = layers.layers.Layer;
export type Sizes = readonly number[];

/** The model with weights of all signs, saved in memory. Variances are positive. */
export async function saved(model: layers.LayersModel): Promise<ModelFiles> {
  await tf.setBackend("cpu");
  // Before it runs, a sequential model has not listed its weights.
  const weights = model.layers.flatMap((layer) => layer.weights);
  for (const [i, weight] of weights.entries()) {
    const { data, shape } = floats(weight.shape as number[], i + 3);
    const isVariance = weight.name.includes("variance");
    weight.write(tf.tensor(isVariance ? data.map((value) => 0.2 + Math.abs(value)) : data, [...shape]));
  }
  let artifacts: tf.io.ModelArtifacts | undefined;
  await model.save({
    save: async (given) => {
      artifacts = given;
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
    },
  });
  return {
    // As it comes out of a file.
    model: {
      modelTopology: JSON.parse(JSON.stringify(artifacts?.modelTopology)),
      format: "layers-model",
      weightsManifest: [],
    },
    specs: artifacts?.weightSpecs ?? [],
    data: artifacts?.weightData as ArrayBuffer,
  };
}

/** tfjs-layers changes the JSON that it reads. */
export async function loaded({ model, specs, data }: ModelFiles): Promise<layers.LayersModel> {
  return layers.loadLayersModel({
    load: async () => ({
      modelTopology: structuredClone(model.modelTopology),
      weightSpecs: [...specs],
      weightData: data,
    }),
  });
}

/**
 * Expects the same names, types, shapes and elements of a batch.
 * @param integers below which the elements of int32 inputs are
 */
export async function expectSameModel(
  files: ModelFiles,
  { rows = 2, integers = 5, tolerance = 2e-5 } = {},
): Promise<Compiled> {
  await tf.setBackend("cpu");
  const model = await loaded(files);
  const feeds = model.inputs.map((input, i): Tensor => {
    const shape = input.shape.map((size) => size ?? rows);
    const { data } = floats(shape, i + 1);
    if (input.dtype !== "int32") return { type: "float32", shape, data };
    return ints(
      Array.from(data, (value) => Math.floor(((value + 1) / 2) * integers)),
      shape,
    );
  });
  const tensors = feeds.map(({ type, shape, data }) => tf.tensor(data, [...shape], type));
  const wanted = [model.predictOnBatch(tensors)].flat();
  const compiled = compileLayersModel(files);
  expect(compiled.inputs.map(({ name }) => name)).toEqual(model.inputNames);
  expect(compiled.outputs.map(({ name }) => name)).toEqual(model.outputNames);
  const named = Object.fromEntries(
    model.inputNames.flatMap((name, i) => (feeds[i] ? [[name, feeds[i]]] : [])),
  );
  const got = await runOnnx(compiled, named, model.outputNames);
  for (const [i, expected] of wanted.entries()) {
    const actual = got[i];
    expect({ type: actual?.type, shape: actual?.shape }).toEqual({
      type: expected.dtype,
      shape: expected.shape,
    });
    expectClose(actual?.data ?? [], expected.dataSync(), tolerance);
    // What was foretold of the shapes has to be what came.
    const foretold = compiled.outputs[i]?.value.shape ?? [];
    expect(actual?.shape).toEqual(foretold.map((size, axis) => size ?? actual?.shape[axis]));
  }
  tf.dispose([tensors, wanted]);
  model.dispose();
  return compiled;
}

/**
 * A model of one layer.
 * @param convolved its inputs come from convolutions, and so lie channels first in memory
 * @param open all sizes but that of the last axis are left to a run
 */
export function modelOf(
  layer: Layer,
  shapes: readonly Sizes[],
  { convolved = false, open = false, dtype = "float32" as "float32" | "int32" } = {},
): layers.LayersModel {
  const inputs = shapes.map((sizes) => {
    const shape = sizes.map((size, axis) => (open && axis < sizes.length - 1 ? null : size));
    return layers.input({ shape: shape as number[], dtype });
  });
  const before = inputs.map((input) => (convolved ? convolve(input) : input));
  const [only, ...more] = before;
  const outputs = layer.apply(more.length === 0 && only ? only : before);
  return layers.model({ inputs, outputs: outputs as layers.SymbolicTensor });
}

/** Of one pixel, and as many channels out as in. */
function convolve(input: layers.SymbolicTensor): layers.SymbolicTensor {
  const { conv1d, conv2d, conv3d } = layers.layers;
  const options = { filters: input.shape.at(-1) ?? 1, kernelSize: 1 };
  const makers: Readonly<Record<number, () => Layer>> = {
    3: () => conv1d(options),
    4: () => conv2d(options),
    5: () => conv3d(options),
  };
  const layer = makers[input.shape.length]?.();
  return layer ? (layer.apply(input) as layers.SymbolicTensor) : input;
}
