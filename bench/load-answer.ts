/** What the load generator holds a sampled answer against. */
import { fromBinary } from "@bufbuild/protobuf";
import { CreatePredictionResponseSchema, PredictionStatus } from "../gen/auspex/v1/prediction_pb.ts";

export type Expectation =
  /** Any. */
  | "bytes"
  /** A `CreatePredictionResponse` in protobuf, of a prediction that succeeded. */
  | "succeeded prediction"
  /** A JSON object whose `status` is `succeeded`. */
  | "succeeded JSON"
  | ExpectedValues;

/** A JSON answer that holds these. */
export interface ExpectedValues {
  readonly kind: "JSON values";
  readonly values: readonly {
    /** Keys and indices from the top. */
    readonly at: readonly (string | number)[];
    /** All that is there, lists within lists one after the other. */
    readonly is: readonly (string | number)[];
  }[];
  /** How far a number may be off. */
  readonly within: number;
}

/** @returns whether there was anything to check; @throws Error for a wrong answer */
export function checkAnswer(expect: Expectation, response: Uint8Array): boolean {
  if (typeof expect === "object") {
    checkValues(expect, new TextDecoder().decode(response));
    return true;
  }
  switch (expect) {
    case "bytes":
      return false;
    case "succeeded prediction": {
      const { prediction } = fromBinary(CreatePredictionResponseSchema, response);
      if (prediction?.status !== PredictionStatus.SUCCEEDED) {
        const why = prediction?.error?.message ?? `its status is ${prediction?.status}`;
        throw new Error(`a prediction did not succeed: ${why}`);
      }
      return true;
    }
    case "succeeded JSON": {
      const text = new TextDecoder().decode(response);
      const { status } = JSON.parse(text);
      if (status !== "succeeded") throw new Error(`a prediction did not succeed: ${text}`);
      return true;
    }
    default:
      return expect satisfies never;
  }
}

function checkValues({ values, within }: ExpectedValues, text: string): void {
  const answer: unknown = JSON.parse(text);
  for (const { at, is } of values) {
    const found = leaves(at.reduce(child, answer));
    const same = found.length === is.length && is.every((value, i) => isSame(value, found[i], within));
    if (!same) {
      const place = at.join(".");
      throw new Error(`a wrong answer: ${place} should be ${JSON.stringify(is)} in ${text.slice(0, 1000)}`);
    }
  }
}

function child(parent: unknown, key: string | number): unknown {
  if (typeof parent !== "object" || parent === null) return undefined;
  return Object.hasOwn(parent, key) ? (parent as Readonly<Record<string | number, unknown>>)[key] : undefined;
}

const leaves = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? value.flatMap(leaves) : [value];

function isSame(expected: string | number, found: unknown, within: number): boolean {
  if (typeof expected === "string") return found === expected;
  // What is no number is no closer than any distance.
  return typeof found === "number" && Math.abs(found - expected) <= within;
}
