/** What the load generator holds a sampled answer against. */
import { fromBinary } from "@bufbuild/protobuf";
import { CreatePredictionResponseSchema, PredictionStatus } from "../gen/auspex/v1/prediction_pb.ts";
import { unwrap } from "./envelope.ts";

export type Expectation =
  /** Any. */
  | "bytes"
  /** A `CreatePredictionResponse` or `GetPredictionResponse` in protobuf, of a prediction that succeeded. */
  | "succeeded prediction"
  /** The same, of a prediction that has not failed: pending, started or succeeded. */
  | "accepted prediction"
  /** The same in protobuf's JSON. */
  | "succeeded prediction in JSON"
  /** The same as the one message of an answer in envelopes. */
  | "succeeded prediction in an envelope"
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

const SUCCEEDED: ReadonlySet<PredictionStatus | undefined> = new Set([PredictionStatus.SUCCEEDED]);
const ACCEPTED: ReadonlySet<PredictionStatus | undefined> = new Set([
  PredictionStatus.PENDING,
  PredictionStatus.STARTED,
  PredictionStatus.SUCCEEDED,
]);

/** @returns whether there was anything to check; @throws Error for a wrong answer */
export function checkAnswer(expect: Expectation, response: Uint8Array): boolean {
  if (typeof expect === "object") {
    checkValues(expect, new TextDecoder().decode(response));
    return true;
  }
  switch (expect) {
    case "bytes":
      return false;
    case "accepted prediction":
      checkPrediction(response, ACCEPTED);
      return true;
    case "succeeded prediction":
      checkPrediction(response, SUCCEEDED);
      return true;
    case "succeeded prediction in an envelope":
      checkPrediction(unwrap(response), SUCCEEDED);
      return true;
    case "succeeded prediction in JSON":
      checkJson(response, (answer) => answer.prediction?.status, "PREDICTION_STATUS_SUCCEEDED");
      return true;
    case "succeeded JSON":
      checkJson(response, (answer) => answer.status, "succeeded");
      return true;
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

function checkPrediction(response: Uint8Array, accepted: ReadonlySet<PredictionStatus | undefined>): void {
  const { prediction } = fromBinary(CreatePredictionResponseSchema, response);
  if (accepted.has(prediction?.status)) return;
  const why = prediction?.error?.message ?? `its status is ${prediction?.status}`;
  throw new Error(`a prediction did not succeed: ${why}`);
}

interface Statuses {
  readonly status?: string;
  readonly prediction?: { readonly status?: string };
}

function checkJson(
  response: Uint8Array,
  status: (answer: Statuses) => string | undefined,
  good: string,
): void {
  const text = new TextDecoder().decode(response);
  if (status(JSON.parse(text)) !== good) throw new Error(`a prediction did not succeed: ${text}`);
}
