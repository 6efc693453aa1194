/**
 * An ONNX graph while it is written: values come in, nodes are added, and what the outputs need becomes a model.
 * Transposes are made only where a node needs the other layout, once for each value; constants are transposed here.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../../../gen/onnx/onnx_pb.ts";
import {
  type Elements,
  type ElementType,
  inMemory,
  isStatic,
  type Layout,
  type Shape,
  sizeOf,
  toFirst,
  toLast,
  transposeElements,
  type Value,
} from "./value.ts";

/** ONNX 1.14's operators: what the compiler writes is written for these. */
const OPSET = 19n;
const IR_VERSION = 9n;

export const DATA_TYPES: Readonly<Record<ElementType, DataType>> = {
  float32: DataType.FLOAT,
  int32: DataType.INT32,
  int64: DataType.INT64,
  bool: DataType.BOOL,
};

/** Whole numbers are ints unless `{ float }` says otherwise. */
export type Attribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly body: GraphProto };
export type Attributes = Readonly<Record<string, Attribute | undefined>>;

/** What a node gives. */
export interface Result {
  readonly type: ElementType;
  readonly shape: Shape;
  /** `channels-last` if not said. */
  readonly layout?: Layout;
  readonly known?: readonly (number | null)[] | undefined;
}

export interface Producer {
  readonly op: string;
  readonly inputs: readonly (Value | undefined)[];
}

export interface Graph {
  input(name: string, type: ElementType, shape: Shape): Value;
  constant(type: ElementType, shape: readonly number[], data: Elements): Value;
  /** A vector of int64, as ONNX wants its shapes and axes. */
  integers(values: readonly number[]): Value;
  scalar(value: number, type?: ElementType): Value;
  /** Adds a node with one output; `undefined` leaves an optional input out. */
  node(op: string, inputs: readonly (Value | undefined)[], result: Result, attributes?: Attributes): Value;
  /** Adds a node with several outputs. */
  nodes(
    op: string,
    inputs: readonly (Value | undefined)[],
    results: readonly Result[],
    attributes?: Attributes,
  ): Value[];
  /** The value in memory as TF.js has it. */
  channelsLast(value: Value): Value;
  /** The value, of rank 3 or more, in memory as ONNX convolves it. */
  channelsFirst(value: Value): Value;
  /** The value with its axes in another order; a constant is reordered at once. */
  transpose(value: Value, order: readonly number[]): Value;
  /** The node that a value comes from; undefined for inputs and constants. */
  producer(value: Value): Producer | undefined;
  output(name: string, value: Value): void;
  /** A graph inside a node of this one, such as the body of a loop. It may use this one's values. */
  inner(): Graph;
  /** The value's origin in the TF.js model, for the names of the nodes that follow. */
  at(origin: string): void;
  /** The whole as the attribute of a node. */
  asBody(): GraphProto;
  /** The whole as a serialized ModelProto. */
  finish(): Uint8Array<ArrayBuffer>;
}

/** What a graph shares with the graphs inside it: names are unique, and constants stand outside. */
interface Shared {
  /** Names that the model gives its inputs and outputs. */
  readonly taken: ReadonlySet<string>;
  readonly constants: Map<string, TensorProto>;
  readonly vectors: Map<string, Value>;
  readonly producers: Map<Value, Producer>;
  count: number;
}

/** @param taken the names of the inputs and outputs, which no value within may have */
export function createGraph(name: string, taken: readonly string[]): Graph {
  return graphWithin(
    name,
    { taken: new Set(taken), constants: new Map(), vectors: new Map(), producers: new Map(), count: 0 },
    () => undefined,
  );
}

/** @param outerLayout what the graph outside has laid out anew already */
function graphWithin(name: string, shared: Shared, outerLayout: (value: Value) => Value | undefined): Graph {
  const { constants, vectors } = shared;
  const nodes: NodeProto[] = [];
  const otherLayout = new Map<Value, Value>();
  const inputs: ValueInfoProto[] = [];
  const outputs: ValueInfoProto[] = [];
  let origin = "";

  // ONNX has one space of names: an input named as a constant would be another value for that constant.
  function fresh(): string {
    for (;;) {
      const free = `v${shared.count++}`;
      if (!shared.taken.has(free)) return free;
    }
  }
  const laidOut = (value: Value): Value | undefined => otherLayout.get(value) ?? outerLayout(value);

  function constant(type: ElementType, shape: readonly number[], data: Elements): Value {
    if (data.length !== sizeOf(shape))
      throw new Error(`a constant of shape [${shape}] has ${data.length} elements`);
    const value: Value = { name: fresh(), type, shape, layout: "channels-last", constant: data };
    constants.set(value.name, tensorOf(value.name, type, shape, data));
    return value;
  }

  function memoized(key: string, make: () => Value): Value {
    const value = vectors.get(key) ?? make();
    vectors.set(key, value);
    return value;
  }

  function addNodes(
    op: string,
    from: readonly (Value | undefined)[],
    results: readonly Result[],
    attributes: Attributes = {},
  ): Value[] {
    const values = results.map(
      ({ type, shape, layout = "channels-last", known }): Value => ({
        name: fresh(),
        type,
        shape,
        layout,
        ...(known && { known }),
      }),
    );
    for (const value of values) shared.producers.set(value, { op, inputs: from });
    nodes.push(
      create(NodeProtoSchema, {
        opType: op,
        name: `${origin}:${nodes.length}`,
        // Names that are empty at the end are left out: ONNX Runtime fuses no node that has them.
        input: from.slice(0, from.findLastIndex(Boolean) + 1).map((value) => value?.name ?? ""),
        output: values.map((value) => value.name),
        attribute: Object.entries(attributes).flatMap(([key, value]) =>
          value === undefined ? [] : [attributeOf(key, value)],
        ),
      }),
    );
    return values;
  }

  function addNode(
    op: string,
    from: readonly (Value | undefined)[],
    result: Result,
    attributes?: Attributes,
  ): Value {
    const [value] = addNodes(op, from, [result], attributes);
    if (!value) throw new Error("a node has an output");
    return value;
  }

  function transpose(value: Value, order: readonly number[]): Value {
    if (order.every((from, to) => from === to)) return value;
    const last = channelsLast(value);
    if (last.constant && isStatic(last.shape)) {
      const data = transposeElements(last.constant, last.shape, order);
      return constant(
        last.type,
        order.map((from) => Number(last.shape[from])),
        data,
      );
    }
    const shape = order.map((from) => last.shape[from] ?? null);
    return addNode("Transpose", [last], { type: last.type, shape }, { perm: order });
  }

  function relaid(value: Value, layout: Layout): Value {
    if (value.layout === layout) return value;
    const found = laidOut(value);
    if (found) return found;
    const rank = value.shape.length;
    const order = layout === "channels-first" ? toFirst(rank) : toLast(rank);
    const made = value.constant
      ? { ...transpose(value, order), shape: value.shape, layout }
      : addNode("Transpose", [value], { type: value.type, shape: value.shape, layout }, { perm: order });
    otherLayout.set(value, made).set(made, value);
    return made;
  }

  function channelsLast(value: Value): Value {
    return relaid(value, "channels-last");
  }

  return {
    constant,
    transpose,
    channelsLast,
    nodes: addNodes,
    node: addNode,
    channelsFirst: (value) => relaid(value, "channels-first"),
    producer: (value) => shared.producers.get(value),
    input(inputName, type, shape) {
      inputs.push(infoOf(inputName, type, shape));
      return { name: inputName, type, shape, layout: "channels-last" };
    },
    integers: (values) =>
      memoized(`[${values}]`, () =>
        constant(
          "int64",
          [values.length],
          BigInt64Array.from(values, (value) => BigInt(value)),
        ),
      ),
    scalar: (value, type = "float32") =>
      memoized(`${type} ${Object.is(value, -0) ? "-0" : value}`, () =>
        constant(type, [], elementsOf(type, [value])),
      ),
    output(outputName, value) {
      const last = channelsLast(value);
      // An output has a name of its own, though it may be an input, a constant, or another output too.
      nodes.push(create(NodeProtoSchema, { opType: "Identity", input: [last.name], output: [outputName] }));
      outputs.push(infoOf(outputName, last.type, last.shape));
    },
    at(text) {
      origin = text;
    },
    inner: () => graphWithin(`${name}.${shared.count++}`, shared, laidOut),
    asBody() {
      const graph = create(GraphProtoSchema, { name, input: inputs, output: outputs, node: nodes });
      prune(graph);
      return graph;
    },
    finish() {
      const graph = create(GraphProtoSchema, { name, input: inputs, output: outputs, node: nodes });
      const needed = prune(graph);
      graph.initializer = [...constants].flatMap(([key, tensor]) => (needed.has(key) ? [tensor] : []));
      return toBinary(
        ModelProtoSchema,
        create(ModelProtoSchema, {
          irVersion: IR_VERSION,
          producerName: "auspex",
          opsetImport: [{ domain: "", version: OPSET }],
          graph,
        }),
      );
    },
  };
}

/** Keeps the nodes that the outputs need. @returns the names that these need */
function prune(graph: GraphProto): ReadonlySet<string> {
  const needed = new Set(graph.output.map((output) => output.name));
  const kept: NodeProto[] = [];
  for (const node of graph.node.toReversed()) {
    if (!node.output.some((output) => needed.has(output))) continue;
    for (const input of inputsOf(node)) needed.add(input);
    kept.push(node);
  }
  graph.node = kept.reverse();
  return needed;
}

/** What a node takes, and what the graphs inside it take from outside. */
function inputsOf(node: NodeProto): readonly string[] {
  const bodies = node.attribute.flatMap(({ g }) => (g ? [g] : []));
  const within = bodies.flatMap((body) => [
    ...body.node.flatMap(inputsOf),
    ...body.output.map((output) => output.name),
  ]);
  return [...node.input, ...within];
}

function tensorOf(name: string, type: ElementType, shape: readonly number[], data: Elements): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: DATA_TYPES[type],
    dims: shape.map((size) => BigInt(size)),
    rawData: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
  });
}

/** A free size has a name of its own: sizes of one name would have to be the same in every run. */
function infoOf(name: string, type: ElementType, shape: Shape): ValueInfoProto {
  const dim = shape.map((size, axis) =>
    size === null
      ? { value: { case: "dimParam" as const, value: `${name}.${axis}` } }
      : { value: { case: "dimValue" as const, value: BigInt(size) } },
  );
  const value = { case: "tensorType" as const, value: { elemType: DATA_TYPES[type], shape: { dim } } };
  return create(ValueInfoProtoSchema, { name, type: { value } });
}

function attributeOf(name: string, value: Attribute): AttributeProto {
  if (typeof value === "number")
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) });
  if (typeof value === "string")
    return create(AttributeProtoSchema, {
      name,
      type: AttributeType.STRING,
      s: new TextEncoder().encode(value),
    });
  if ("float" in value)
    return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float });
  if ("body" in value)
    return create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g: value.body });
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map((i) => BigInt(i)) });
}

export function elementsOf(type: ElementType, values: readonly number[]): Elements {
  switch (type) {
    case "float32":
      return Float32Array.from(values);
    case "int32":
      return Int32Array.from(values);
    case "int64":
      return BigInt64Array.from(values, (value) => BigInt(value));
    case "bool":
      return Uint8Array.from(values, (value) => (value ? 1 : 0));
    default:
      return type satisfies never;
  }
}

/** The sizes of a value's axes as they lie in memory. */
export const memoryShape = (value: Value): Shape => inMemory(value.shape, value.layout);
