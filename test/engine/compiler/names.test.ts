/** The names that a model gives its inputs and outputs are any; none may meet those within the ONNX graph. */
import { expect, test } from "vitest";
import { compileGraphModel } from "../../../src/engine/compiler/graph-model.ts";
import { compileLayersModel } from "../../../src/engine/compiler/layers-model.ts";
import { NotCovered } from "../../../src/engine/compiler/value.ts";
import type { ModelFiles } from "../../../src/engine/worker/weights.ts";
import { expectSameModel, floats, type Model, modelOf } from "./reference.ts";

const { files, feeds } = modelOf({
  op: "Mul",
  inputs: [floats([4]), floats([4], 2)],
  weights: [1],
  open: "none",
});

/** `input · constant`, with names for the input and the output. */
function named(input: string, output: string): Model {
  const text = JSON.stringify(files.model)
    .replaceAll('"input0"', JSON.stringify(input))
    .replaceAll('"out0"', JSON.stringify(output));
  return {
    files: { ...files, model: JSON.parse(text) },
    feeds: Object.fromEntries(Object.values(feeds).map((tensor) => [input, tensor])),
    outputs: [output],
  };
}

const withSignature = (signature: object): ModelFiles => ({
  ...files,
  model: { ...files.model, signature },
});

test.each(["v0", "v1", "v2", "v3"])("an input %s", async (name) => {
  await expectSameModel(named(name, "y"));
});

test.each(["v0", "v1", "v2", "v3"])("an output %s", async (name) => {
  await expectSameModel(named("x", name));
});

test("an input and an output", async () => {
  await expectSameModel(named("v0", "v1"));
});

test("a layer", () => {
  const layer = (className: string, name: string, config: object, from: readonly string[]) => ({
    class_name: className,
    name,
    config: { name, ...config },
    inbound_nodes: from.length > 0 ? [from.map((one) => [one, 0, 0, {}])] : [],
  });
  const modelTopology = {
    class_name: "Model",
    config: {
      name: "model",
      layers: [
        layer("InputLayer", "v0", { batch_input_shape: [null, 4], dtype: "float32" }, []),
        layer("ReLU", "v1", {}, ["v0"]),
      ],
      input_layers: [["v0", 0, 0]],
      output_layers: [["v1", 0, 0]],
    },
  };
  const model = { modelTopology, format: "layers-model", weightsManifest: [] };
  const compiled = compileLayersModel({ model, specs: [], data: new ArrayBuffer(0) });
  expect(compiled.inputs.map(({ value }) => value.name)).toEqual(["v0"]);
  expect(["v0", "v1"]).not.toContain(compiled.outputs[0]?.value.name);
});

test.each([
  ["outputs of one name", { outputs: { y: { name: "out0" }, "y:0": { name: "result" } } }],
  ["an output named as an input", { inputs: { x: { name: "input0" } }, outputs: { x: { name: "out0" } } }],
  ["an input of two names", { inputs: { a: { name: "input0" }, b: { name: "input0" } } }],
])("%s: left to the next runtime", (_name, signature) => {
  expect(() => compileGraphModel(withSignature(signature))).toThrow(NotCovered);
});
