/** Where every new prediction begins. */
import type { PredictionId } from "../domain/id.ts";
import { EMPTY_PAYLOAD } from "../domain/payload.ts";
import type { Prediction } from "../domain/prediction.ts";

/** Pending, of no model and with nothing in it. */
export function blankPrediction(id: PredictionId, principal: string, createdAt: number): Prediction {
  return {
    id,
    principal,
    model: "",
    version: 0,
    status: "pending",
    revision: 1,
    attempt: 0,
    deaths: 0,
    input: EMPTY_PAYLOAD,
    output: null,
    error: null,
    createdAt,
    updatedAt: createdAt,
    startedAt: null,
    endedAt: null,
    setupTime: null,
    executionTime: null,
    deadlineAt: null,
    requestId: "",
    requestHash: "",
    webhook: null,
  };
}
