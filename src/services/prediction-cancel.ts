/** Cancels predictions, and writes what an answer had said until then together with that. */
import { AuspexError } from "../domain/error.ts";
import { type PredictionId, parseUuid } from "../domain/id.ts";
import { parseModelRef } from "../domain/model.ts";
import { isTerminal, type Prediction } from "../domain/prediction.ts";
import { CHATFLOW_OWNER } from "../domain/principal.ts";
import type { NewDelivery } from "../domain/webhook.ts";
import type { PredictionStore } from "../store/store.ts";
import type { FlowRunner } from "./flow/flow-runner.ts";
import type { Hints } from "./hints.ts";
import type { Runner } from "./runner.ts";

/** A cancel that loses this many races in a row meets a row that changes all the time: a fault of ours. */
const CANCEL_TRIES = 10;

export interface CancelOptions {
  readonly predictions: PredictionStore;
  readonly flows: FlowRunner;
  readonly runner: Runner;
  readonly hints: Hints;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly deliveriesFor: (prediction: Prediction) => readonly NewDelivery[];
  readonly onDeliveries: () => void;
  readonly onSettled: (prediction: Prediction) => void;
}

/**
 * Answers the canceled prediction; rejects with `not_found` for one that the principal has not, and with
 * `failed_precondition` for one that has ended.
 */
export type Cancel = (principal: string, id: string) => Promise<Prediction>;

export async function readPrediction(
  predictions: PredictionStore,
  principal: string,
  id: string,
): Promise<Prediction> {
  const prediction = await predictions.get(principal, (parseUuid(id) ?? id) as PredictionId);
  if (!prediction) throw new AuspexError("not_found", `prediction ${id} does not exist`);
  return prediction;
}

export function createCancel(options: CancelOptions): Cancel {
  const { predictions, flows, runner, hints, deliveriesFor } = options;
  return async (principal, id) => {
    for (let tries = 0; tries < CANCEL_TRIES; tries++) {
      const current = await readPrediction(predictions, principal, id);
      if (isTerminal(current.status)) {
        throw new AuspexError(
          "failed_precondition",
          `prediction ${current.id} has already ${current.status}`,
        );
      }
      const at = options.now();
      const next: Prediction = {
        ...current,
        status: "canceled",
        revision: current.revision + 1,
        updatedAt: at,
        endedAt: at,
      };
      const isAnswer = parseModelRef(current.model)?.owner === CHATFLOW_OWNER;
      const turn = isAnswer ? await flows.canceledTurn(current, at) : undefined;
      const guard = { kind: "revision", revision: current.revision } as const;
      const deliveries = deliveriesFor(next);
      if (!(await predictions.transition({ next, guard, deliveries, turn }))) continue;
      runner.abort(next.id);
      hints.emit(next.id);
      if (deliveries.length > 0) options.onDeliveries();
      options.onSettled(next);
      return next;
    }
    throw new AuspexError("unavailable", `prediction ${id} keeps changing; try again`);
  };
}
