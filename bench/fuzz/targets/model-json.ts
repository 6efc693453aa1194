/** `model.json` of TF.js models: `parseModelJson`, `checkTopology`, and the compiler. */
import { compileGraphModel } from "../../../src/engine/compiler/graph-model.ts";
import { compileLayersModel } from "../../../src/engine/compiler/layers-model.ts";
import { parseModelJson } from "../../../src/engine/worker/model-json.ts";
import { BadModel } from "../../../src/engine/worker/runtime.ts";
import { checkTopology } from "../../../src/engine/worker/topology.ts";
import { weightBytes } from "../../../src/engine/worker/weights.ts";
import { graphFiles, layersFiles, placeholder, weight } from "../../../test/models/graph.ts";
import { holds, noPollution, unlessRefused } from "../target.ts";

export const claim =
  "A model is refused with a sentence, or compiles, to the same bytes each time, within the time and the memory that an input has.";

/** As in a test: what a fuzzer's model may have of weights. */
const WEIGHTS_MAX = 100_000;

/** A sentence for whoever made the model; what the language itself complains of is none. */
const isSentence = (error: unknown): boolean => {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof TypeError || cause instanceof ReferenceError || cause instanceof RangeError)
      return false;
  }
  return error instanceof Error && error.message !== "";
};

export function fuzz(data: Buffer): void {
  const model = unlessRefused(
    (error) => error instanceof BadModel,
    () => {
      const parsed = parseModelJson(data.toString());
      checkTopology(parsed.modelTopology);
      return parsed;
    },
  );
  noPollution();
  if (!model) return;
  const specs = (model.weightsManifest ?? []).flatMap(({ weights }) => weights);
  const isPlain = specs.every(({ shape }) => shape.every((size) => Number.isInteger(size) && size >= 0));
  const bytes = specs.reduce((sum, spec) => sum + (weightBytes(spec) ?? 0), 0);
  // Other weights are refused where the files are read.
  if (!isPlain || !(bytes <= WEIGHTS_MAX)) return;
  const files = { model, specs, data: new ArrayBuffer(bytes) };
  const isGraph = "node" in model.modelTopology;
  const compile = () =>
    unlessRefused(isSentence, () => (isGraph ? compileGraphModel(files) : compileLayersModel(files)).model);
  const [first, second] = [compile(), compile()];
  holds((first === undefined) === (second === undefined), "it compiles always or never");
  noPollution();
}

export const seeds = (): readonly string[] =>
  [
    graphFiles([
      placeholder("x", [-1, 4]),
      weight("w", [1, 2, 3, 4], [4], "float32"),
      { name: "y", op: "AddV2", input: ["x", "w"] },
    ]),
    graphFiles([
      placeholder("x", [-1, 4, 4, 1]),
      weight("s", [-1, 16]),
      { name: "r", op: "Reshape", input: ["x", "s"] },
      weight("axes", [1]),
      { name: "y", op: "Mean", input: ["r", "axes"], attr: { keep_dims: { b: true } } },
    ]),
    graphFiles([
      placeholder("x", [-1, 4, 4, 1]),
      {
        name: "y",
        op: "MaxPool",
        input: ["x"],
        attr: {
          ksize: { list: { i: ["1", "2", "2", "1"] } },
          strides: { list: { i: ["1", "2", "2", "1"] } },
          padding: { s: "U0FNRQ==" },
        },
      },
    ]),
    layersFiles(
      [4],
      [
        { className: "ReLU", name: "r" },
        { className: "Activation", name: "a", config: { activation: "softmax" } },
      ],
    ),
    layersFiles(
      [4, 4, 1],
      [
        { className: "Flatten", name: "f" },
        { className: "Dropout", name: "d", config: { rate: 0.1 } },
      ],
    ),
  ].map((files) => String(files["model.json"]));

export const words = [
  '"op":"StridedSlice"',
  '"op":"Concat"',
  '"op":"Pack"',
  '"op":"Fill"',
  '"op":"Range"',
  '"op":"Tile"',
  '"op":"GatherV2"',
  '"op":"Conv2D"',
  '"op":"While"',
  '"op":"Switch"',
  '"op":"NonMaxSuppressionV5"',
  '"input":[',
  '"attr":{',
  '"list":{"i":[',
  '"class_name":',
  '"config":{',
  '"inbound_nodes":',
  "2147483647",
  "-1",
];

export const bytesMax = 8192;
