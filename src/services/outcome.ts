/** How a run ended, and the terminal state that follows. */
import type { ChatTurn } from "../domain/chatflow.ts";
import type { AuspexError } from "../domain/error.ts";
import type { Outcome, Prediction, PredictionError } from "../domain/prediction.ts";

/** An outcome, and the microseconds that a worker took for it where one was asked. */
export type Ended = Outcome & {
  readonly executionTime: number | null;
  /** Of a chatflow's answer: what was said, to be written with the end. */
  readonly turn?: ChatTurn | undefined;
};

export function ended(previous: Prediction, outcome: Ended, endedAt: number): Prediction {
  const { executionTime } = outcome;
  return {
    ...previous,
    status: outcome.status,
    revision: previous.revision + 1,
    output: outcome.status === "succeeded" ? outcome.output : null,
    error: outcome.status === "failed" ? outcome.error : null,
    updatedAt: endedAt,
    endedAt,
    executionTime,
    setupTime: executionTime === null ? null : Math.max(0, endedAt - executionTime - previous.createdAt),
  };
}

const EXTERNAL: ReadonlySet<string> = new Set([
  "invalid_argument",
  "not_found",
  "failed_precondition",
  "permission_denied",
]);

/** How an error of the run reads in the prediction. */
export function failure(error: AuspexError): PredictionError {
  return {
    source: EXTERNAL.has(error.code) ? "external" : "internal",
    code: error.code,
    message: error.message,
  };
}
