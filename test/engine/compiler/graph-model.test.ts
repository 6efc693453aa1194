/** What a graph model has besides the operators of the tables: weights, and nodes that only hand on. */
import { describe, expect, test } from "vitest";
import { compileGraphModel } from "../../../src/engine/compiler/graph-model.ts";
import { NotCovered } from "../../../src/engine/compiler/value.ts";
import { expectSame, floats, ints, modelOf } from "./reference.ts";

test.each(["Identity", "StopGradient", "Snapshot"])("%s", (op) =>
  expectSame({ op, inputs: [floats([2, 3])] }),
);

test("IdentityN hands each of its inputs on", () =>
  expectSame({ op: "IdentityN", inputs: [floats([2, 3]), ints([4, 5])], outputs: 2 }));

describe("a weight of two bytes each", () => {
  const { files } = modelOf({ op: "Relu", inputs: [floats([3])], weights: [0] });
  const [spec] = files.specs;
  if (!spec) throw new Error("the model has a weight");
  const quantized = (dtype: "float32" | "int32") => ({
    ...files,
    specs: [{ ...spec, dtype, quantization: { dtype: "float16" as const } }],
    data: new Uint16Array([0x3c00, 0xc000, 0x3800]).buffer,
  });

  test("is of float32", () => {
    expect(compileGraphModel(quantized("float32")).outputs[0]?.value.type).toBe("float32");
  });
  test("is no int32", () => {
    expect(() => compileGraphModel(quantized("int32"))).toThrow(NotCovered);
  });
});
