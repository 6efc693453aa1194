/** What an operator of TensorFlow is to the compiler: a function that adds to the graph what computes the same. */

import type { Graph } from "./graph.ts";
import type { AttributeReader } from "./graph-def.ts";
import { knownNumbers, NotCovered, type Value } from "./value.ts";

export interface Call {
  readonly op: string;
  readonly inputs: readonly Value[];
  readonly attributes: AttributeReader;
}

/** Gives the outputs in their order. */
export type Operator = (graph: Graph, call: Call) => Value | readonly Value[];

export type OperatorTable = Readonly<Record<string, Operator>>;

/** @throws Error when the node has fewer inputs */
export function inputAt({ inputs, op }: Call, index: number): Value {
  const value = inputs[index];
  if (!value) throw new Error(`${op} has no input ${index}`);
  return value;
}

/** The elements of an input that has to be known before a run. @throws NotCovered when it is not */
export function numbersAt(call: Call, index: number, meaning: string): readonly number[] {
  const numbers = knownNumbers(inputAt(call, index));
  if (!numbers) throw new NotCovered(`${call.op} with ${meaning} that only a run tells`);
  return numbers;
}

export function numberAt(call: Call, index: number, meaning: string): number {
  const [number] = numbersAt(call, index, meaning);
  if (number === undefined) throw new Error(`${call.op} has no ${meaning}`);
  return number;
}
