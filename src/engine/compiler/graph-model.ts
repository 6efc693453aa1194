/** Compiles a TF.js graph model: its GraphDef, node by node, each by the operator of that name. */
import type { ModelFiles } from "../worker/weights.ts";
import { type Compiled, EMBEDDING_OUTPUT, type Named } from "./compiled.ts";
import { createGraph, type Graph } from "./graph.ts";
import {
  type GraphDef,
  type GraphNode,
  inOrder,
  isRecord,
  type Port,
  readGraphDef,
  readPort,
} from "./graph-def.ts";
import { compileLoop } from "./loop.ts";
import { withLoops } from "./loop-frames.ts";
import { OPERATORS } from "./operators/operators.ts";
import { NotCovered, type Value } from "./value.ts";
import { readWeights, type Weights } from "./weight-values.ts";

/** A name that the model's callers use, and the output of a node that it stands for. */
interface Edge {
  readonly name: string;
  readonly port: Port;
}

/**
 * @param embedding name of the node whose output becomes `Compiled.embedding`; null for none
 * @throws NotCovered naming the operators; Error when the model is at fault
 */
export function compileGraphModel(files: ModelFiles, embedding: string | null = null): Compiled {
  const definition = readGraphDef(files.model.modelTopology);
  const { inputs, outputs } = edgesOf(definition, files.model.signature);
  const context: Context = {
    definition: withLoops(definition),
    weights: readWeights(files),
    inputNames: new Map(inputs.map(({ name, port }) => [port.node, name])),
  };
  const ports = (edges: readonly Edge[]) => edges.map((edge) => edge.port);
  const embedded = embeddingEdge(context, embedding);
  refuseUncovered(definition, context, ports([...outputs, ...embedded]));
  const graph = createGraph("graph-model", namesOf(inputs, [...outputs, ...embedded]));
  const wanted = ports([...inputs, ...outputs, ...embedded]);
  const values = compileNodes(context, { graph, values: new Map() }, wanted);
  const named = (edges: readonly Edge[], from: number): readonly Named[] =>
    edges.map(({ name }, i) => ({ name, value: values[from + i] as Value }));
  const results = named(outputs, inputs.length);
  const [extra] = named(embedded, inputs.length + outputs.length);
  for (const { name, value } of extra ? [...results, extra] : results) graph.output(name, value);
  return { inputs: named(inputs, 0), outputs: results, embedding: extra, model: graph.finish() };
}

/** Nothing when there is no such node, or only inside a loop. */
function embeddingEdge({ definition }: Context, embedding: string | null): readonly Edge[] {
  if (embedding === null) return [];
  // A node may have a name that is no port's.
  const port = definition.nodes.has(embedding) ? { node: embedding, output: 0 } : readPort(embedding);
  return definition.nodes.has(port.node) ? [{ name: EMBEDDING_OUTPUT, port }] : [];
}

/** @throws NotCovered when two inputs or outputs could not be told apart */
function namesOf(inputs: readonly Edge[], outputs: readonly Edge[]): readonly string[] {
  const names = [...inputs, ...outputs].map(({ name }) => name);
  if (new Set(names).size < names.length) throw new NotCovered("inputs and outputs of the same name");
  if (new Set(inputs.map(({ port }) => port.node)).size < inputs.length)
    throw new NotCovered("an input of two names");
  return names;
}

interface Context {
  readonly definition: GraphDef;
  readonly weights: Weights;
  /** Nodes that the callers give the values of, and the names by which they do. */
  readonly inputNames: ReadonlyMap<string, string>;
}

/** A graph that is written, and the outputs of the nodes that are in it; or in the one around it. */
interface Scope {
  readonly graph: Graph;
  readonly values: Map<string, readonly Value[]>;
  readonly outer?: Scope;
}

function find(scope: Scope, node: string): readonly Value[] | undefined {
  return scope.values.get(node) ?? (scope.outer && find(scope.outer, node));
}

/** Adds the nodes that the ports need, as far as they are not there, to the scope's graph. */
function compileNodes(context: Context, scope: Scope, wanted: readonly Port[]): readonly Value[] {
  const valueAt = ({ node, output }: Port): Value => {
    const value = find(scope, node)?.[output];
    if (!value) throw new Error(`the node ${node} has no output ${output}`);
    return value;
  };
  const names = wanted.map((port) => port.node);
  for (const node of inOrder(context.definition, names, (name) => find(scope, name) !== undefined)) {
    scope.graph.at(node.name);
    try {
      scope.values.set(node.name, compileNode(context, scope, node, valueAt));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      // A loop's fault was named by the node inside it.
      const text = node.loop ? message : `${message} (node ${node.name})`;
      throw error instanceof NotCovered ? new NotCovered(text) : new Error(text);
    }
  }
  return wanted.map(valueAt);
}

/** Operators that only hand their inputs on. */
const PASS = new Set(["Identity", "IdentityN", "StopGradient", "Snapshot"]);

const isCovered = (op: string): boolean =>
  Object.hasOwn(OPERATORS, op) || PASS.has(op) || op === "Const" || op.startsWith("Placeholder");

/** What loops are drawn with; they are one node by the time they compile. */
const OF_LOOPS = new Set(["Enter", "Merge", "Switch", "LoopCond", "NextIteration", "Exit"]);

/** Names all missing operators at once: whoever wants to add them learns which. */
function refuseUncovered(definition: GraphDef, { inputNames }: Context, outputs: readonly Port[]): void {
  const seen = new Set<string>();
  const missing = new Set<string>();
  const waiting = outputs.map((port) => port.node);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const node = definition.nodes.get(name);
    if (!node || seen.has(name)) continue;
    seen.add(name);
    if (!isCovered(node.op) && !OF_LOOPS.has(node.op) && !inputNames.has(name)) missing.add(node.op);
    waiting.push(...node.inputs.map((input) => input.node));
  }
  if (missing.size > 0)
    throw new NotCovered(`the operator${missing.size > 1 ? "s" : ""} ${[...missing].join(", ")}`);
}

function compileNode(
  context: Context,
  scope: Scope,
  node: GraphNode,
  valueAt: (port: Port) => Value,
): readonly Value[] {
  const { name, op, attributes } = node;
  const inputName = context.inputNames.get(name);
  if (inputName !== undefined) {
    const shape = attributes.shape("shape");
    if (!shape) throw new NotCovered("an input without a declared shape");
    return [scope.graph.input(inputName, attributes.type("dtype", "float32"), shape)];
  }
  if (op === "Const") {
    const weight = context.weights(name);
    if (!weight) throw new Error("there is no weight of that name");
    return [scope.graph.constant(weight.type, weight.shape, weight.data)];
  }
  const inputs = node.inputs.map(valueAt);
  if (node.loop) {
    return compileLoop(scope.graph, node.loop, inputs, (graph, given, wanted) =>
      compileNodes(context, { graph, values: new Map(given), outer: scope }, wanted),
    );
  }
  if (PASS.has(op) || op === "PlaceholderWithDefault")
    return op === "IdentityN" ? inputs : inputs.slice(0, 1);
  const operator = isCovered(op) ? OPERATORS[op] : undefined;
  if (!operator) throw new NotCovered(`the operator ${op}`);
  return [operator(scope.graph, { op, inputs, attributes })].flat();
}

/**
 * What goes in and out, under the names and in the order that TF.js gives them: the signature's keys, or else the
 * placeholders and the nodes that nothing follows.
 */
function edgesOf(
  definition: GraphDef,
  signature: unknown,
): { inputs: readonly Edge[]; outputs: readonly Edge[] } {
  const nodes = [...definition.nodes.values()];
  const named = (key: string): readonly Edge[] => {
    const entries = isRecord(signature) && isRecord(signature[key]) ? Object.entries(signature[key]) : [];
    return entries.flatMap(([name, entry]) => {
      const text = isRecord(entry) && typeof entry.name === "string" ? entry.name : "";
      const port = readPort(text);
      return definition.nodes.has(port.node) ? [{ name: plainName(name), port }] : [];
    });
  };
  const edge = ({ name }: GraphNode): Edge => ({ name, port: { node: name, output: 0 } });
  const followed = new Set(nodes.flatMap((node) => node.inputs.map((input) => input.node)));
  const inputs = named("inputs");
  const outputs = named("outputs");
  return {
    inputs: inputs.length > 0 ? inputs : nodes.filter(({ op }) => op.startsWith("Placeholder")).map(edge),
    outputs: outputs.length > 0 ? outputs : nodes.filter(({ name }) => !followed.has(name)).map(edge),
  };
}

/** `images:0` is the first output of the node `images`: the part that is always the same is left out. */
function plainName(name: string): string {
  return name.replace(/:0$/, "");
}
