/** What the load generator holds a sampled answer against. */
import { fromBinary } from "@bufbuild/protobuf";
import { CreatePredictionResponseSchema, PredictionStatus } from "../gen/auspex/v1/prediction_pb.ts";

export type Expectation =
  /** Any. */
  | "bytes"
  /** A `CreatePredictionResponse` in protobuf, of a prediction that succeeded. */
  | "succeeded prediction"
  /** A JSON object whose `status` is `succeeded`. */
  | "succeeded JSON";

/** @returns whether there was anything to check; @throws Error for a wrong answer */
export function checkAnswer(expect: Expectation, response: Uint8Array): boolean {
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
