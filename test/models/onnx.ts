/** Writes ONNX models for tests: a graph in the messages of the format, and the folder that it is served from. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  type FunctionProto,
  FunctionProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type SparseTensorProto,
  SparseTensorProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../../gen/onnx/onnx_pb.ts";

export interface GraphInit {
  readonly input?: readonly ValueInfoProto[];
  readonly output?: readonly ValueInfoProto[];
  readonly initializer?: readonly TensorProto[];
  readonly sparseInitializer?: readonly SparseTensorProto[];
  readonly node?: readonly NodeProto[];
}

const graphOf = (name: string, { input, output, initializer, sparseInitializer, node: nodes }: GraphInit) =>
  create(GraphProtoSchema, {
    name,
    input: [...(input ?? [])],
    output: [...(output ?? [])],
    initializer: [...(initializer ?? [])],
    sparseInitializer: [...(sparseInitializer ?? [])],
    node: [...(nodes ?? [])],
  });

export interface ModelOptions {
  /** Version of ONNX's own operators; default 19. */
  readonly opset?: bigint;
  /** Other sets of operators that the model speaks of. */
  readonly domains?: readonly string[];
  readonly functions?: readonly FunctionProto[];
}

/** A ModelProto of this graph. */
export function onnxModel(graph: GraphInit, options: ModelOptions = {}): Uint8Array<ArrayBuffer> {
  const { opset = 19n, domains = [], functions = [] } = options;
  const own = { domain: "", version: opset };
  const model = create(ModelProtoSchema, {
    irVersion: 9n,
    opsetImport: [own, ...domains.map((domain) => ({ domain, version: 1n }))],
    graph: graphOf("graph", graph),
    functions: [...functions],
  });
  return toBinary(ModelProtoSchema, model);
}

/** A function of the input `a` and the output `b`. */
export const functionOf = (domain: string, name: string, nodes: readonly NodeProto[]) =>
  create(FunctionProtoSchema, {
    domain,
    name,
    input: ["a"],
    output: ["b"],
    node: [...nodes],
    opsetImport: [
      { domain: "", version: 19n },
      { domain, version: 1n },
    ],
  });

/** One element that is not zero, in a tensor of that size. */
export const sparse = (name: string, dims: readonly number[]) =>
  create(SparseTensorProtoSchema, {
    values: tensor(name, Float32Array.of(1), [1]),
    indices: int64s("", [0]),
    dims: dims.map(BigInt),
  });

export async function writeOnnx(
  folder: string,
  model: Uint8Array,
  manifest: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "model.onnx"), model);
  await writeFile(join(folder, "auspex.json"), JSON.stringify({ task: "tensor", ...manifest }));
}

/** A size, or the name of a free one. */
export type Dim = number | bigint | string;

/** What a graph takes or gives; no shape at all where none is given. */
export const info = (name: string, elemType: DataType, shape?: readonly Dim[]) =>
  create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: "tensorType",
        value: {
          elemType,
          ...(shape && {
            shape: {
              dim: shape.map((size) => ({
                value:
                  typeof size === "string"
                    ? { case: "dimParam" as const, value: size }
                    : { case: "dimValue" as const, value: BigInt(size) },
              })),
            },
          }),
        },
      },
    },
  });

/** An attribute by the form of its value; whole numbers as bigint, floats as number. */
export type AttributeValue =
  | bigint
  | number
  | readonly bigint[]
  | GraphInit
  | { readonly tensor: TensorProto };

export const node = (
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
  domain = "",
) =>
  create(NodeProtoSchema, {
    opType,
    domain,
    name: output[0] ?? "",
    input: [...input],
    output: [...output],
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  });

function attribute(name: string, value: AttributeValue) {
  if (typeof value === "bigint")
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: value });
  if (typeof value === "number")
    return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value });
  if (Array.isArray(value))
    return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: [...value] });
  if ("tensor" in value)
    return create(AttributeProtoSchema, { name, type: AttributeType.TENSOR, t: value.tensor });
  return create(AttributeProtoSchema, {
    name,
    type: AttributeType.GRAPH,
    g: graphOf(name, value as GraphInit),
  });
}

type Numbers = Float32Array | Int32Array | BigInt64Array | Uint8Array;

/** A constant; the shape need not be that of its elements. */
export const tensor = (
  name: string,
  data: Numbers,
  dims: readonly (number | bigint)[],
  dataType?: DataType,
) =>
  create(TensorProtoSchema, {
    name,
    dataType: dataType ?? typeOf(data),
    dims: dims.map(BigInt),
    rawData: new Uint8Array(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  });

function typeOf(data: Numbers): DataType {
  if (data instanceof Float32Array) return DataType.FLOAT;
  if (data instanceof Int32Array) return DataType.INT32;
  return data instanceof BigInt64Array ? DataType.INT64 : DataType.UINT8;
}

export const int64s = (name: string, values: readonly (number | bigint)[], isScalar = false) =>
  tensor(name, BigInt64Array.from(values, BigInt), isScalar ? [] : [values.length]);

/** `y = x + 1` for rows of four floats. */
export const plusOne: GraphInit = {
  input: [info("x", DataType.FLOAT, ["rows", 4])],
  output: [info("y", DataType.FLOAT, ["rows", 4])],
  initializer: [tensor("one", Float32Array.of(1), [])],
  node: [node("Add", ["x", "one"], ["y"])],
};

/**
 * Runs as long as it is told to: counts `rounds` up to y, in a loop inside ONNX Runtime. `rounds` 0, which is what the
 * warm-up gives, ends at once; a million take some seconds.
 */
export const counter: GraphInit = {
  input: [info("rounds", DataType.INT64, [1])],
  output: [info("y", DataType.FLOAT, [1])],
  initializer: [tensor("zero", Float32Array.of(0), [1]), tensor("yes", Uint8Array.of(1), [], DataType.BOOL)],
  node: [
    node("Loop", ["rounds", "yes", "zero"], ["y"], {
      body: {
        input: [
          info("i", DataType.INT64, []),
          info("go", DataType.BOOL, []),
          info("sum", DataType.FLOAT, [1]),
        ],
        output: [info("go_on", DataType.BOOL, []), info("more", DataType.FLOAT, [1])],
        initializer: [tensor("one", Float32Array.of(1), [1])],
        node: [node("Identity", ["go"], ["go_on"]), node("Add", ["sum", "one"], ["more"])],
      },
    }),
  ],
};

/** The graph with its first constant in a file of its own, `offset` bytes from the file's beginning. */
export function withExternalData(
  graph: GraphInit,
  location: string,
  offset: number,
): { readonly model: Uint8Array<ArrayBuffer>; readonly data: Uint8Array } {
  const [first, ...rest] = graph.initializer ?? [];
  const bytes = first?.rawData ?? new Uint8Array();
  const place = { location, offset: String(offset), length: String(bytes.length) };
  const moved = create(TensorProtoSchema, {
    name: first?.name ?? "",
    dataType: first?.dataType ?? 0,
    dims: first?.dims ?? [],
    dataLocation: DataLocation.EXTERNAL,
    externalData: Object.entries(place).map(([key, value]) => ({ key, value })),
  });
  const data = new Uint8Array(offset + bytes.length);
  data.set(bytes, offset);
  return { model: onnxModel({ ...graph, initializer: [moved, ...rest] }), data };
}
