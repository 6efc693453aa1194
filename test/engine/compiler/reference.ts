/**
 * Runs a graph twice: compiled, by ONNX Runtime, and as it is, by TF.js on its plain CPU backend, which is what
 * "computes the same" means here.
 */
import { fromBinary } from "@bufbuild/protobuf";
import "@tensorflow/tfjs-backend-cpu";
import { type GraphModel, loadGraphModel } from "@tensorflow/tfjs-converter";
import * as tf from "@tensorflow/tfjs-core";
import * as ort from "onnxruntime-node";
import { expect } from "vitest";
import { ModelProtoSchema } from "../../../gen/onnx/onnx_pb.ts";
import type { Compiled } from "../../../src/engine/compiler/compiled.ts";
import { compileGraphModel } from "../../../src/engine/compiler/graph-model.ts";
import type { ModelFiles } from "../../../src/engine/worker/weights.ts";

export type Type = "float32" | "int32" | "bool";

export interface Tensor {
  readonly type: Type;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** An attribute in the JSON form of a GraphDef. */
export type RawAttribute = Readonly<Record<string, unknown>>;

/** A node in the JSON form of a GraphDef. */
export interface RawNode {
  readonly name: string;
  readonly op: string;
  readonly input: readonly string[];
  readonly attr?: Readonly<Record<string, RawAttribute>>;
}

export interface GraphCase {
  readonly op: string;
  readonly attr?: Readonly<Record<string, RawAttribute>>;
  readonly inputs: readonly Tensor[];
  /** Indices of inputs that are weights of the model; all others are given with each run. */
  readonly weights?: readonly number[];
  /**
   * Indices of inputs, of rank 4 and with as many channels in as out, that come from a convolution, and so lie
   * channels first in memory.
   */
  readonly convolved?: readonly number[];
  /** Leaves dimensions open in the declared shapes of all inputs: the first, all, or none. Default: the first. */
  readonly open?: "first" | "all" | "none";
  /** Nodes between the inputs, which are named `input0`, `input1`, …, and the node that is tested. */
  readonly nodes?: readonly RawNode[];
  /** What the tested node takes, by name; default: all inputs in their order. */
  readonly input?: readonly string[];
  /** Number of outputs; default 1. */
  readonly outputs?: number;
  /** Default 1e-5: |a − b| ≤ tolerance · max(1, |b|). */
  readonly tolerance?: number;
}

const TYPES: Readonly<Record<Type, string>> = { float32: "DT_FLOAT", int32: "DT_INT32", bool: "DT_BOOL" };

/** Numbers in [-1, 1) that are the same each time. */
export function floats(shape: readonly number[], seed = 1): Tensor {
  let state = seed * 2654435761;
  const data = Float32Array.from({ length: size(shape) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  return { type: "float32", shape, data };
}

export function ints(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
  return { type: "int32", shape, data: Int32Array.from(values) };
}

export function bools(values: readonly boolean[], shape: readonly number[] = [values.length]): Tensor {
  return { type: "bool", shape, data: Uint8Array.from(values, Number) };
}

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

const text = (value: string): RawAttribute => ({ s: Buffer.from(value).toString("base64") });
const list = (values: readonly number[]): RawAttribute => ({ list: { i: values.map(String) } });
const type = (value: Type): RawAttribute => ({ type: TYPES[value] });

/** Attributes as a GraphDef has them. */
export const attr = {
  text,
  list,
  type,
  int: (value: number): RawAttribute => ({ i: String(value) }),
  float: (value: number): RawAttribute => ({ f: value }),
  bool: (value: boolean): RawAttribute => ({ b: value }),
  texts: (values: readonly string[]): RawAttribute => ({
    list: { s: values.map((value) => Buffer.from(value).toString("base64")) },
  }),
};

/** The operators of the ONNX graph that a case becomes, in their order; without those that hand the outputs on. */
export function operatorsOf(given: GraphCase): readonly string[] {
  const { graph } = fromBinary(ModelProtoSchema, compileGraphModel(modelOf(given).files).model);
  return (graph?.node ?? []).map((node) => node.opType).filter((op) => op !== "Identity");
}

/** Expects the compiled node to give what TF.js gives, in type, shape and elements. */
export async function expectSame(given: GraphCase): Promise<void> {
  await expectSameModel(modelOf(given), given.tolerance);
}

/** Expects a whole compiled graph to give what TF.js gives. */
export async function expectSameModel({ files, feeds, outputs }: Model, tolerance = 1e-5): Promise<void> {
  const wanted = await runTfjs(files, feeds, outputs);
  const compiled = compileGraphModel(files);
  const got = await runOnnx(compiled, feeds, outputs);
  for (const [i, expected] of wanted.entries()) {
    const actual = got[i];
    expect({ type: actual?.type, shape: actual?.shape }).toEqual({
      type: expected.type,
      shape: expected.shape,
    });
    expectClose(actual?.data ?? [], expected.data, tolerance);
  }
  // What was foretold of the shapes has to be what came.
  for (const { name, value } of compiled.outputs) {
    const shape = got[outputs.indexOf(name)]?.shape;
    if (shape) expect(shape).toEqual(value.shape.map((length, axis) => length ?? shape[axis]));
  }
}

export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  let worst = { error: 0, index: -1 };
  for (let index = 0; index < expected.length; index++) {
    const [a, b] = [actual[index] ?? Number.NaN, expected[index] ?? Number.NaN];
    const error = Object.is(a, b) || a === b ? 0 : Math.abs(a - b) / Math.max(1, Math.abs(b));
    if (!(error <= worst.error)) worst = { error, index };
  }
  const { index } = worst;
  expect(worst.error, `element ${index}: ${actual[index]} for ${expected[index]}`).toBeLessThanOrEqual(
    tolerance,
  );
  expect(actual.length).toBe(expected.length);
}

export interface Model {
  readonly files: ModelFiles;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly outputs: readonly string[];
}

export function modelOf(given: GraphCase): Model {
  const { op, attr: attributes = {}, inputs, weights = [], convolved = [], open = "first" } = given;
  const node: object[] = [];
  const specs: ModelFiles["specs"][number][] = [];
  const parts: Uint8Array[] = [];
  const feeds: Record<string, Tensor> = {};
  const addWeight = (name: string, { type: kind, shape, data }: Tensor): void => {
    node.push({ name, op: "Const", attr: { dtype: type(kind), value: { tensor: { dtype: TYPES[kind] } } } });
    specs.push({ name, shape: [...shape], dtype: kind });
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  };
  const input = inputs.map((tensor, i) => {
    const name = `input${i}`;
    if (weights.includes(i)) {
      addWeight(name, tensor);
      return name;
    }
    const sizes = tensor.shape.map((length, axis) =>
      open === "all" || (open === "first" && axis === 0) ? -1 : length,
    );
    const dim = sizes.map((length) => ({ size: String(length) }));
    node.push({ name, op: "Placeholder", attr: { dtype: type(tensor.type), shape: { shape: { dim } } } });
    feeds[name] = tensor;
    if (!convolved.includes(i)) return name;
    const channels = tensor.shape.at(-1) ?? 1;
    addWeight(`filter${i}`, floats([1, 1, channels, channels], 77 + i));
    node.push({
      name: `convolved${i}`,
      op: "Conv2D",
      input: [name, `filter${i}`],
      attr: {
        T: type("float32"),
        strides: list([1, 1, 1, 1]),
        dilations: list([1, 1, 1, 1]),
        padding: text("VALID"),
      },
    });
    return `convolved${i}`;
  });
  for (const between of given.nodes ?? []) node.push({ attr: {}, ...between });
  node.push({ name: "result", op, input: given.input ?? input, attr: attributes });
  const outputs = Array.from({ length: given.outputs ?? 1 }, (_, i) => `out${i}`);
  // Each output by an Identity: TF.js takes only the first one of a node for a model's output.
  for (const [i, name] of outputs.entries())
    node.push({ name, op: "Identity", input: [i === 0 ? "result" : `result:${i}`], attr: {} });
  const data = Buffer.concat(parts);
  const files: ModelFiles = {
    model: { modelTopology: { node, versions: { producer: 1 } }, format: "graph-model", weightsManifest: [] },
    specs,
    data: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer,
  };
  return { files, feeds, outputs };
}

async function runTfjs(
  { model, specs, data }: ModelFiles,
  feeds: Readonly<Record<string, Tensor>>,
  outputs: readonly string[],
): Promise<Tensor[]> {
  await tf.setBackend("cpu");
  const loaded = await loadGraphModel({
    load: async () => ({
      modelTopology: structuredClone(model.modelTopology),
      weightSpecs: [...specs],
      weightData: data,
      format: "graph-model",
    }),
  });
  const inputs = Object.fromEntries(
    Object.entries(feeds).map(([name, { type: kind, shape, data: values }]) => [
      name,
      tf.tensor(values, [...shape], kind),
    ]),
  );
  const results = await execute(loaded, inputs, outputs);
  const tensors = results.map(
    (result): Tensor => ({ type: result.dtype as Type, shape: result.shape, data: result.dataSync() }),
  );
  tf.dispose([results, inputs]);
  loaded.dispose();
  return tensors;
}

/** Nodes whose output shapes depend on values run in TF.js's other way only. */
async function execute(
  model: GraphModel,
  inputs: Record<string, tf.Tensor>,
  outputs: readonly string[],
): Promise<tf.Tensor[]> {
  try {
    return [model.execute(inputs, [...outputs])].flat();
  } catch (error) {
    if (!String(error).includes("executeAsync")) throw error;
    return [await model.executeAsync(inputs, [...outputs])].flat();
  }
}

export async function runOnnx(
  { model }: Compiled,
  feeds: Readonly<Record<string, Tensor>>,
  outputs: readonly string[],
): Promise<Tensor[]> {
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  const inputs = Object.fromEntries(
    Object.entries(feeds).map(([name, { type: kind, shape, data }]) => [
      name,
      new ort.Tensor(kind, data, shape),
    ]),
  );
  const results = await session.run(inputs);
  await session.release();
  return outputs.map((name) => {
    const { type: kind, dims, data } = results[name] as ort.TypedTensor<Type>;
    return { type: kind, shape: dims, data: data as Tensor["data"] };
  });
}
