/** `model.onnx`: `checkModel`, on what the library decodes. */
import { fromBinary } from "@bufbuild/protobuf";
import { TensorProto_DataType as DataType, ModelProtoSchema } from "../../../gen/onnx/onnx_pb.ts";
import { checkModel } from "../../../src/engine/worker/onnx-file.ts";
import { BadModel } from "../../../src/engine/worker/runtime.ts";
import { info, node, onnxModel, tensor } from "../../../test/models/onnx.ts";
import { holds, unlessRefused } from "../target.ts";

export const claim = "A model is refused with a sentence, or every tensor that it has is found.";

export function fuzz(data: Buffer): void {
  let model: ReturnType<typeof fromBinary<typeof ModelProtoSchema>>;
  try {
    model = fromBinary(ModelProtoSchema, data);
  } catch {
    return;
  }
  const tensors = unlessRefused(
    (error) => error instanceof BadModel && error.message !== "",
    () => checkModel(model),
  );
  if (!tensors) return;
  const found = new Set(tensors);
  holds(
    (model.graph?.initializer ?? []).every((each) => found.has(each)),
    "no tensor is passed over",
  );
}

export function seeds(): readonly Uint8Array[] {
  const x = info("x", DataType.FLOAT, ["rows", 4]);
  const y = info("y", DataType.FLOAT);
  return [
    onnxModel({ input: [x], output: [y], node: [node("Relu", ["x"], ["y"])] }),
    onnxModel({
      input: [x],
      output: [y],
      initializer: [tensor("w", Float32Array.of(1, 2, 3, 4), [4])],
      node: [node("Add", ["x", "w"], ["y"])],
    }),
    onnxModel({
      input: [x],
      output: [y],
      node: [node("If", ["x"], ["y"], { then_branch: { output: [y], node: [node("Relu", ["x"], ["y"])] } })],
    }),
  ];
}

export const words = ["external", "location", "../x", "ai.onnx", "\xff\xff\xff\xff\x0f"];
