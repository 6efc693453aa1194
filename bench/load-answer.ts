/** What the load generator holds a sampled answer against. */
import { fromBinary } from "@bufbuild/protobuf";
import { CreatePredictionResponseSchema, PredictionStatus } from "../gen/auspex/v1/prediction_pb.ts";
import { unwrap } from "./grpc-web.ts";

export type Expectation =
  /** Any. */
  | "bytes"
  /** A `CreatePredictionResponse` or `GetPredictionResponse` in protobuf, of a prediction that succeeded. */
  | "succeeded prediction"
  /** The same, of a prediction that has not failed: pending, started or succeeded. */
  | "accepted prediction"
  /** The same in protobuf's JSON. */
  | "succeeded prediction in JSON"
  /** The same as the one message of a gRPC-Web answer. */
  | "succeeded prediction in gRPC-Web"
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
      checkPrediction(response, ACCEPTED);
      return true;
    case "succeeded prediction":
      checkPrediction(response, SUCCEEDED);
      return true;
    case "succeeded prediction in gRPC-Web":
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
