/**
 * Loops of TensorFlow 1, which a GraphDef draws as cycles: `Enter → Merge → Switch → … → NextIteration → Merge`, with
 * a `LoopCond` that steers the switches, and `Exit` for what comes out (Yu et al., Dynamic Control Flow in Large-Scale
 * Machine Learning, 2018, section 4). Each becomes one node, so that what is left has no cycles.
 */
import type { GraphDef, GraphNode, LoopVariable, Port } from "./graph-def.ts";
import { NotCovered } from "./value.ts";

/** @throws NotCovered for cycles of another form */
export function withLoops(graph: GraphDef): GraphDef {
  const merges = [...graph.nodes.values()].filter((node) => node.op === "Merge" && isOfLoop(graph, node));
  if (merges.length === 0) return graph;
  const nodes = new Map(graph.nodes);
  const frames = Map.groupBy(merges, (merge) => frameOf(enterOf(graph, merge)));
  for (const [frame, members] of frames) foldLoop(nodes, graph, frame, members);
  return { nodes };
}

const isOfLoop = (graph: GraphDef, merge: GraphNode): boolean =>
  merge.inputs.some(({ node }) => graph.nodes.get(node)?.op === "NextIteration");

function inputOf(graph: GraphDef, node: GraphNode, op: string): GraphNode {
  const found = node.inputs.map((input) => graph.nodes.get(input.node)).find((input) => input?.op === op);
  if (!found) throw new NotCovered(`a loop whose ${node.name} has no ${op}`);
  return found;
}

const enterOf = (graph: GraphDef, merge: GraphNode): GraphNode => inputOf(graph, merge, "Enter");
const frameOf = (enter: GraphNode): string => enter.attributes.text("frame_name");

function onlyInput(node: GraphNode): Port {
  const [input] = node.inputs;
  if (!input) throw new Error(`the node ${node.name} has no input`);
  return input;
}

function foldLoop(
  nodes: Map<string, GraphNode>,
  graph: GraphDef,
  frame: string,
  merges: readonly GraphNode[],
): void {
  const all = [...graph.nodes.values()];
  const readers = (name: string, op: string) =>
    all.filter((node) => node.op === op && node.inputs.some((input) => input.node === name));
  const switches = merges.map((merge) => readers(merge.name, "Switch")[0]);
  const conditions = new Set(
    switches.flatMap((node) => (node?.inputs[1] ? [graph.nodes.get(node.inputs[1].node)] : [])),
  );
  const [condition, ...others] = conditions;
  if (condition?.op !== "LoopCond" || others.length > 0)
    throw new NotCovered(`the loop ${frame}, which has no one condition`);
  const variables = merges.map(
    (merge, i): LoopVariable => ({
      merge: merge.name,
      switch: switches[i]?.name,
      next: onlyInput(inputOf(graph, merge, "NextIteration")),
    }),
  );
  // What never changes is seen from inside as it stands outside; it has to be there first.
  const constants = all.filter(
    (node) => node.op === "Enter" && frameOf(node) === frame && node.attributes.bool("is_constant", false),
  );
  for (const node of constants) nodes.set(node.name, { ...node, op: "Identity" });
  const name = `loop ${frame}`;
  const [first] = merges;
  if (!first) return;
  nodes.set(name, {
    name,
    op: "Loop",
    attributes: first.attributes,
    inputs: [...merges.map((merge) => onlyInput(enterOf(graph, merge))), ...constants.map(onlyInput)],
    loop: { variables, condition: onlyInput(condition) },
  });
  for (const [i, node] of switches.entries()) {
    for (const exit of node ? readers(node.name, "Exit") : [])
      nodes.set(exit.name, { ...exit, op: "Identity", inputs: [{ node: name, output: i }] });
  }
}
