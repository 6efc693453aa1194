/** What the load generator holds a sampled answer against. */
import { fromBinary } from "@bufbuild/protobuf";
import { CreatePredictionResponseSchema, PredictionStatus } from "../gen/auspex/v1/prediction_pb.ts";

export type Expectation =
  /** Any. */
  | "bytes"
  /** A `CreatePredictionResponse` in protobuf, of a prediction that succeeded. */
  | "succeeded prediction"
  /** The same, of a prediction that has not failed: pending, started or succeeded. */
  | "accepted prediction"
  /** A JSON object whose `status` is `succeeded`. */
  | "succeeded JSON";

const SUCCEEDED: ReadonlySet<PredictionStatus | undefined> = new Set([PredictionStatus.SUCCEEDED]);
const ACCEPTED: ReadonlySet<PredictionStatus | undefined> = new Set([
  PredictionStatus.PENDING,
  PredictionStatus.STARTED,
  PredictionStatus.SUCCEEDED,
]);

/** @returns whether there was anything to check; @throws Error for a wrong answer */
export function checkAnswer(expect: Expectation, response: Uint8Array): boolean {
  switch (expect) {
    case "bytes":
      return false;
    case "accepted prediction":
    case "succeeded prediction": {
      const { prediction } = fromBinary(CreatePredictionResponseSchema, response);
      const accepted = expect === "accepted prediction" ? ACCEPTED : SUCCEEDED;
      if (!accepted.has(prediction?.status)) {
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
