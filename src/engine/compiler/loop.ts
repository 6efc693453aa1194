/**
 * A loop as ONNX's Loop: the variables go round, and an array that each round writes one more element of is what the
 * rounds leave behind, stacked.
 */
import type { Graph } from "./graph.ts";
import type { Loop, Port } from "./graph-def.ts";
import { type ArrayState, arrayState } from "./operators/tensor-array.ts";
import { knownNumbers, NotCovered, type Value } from "./value.ts";

/** Computes ports in a graph, given the values of some nodes. */
export type Compute = (
  graph: Graph,
  given: ReadonlyMap<string, readonly Value[]>,
  wanted: readonly Port[],
) => readonly Value[];

/**
 * @param initial the variables before the first round
 * @returns the variables after the last round
 */
export function compileLoop(
  graph: Graph,
  { variables, condition }: Loop,
  initial: readonly Value[],
  compute: Compute,
): readonly Value[] {
  const given = (values: readonly Value[]) =>
    new Map<string, readonly Value[]>(
      variables.flatMap((variable, i) => {
        const value = values[i];
        if (!value) throw new Error("a loop has too few values");
        const inBody: [string, Value[]][] = variable.switch ? [[variable.switch, [value, value]]] : [];
        return [[variable.merge, [value]], ...inBody];
      }),
    );
  const starts = initial.slice(0, variables.length);
  const isArray = starts.map((value) => arrayState(value)?.kind === "empty");
  const [goesOn] = compute(graph, given(starts), [condition]);

  const body = graph.inner();
  const prefix = `${goesOn?.name}.loop`;
  body.input(`${prefix}.round`, "int64", []);
  body.input(`${prefix}.goes`, "bool", []);
  const current = starts.map((value, i) =>
    isArray[i] ? value : body.input(`${prefix}.in${i}`, value.type, value.shape),
  );
  const next = compute(
    body,
    given(current),
    variables.map((variable) => variable.next),
  );
  const [again] = compute(body, given(next), [condition]);
  if (!goesOn || !again) throw new Error("a loop has no condition");
  body.output(`${prefix}.again`, again);
  const results = starts.map((start, i) => {
    const value = next[i];
    if (!value) throw new Error("a loop has too few values");
    if (isArray[i]) {
      const { element, index } = written(value, current[i]);
      const counter = current.indexOf(index);
      if (!countsRounds(body, starts[counter], current[counter], next[counter]))
        throw new NotCovered("a loop that writes an array in another order than its rounds");
      return element;
    }
    if (String(value.shape) !== String(start.shape) || value.type !== start.type)
      throw new NotCovered("a loop in which a variable changes its shape");
    return value;
  });
  // Carried values come first, stacked ones after them.
  const order = [...results.keys()].sort((a, b) => Number(isArray[a]) - Number(isArray[b]));
  for (const i of order) {
    const value = results[i];
    if (value) body.output(`${prefix}.out${i}`, value);
  }
  const carried = order.flatMap((i) => (isArray[i] ? [] : [i]));
  const outputs = graph.nodes(
    "Loop",
    [undefined, goesOn, ...carried.map((i) => graph.channelsLast(starts[i] as Value))],
    order.map((i) => {
      const value = results[i];
      if (!value) throw new Error("a loop has too few values");
      return { type: value.type, shape: isArray[i] ? [null, ...value.shape] : value.shape };
    }),
    { body: { body: body.asBody() } },
  );
  return starts.map((_, i) => outputs[order.indexOf(i)] as Value);
}

/** @throws NotCovered when a round does not write the array just once */
function written(flow: Value, before: Value | undefined): Extract<ArrayState, { kind: "written" }> {
  const state = arrayState(flow);
  if (state?.kind !== "written" || state.before !== before)
    throw new NotCovered("a loop that does not write an array once in each round");
  return state;
}

/** Whether a variable is 0 in the first round, and one more in each that follows. */
function countsRounds(
  body: Graph,
  start: Value | undefined,
  current: Value | undefined,
  next: Value | undefined,
): boolean {
  if (!start || !current || !next || knownNumbers(start)?.[0] !== 0) return false;
  const sum = body.producer(next);
  const isOne = (value: Value | undefined) =>
    value?.constant?.length === 1 && Number(value.constant[0]) === 1;
  const [a, b] = sum?.inputs ?? [];
  return sum?.op === "Add" && ((a === current && isOne(b)) || (b === current && isOne(a)));
}
