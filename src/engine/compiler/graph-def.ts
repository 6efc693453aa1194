/**
 * TensorFlow's GraphDef as TF.js's converter writes it into `model.json`: nodes with named attributes, in which whole
 * numbers are texts and texts are base64 (the JSON form of protobuf).
 */
import { axisOf, type ElementType, NotCovered, type Shape } from "./value.ts";

/** A node that compiles as a call of an operator. */
export interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly Port[];
  readonly attributes: AttributeReader;
  /** What a node repeats that stands for a whole loop. */
  readonly loop?: Loop;
}

/** The inputs of a loop's node are the first values of its variables, then whatever else its body takes. */
export interface Loop {
  readonly variables: readonly LoopVariable[];
  /** Whether there is another round, computed from the variables. */
  readonly condition: Port;
}

export interface LoopVariable {
  /** The node that stands for the variable's value where the condition is computed. */
  readonly merge: string;
  /** The node whose output 1 is the variable's value in the body. */
  readonly switch: string | undefined;
  /** What it becomes for the next round. */
  readonly next: Port;
}

/** One output of a node. */
export interface Port {
  readonly node: string;
  readonly output: number;
}

/** A graph with its nodes in an order in which every input comes before it is used. */
export interface GraphDef {
  readonly nodes: ReadonlyMap<string, GraphNode>;
}

/** Attributes by name; a missing one is the default that is given, or a fault of the model. */
export interface AttributeReader {
  has(name: string): boolean;
  int(name: string, fallback?: number): number;
  float(name: string, fallback?: number): number;
  bool(name: string, fallback?: boolean): boolean;
  text(name: string, fallback?: string): string;
  ints(name: string, fallback?: readonly number[]): readonly number[];
  texts(name: string, fallback?: readonly string[]): readonly string[];
  type(name: string, fallback?: ElementType): ElementType;
  shape(name: string): Shape | undefined;
}

/** More than any published model has by a factor of ten; what a compiler would chew on for minutes is refused. */
export const NODES_MAX = 50_000;

/** @throws Error with a sentence when the text is no GraphDef */
export function readGraphDef(topology: unknown): GraphDef {
  if (!isRecord(topology) || !Array.isArray(topology.node)) throw new Error("the graph has no list of nodes");
  if (topology.node.length > NODES_MAX)
    throw new Error(`the graph has ${topology.node.length} nodes, and at most ${NODES_MAX} are compiled`);
  const nodes = new Map<string, GraphNode>();
  for (const item of topology.node) {
    const node = readNode(item);
    if (nodes.has(node.name)) throw new Error(`the graph has two nodes ${node.name}`);
    nodes.set(node.name, node);
  }
  return { nodes };
}

/**
 * The nodes that the given ones need, and they themselves, inputs first; without those that are there already.
 * @throws Error naming a node in a cycle, or one that is not there
 */
export function inOrder(
  graph: GraphDef,
  wanted: readonly string[],
  isThere: (name: string) => boolean = () => false,
): readonly GraphNode[] {
  const order: GraphNode[] = [];
  const state = new Map<string, "open" | "done">();
  // A stack of our own: a chain of 50,000 nodes is deeper than the engine's.
  const stack: string[] = wanted.filter((name) => !isThere(name)).reverse();
  for (let name = stack.at(-1); name !== undefined; name = stack.at(-1)) {
    const node = graph.nodes.get(name);
    if (!node) throw new Error(`the graph has no node ${name}`);
    if (state.get(name) === undefined) {
      state.set(name, "open");
      for (const { node: input } of node.inputs.toReversed()) {
        if (state.get(input) === "open") throw new Error(`the node ${input} depends on itself`);
        if (state.get(input) === undefined && !isThere(input)) stack.push(input);
      }
      continue;
    }
    stack.pop();
    if (state.get(name) === "done") continue;
    state.set(name, "done");
    order.push(node);
  }
  return order;
}

/** `name`, or `name:1` for an output that is not the first. */
export function readPort(text: string): Port {
  const match = /^(.*?)(?::(\d{1,6}))?$/.exec(text);
  // Inside a function the output has a name: `node:output:0`.
  const [node = "", ...rest] = (match?.[1] ?? text).split(":");
  if (rest.length > 1) throw new Error(`${text} names no output of a node`);
  return { node, output: Number(match?.[2] ?? 0) };
}

function readNode(item: unknown): GraphNode {
  if (!isRecord(item) || typeof item.name !== "string" || typeof item.op !== "string")
    throw new Error("the graph has a node without a name or an operator");
  const { name, op, input = [], attr = {} } = item;
  if (!Array.isArray(input) || !input.every((text) => typeof text === "string") || !isRecord(attr))
    throw new Error(`the node ${name} has inputs or attributes of a wrong form`);
  // `^name` only orders the two nodes, which matters to operators with side effects alone.
  const inputs = input.filter((text) => !text.startsWith("^")).map(readPort);
  return { name, op, inputs, attributes: attributeReader(name, attr) };
}

/**
 * DataType in TensorFlow's types.proto, by name without its prefix (some converters leave its underscore out) and by
 * number; what predictions cannot carry is left out.
 */
const TYPES: Readonly<Record<string, ElementType>> = {
  FLOAT: "float32",
  1: "float32",
  INT32: "int32",
  3: "int32",
  // TF.js has neither, and holds both as int32.
  UINT8: "int32",
  4: "int32",
  INT64: "int32",
  9: "int32",
  BOOL: "bool",
  10: "bool",
};

function attributeReader(node: string, raw: Readonly<Record<string, unknown>>): AttributeReader {
  const at = (name: string): Readonly<Record<string, unknown>> | undefined => {
    const value = raw[name];
    return isRecord(value) ? value : undefined;
  };
  /** The fallback stands for a missing attribute; a present one must have the form. */
  function read<T>(name: string, fallback: T | undefined, decode: (value: Record<string, unknown>) => T): T {
    const value = at(name);
    if (value) {
      try {
        return decode(value);
      } catch (error) {
        const message = `the attribute ${name} of the node ${node} ${messageOf(error)}`;
        throw error instanceof NotCovered ? new NotCovered(message) : new Error(message);
      }
    }
    if (fallback === undefined) throw new Error(`the node ${node} has no attribute ${name}`);
    return fallback;
  }
  const list = (value: Record<string, unknown>, key: string): readonly unknown[] => {
    const items = isRecord(value.list) ? (value.list[key] ?? []) : [];
    if (!Array.isArray(items)) throw new Error("is not a list");
    return items;
  };
  return {
    has: (name) => at(name) !== undefined,
    // protobuf's JSON leaves zeros out.
    int: (name, fallback) => read(name, fallback, ({ i = 0 }) => toInt(i)),
    float: (name, fallback) => read(name, fallback, ({ f = 0 }) => toFloat(f)),
    bool: (name, fallback) => read(name, fallback, ({ b = false }) => b === true),
    text: (name, fallback) => read(name, fallback, ({ s = "" }) => toText(s)),
    ints: (name, fallback) => read(name, fallback, (value) => list(value, "i").map(toInt)),
    texts: (name, fallback) => read(name, fallback, (value) => list(value, "s").map(toText)),
    type: (name, fallback) =>
      read(name, fallback, ({ type }) => {
        const name = String(type).replace(/^DT_?/, "");
        const known = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
        if (!known) throw new NotCovered(`is of the type ${String(type)}`);
        return known;
      }),
    shape: (name) => {
      const value = at(name)?.shape;
      return isRecord(value) && value.unknownRank !== true ? toShape(value) : undefined;
    },
  };
}

function toShape(value: Record<string, unknown>): Shape {
  const dims = value.dim ?? [];
  if (!Array.isArray(dims)) throw new Error("a shape is a list of sizes");
  return dims.map((dim: unknown) => {
    const size = toInt(isRecord(dim) ? (dim.size ?? 0) : 0);
    return size < 0 ? null : size;
  });
}

function toInt(value: unknown): number {
  const number = typeof value === "string" || typeof value === "number" ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw new Error("is not a whole number");
  return number;
}

function toFloat(value: unknown): number {
  if (typeof value !== "string" && typeof value !== "number") throw new Error("is not a number");
  return Number(value);
}

/** base64, or the bytes as a list in models of TF.js's first converters. */
function toText(value: unknown): string {
  if (typeof value === "string") return Buffer.from(value, "base64").toString("utf8");
  if (Array.isArray(value)) return Buffer.from(value.map(toInt)).toString("utf8");
  throw new Error("is not a text");
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Axes in the form in which attributes and inputs give them. */
export function axesOf(axes: readonly number[], rank: number): readonly number[] {
  return axes.map((axis) => axisOf(axis, rank));
}
