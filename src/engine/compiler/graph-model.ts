/** Compiles a TF.js graph model: its GraphDef, node by node, each by the operator of that name. */
import type { ModelFiles } from "../worker/weights.ts";
import type { Compiled } from "./compiled.ts";
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
import { OPERATORS } from "./operators/operators.ts";
import { NotCovered, type Value } from "./value.ts";
import { readWeights, type Weights } from "./weight-values.ts";

/** A name that the model's callers use, and the output of a node that it stands for. */
interface Edge {
  readonly name: string;
  readonly port: Port;
}

/** @throws NotCovered naming the operator; Error when the model is at fault */
export function compileGraphModel(files: ModelFiles): Compiled {
  const definition = readGraphDef(files.model.modelTopology);
  const { inputs, outputs } = edgesOf(definition, files.model.signature);
  const graph = createGraph("graph-model");
  const given = new Map(inputs.map(({ name, port }) => [port.node, name]));
  const order = inOrder(
    definition,
    [...inputs, ...outputs].map((edge) => edge.port.node),
  );
  // All of them at once: whoever wants to add operators learns which.
  const missing = new Set(order.flatMap(({ name, op }) => (isCovered(op) || given.has(name) ? [] : [op])));
  if (missing.size > 0)
    throw new NotCovered(`the operator${missing.size > 1 ? "s" : ""} ${[...missing].join(", ")}`);

  const weights = readWeights(files);
  const values = new Map<string, readonly Value[]>();
  const valueAt = ({ node, output }: Port): Value => {
    const value = values.get(node)?.[output];
    if (!value) throw new Error(`the node ${node} has no output ${output}`);
    return value;
  };
  for (const node of order) {
    graph.at(node.name);
    values.set(node.name, compileNode(graph, node, given.get(node.name), weights, valueAt));
  }
  const results = outputs.map(({ name, port }) => ({ name, value: valueAt(port) }));
  for (const { name, value } of results) graph.output(name, value);
  return {
    inputs: inputs.map(({ name, port }) => ({ name, value: valueAt(port) })),
    outputs: results,
    model: graph.finish(),
  };
}

/** Operators that only hand their input on. */
const PASS = new Set(["Identity", "StopGradient", "Snapshot", "PreventGradient", "CheckNumerics"]);

const isCovered = (op: string): boolean =>
  op in OPERATORS || PASS.has(op) || op === "Const" || op.startsWith("Placeholder");

function compileNode(
  graph: Graph,
  node: GraphNode,
  inputName: string | undefined,
  weights: Weights,
  valueAt: (port: Port) => Value,
): readonly Value[] {
  const { name, op, attributes } = node;
  try {
    if (inputName !== undefined) {
      const shape = attributes.shape("shape");
      if (!shape) throw new NotCovered("an input without a declared shape");
      return [graph.input(inputName, attributes.type("dtype", "float32"), shape)];
    }
    if (op === "Const") {
      const weight = weights(name);
      if (!weight) throw new Error("there is no weight of that name");
      return [graph.constant(weight.type, weight.shape, weight.data)];
    }
    const inputs = node.inputs.map(valueAt);
    if (PASS.has(op) || op === "PlaceholderWithDefault") return inputs.slice(0, 1);
    const operator = OPERATORS[op];
    if (!operator) throw new NotCovered(`the operator ${op}`);
    return [operator(graph, { op, inputs, attributes })].flat();
  } catch (error) {
    const message = `${error instanceof Error ? error.message : String(error)} (node ${name})`;
    throw error instanceof NotCovered ? new NotCovered(message) : new Error(message);
  }
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
