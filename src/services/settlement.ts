/**
 * How what runs here moves on in the store: to another attempt, or to its end. What is true is what was committed there;
 * this only ever tries to make a transition, and accepts to lose it.
 */
import { AuspexError } from "../domain/error.ts";
import type { Prediction } from "../domain/prediction.ts";
import type { NewDelivery } from "../domain/webhook.ts";
import type { EngineLog } from "../engine/engine.ts";
import type { PredictionStore } from "../store/store.ts";
import type { Hints } from "./hints.ts";
import { type Ended, ended, failure } from "./outcome.ts";

/** A prediction that runs. */
export interface Unsettled {
  prediction: Prediction;
  /** The lease's token; undefined until there is a row to hold one. */
  lease: string | undefined;
  readonly abort: AbortController;
}

export interface SettlementOptions {
  readonly store: Pick<PredictionStore, "transition">;
  readonly hints: Hints;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  /** The webhook events that a prediction's new state causes. */
  readonly deliveriesFor: (prediction: Prediction) => readonly NewDelivery[];
  /** Told after a commit that wrote deliveries. */
  readonly onDeliveries: () => void;
  /** Told once for each prediction that this process settled. */
  readonly onSettled: (prediction: Prediction) => void;
  readonly log: Pick<EngineLog, "warn" | "error">;
}

export interface Settlement {
  /** Its worker died: it goes on with another attempt, unless somebody else has settled it. */
  raiseAttempt(entry: Unsettled): Promise<void>;
  /** A result that cannot be written, though the storage works, is a failure: it would come again with each lease. */
  settle(entry: Unsettled, outcome: Ended): Promise<void>;
}

export function createSettlement(options: SettlementOptions): Settlement {
  const { store, hints, now, deliveriesFor, log } = options;

  async function raiseAttempt(entry: Unsettled): Promise<void> {
    const previous = entry.prediction;
    const next: Prediction = {
      ...previous,
      attempt: previous.attempt + 1,
      deaths: previous.deaths + 1,
      revision: previous.revision + 1,
      updatedAt: now(),
    };
    // Before the write: what settles it meanwhile, such as its deadline, has to go on from this revision.
    entry.prediction = next;
    if (entry.lease === undefined) return;
    const guard = { kind: "lease", token: entry.lease } as const;
    if (await store.transition({ next, guard, deliveries: [] })) hints.emit(next.id);
    else entry.abort.abort();
  }

  async function settle(entry: Unsettled, outcome: Ended): Promise<void> {
    try {
      await commit(entry, outcome);
    } catch (error) {
      const known = AuspexError.from(error);
      if (outcome.status === "failed" || known.code === "unavailable") throw error;
      log.error({ err: error, id: entry.prediction.id }, "a result could not be written");
      await commit(entry, {
        status: "failed",
        error: failure(known),
        executionTime: null,
        turn: outcome.turn,
      });
    }
  }

  async function commit(entry: Unsettled, outcome: Ended): Promise<void> {
    if (entry.lease === undefined) return;
    const next = ended(entry.prediction, outcome, now());
    const deliveries = deliveriesFor(next);
    const guard = { kind: "lease", token: entry.lease } as const;
    if (!(await store.transition({ next, guard, deliveries, turn: outcome.turn }))) {
      log.warn({ id: next.id }, "a result was dropped: somebody else has settled the prediction");
      return;
    }
    hints.emit(next.id);
    if (deliveries.length > 0) options.onDeliveries();
    options.onSettled(next);
  }

  return { raiseAttempt, settle };
}
