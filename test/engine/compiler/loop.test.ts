/** Loops of TensorFlow 1, drawn by hand as its converter draws `tf.map_fn` and `tf.while_loop`. */
import { expect, test } from "vitest";
import { compileGraphModel } from "../../../src/engine/compiler/graph-model.ts";
import { attr, expectSameModel, floats, type Model, type RawAttribute, type Tensor } from "./reference.ts";

type Node = readonly [
  name: string,
  op: string,
  input: readonly string[],
  attr?: Record<string, RawAttribute>,
];

const FLOAT = { T: attr.type("float32") };
const INT = { T: attr.type("int32") };
const FRAME = { frame_name: attr.text("a loop") };

/** Scalar weights by name come with the nodes. */
function modelOf(
  nodes: readonly Node[],
  x: Tensor,
  output: string,
  numbers: Readonly<Record<string, number>>,
): Model {
  const ints = Object.keys(numbers);
  const dim = x.shape.map((_, axis) => ({ size: axis === 0 ? "-1" : String(x.shape[axis]) }));
  const all: Node[] = [
    ["x", "Placeholder", [], { dtype: attr.type("float32"), shape: { shape: { dim } } }],
    ...ints.map((name): Node => [name, "Const", [], { dtype: attr.type("int32") }]),
    ...nodes,
  ];
  const node = all.map(([name, op, input, attributes = {}]) => ({ name, op, input, attr: attributes }));
  return {
    files: {
      model: {
        modelTopology: { node, versions: { producer: 1 } },
        format: "graph-model",
        weightsManifest: [],
      },
      specs: ints.map((name) => ({ name, shape: [], dtype: "int32" })),
      data: Int32Array.from(Object.values(numbers)).buffer,
    },
    feeds: { x },
    outputs: [output],
  };
}

/** A while loop over a counter, and what each round does. */
function counted(limit: string, step: string, body: readonly Node[]): readonly Node[] {
  return [
    ["enter", "Enter", ["zero"], { ...INT, ...FRAME }],
    ["merge", "Merge", ["enter", "next"], INT],
    ["limit", "Enter", [limit], { ...INT, ...FRAME, is_constant: attr.bool(true) }],
    ["less", "Less", ["merge", "limit"], INT],
    ["cond", "LoopCond", ["less"]],
    ["switch", "Switch", ["merge", "cond"], INT],
    ["i", "Identity", ["switch:1"], INT],
    ["add", "AddV2", ["i", step], INT],
    ["next", "NextIteration", ["add"], INT],
    ...body,
  ];
}

/** Each row of x, squared, put together again. */
function mapped(step: string): Model {
  const nodes: readonly Node[] = [
    ["shape", "Shape", ["x"], { ...FLOAT, out_type: attr.type("int32") }],
    [
      "rows",
      "StridedSlice",
      ["shape", "begin", "end", "end"],
      { ...INT, Index: attr.type("int32"), shrink_axis_mask: attr.int(1) },
    ],
    ["begin", "ExpandDims", ["zero", "zero"], INT],
    ["end", "ExpandDims", ["one", "zero"], INT],
    ["range", "Range", ["zero", "rows", "one"], { Tidx: attr.type("int32") }],
    ["in", "TensorArrayV3", ["rows"], { dtype: attr.type("float32") }],
    ["out", "TensorArrayV3", ["rows"], { dtype: attr.type("float32") }],
    ["scatter", "TensorArrayScatterV3", ["in", "range", "x", "in:1"], FLOAT],
    ["in/enter", "Enter", ["in"], { ...FRAME, is_constant: attr.bool(true) }],
    ["out/enter", "Enter", ["out"], { ...FRAME, is_constant: attr.bool(true) }],
    ["scatter/enter", "Enter", ["scatter"], { ...FRAME, is_constant: attr.bool(true) }],
    ["flow/enter", "Enter", ["out:1"], { ...FLOAT, ...FRAME }],
    ["flow/merge", "Merge", ["flow/enter", "flow/next"], FLOAT],
    ...counted("rows", step, [
      ["flow/switch", "Switch", ["flow/merge", "cond"], FLOAT],
      ["read", "TensorArrayReadV3", ["in/enter", "i", "scatter/enter"], { dtype: attr.type("float32") }],
      ["square", "Square", ["read"], FLOAT],
      ["write", "TensorArrayWriteV3", ["out/enter", "i", "square", "flow/switch:1"], FLOAT],
      ["flow/next", "NextIteration", ["write"], FLOAT],
      ["exit", "Exit", ["flow/switch"], FLOAT],
    ]),
    ["size", "TensorArraySizeV3", ["out", "exit"]],
    ["all", "Range", ["zero", "size", "one"], { Tidx: attr.type("int32") }],
    ["y", "TensorArrayGatherV3", ["out", "all", "exit"], { dtype: attr.type("float32") }],
  ];
  return modelOf(nodes, floats([3, 4]), "y", { zero: 0, one: 1, two: 2 });
}

test("a map over rows gives what TF.js gives", () => expectSameModel(mapped("one")));

test("a map that leaves rows out is not compiled", () => {
  expect(() => compileGraphModel(mapped("two").files)).toThrow(/in another order than its rounds/);
});

test("a variable that goes round is carried", () => {
  const nodes: readonly Node[] = [
    ["x/enter", "Enter", ["x"], { ...FLOAT, ...FRAME }],
    ["x/merge", "Merge", ["x/enter", "x/next"], FLOAT],
    ...counted("five", "two", [
      ["x/switch", "Switch", ["x/merge", "cond"], FLOAT],
      ["tanh", "Tanh", ["x/switch:1"], FLOAT],
      ["twice", "AddV2", ["tanh", "tanh"], FLOAT],
      ["x/next", "NextIteration", ["twice"], FLOAT],
      ["y", "Exit", ["x/switch"], FLOAT],
    ]),
  ];
  return expectSameModel(modelOf(nodes, floats([2, 3]), "y", { zero: 0, two: 2, five: 5 }));
});
