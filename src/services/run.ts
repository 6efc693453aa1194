/** One run of one prediction: from its stored input to how it ended. Nothing is written here. */
import { AuspexError } from "../domain/error.ts";
import { parseModelRef } from "../domain/model.ts";
import type { Outcome, Prediction, PredictionError } from "../domain/prediction.ts";
import type { EngineLog } from "../engine/engine.ts";
import { type AcceptedInput, type InputContext, resolveInput } from "./input.ts";

/** A worker that died with a prediction this often does not get it again. */
const DEATHS_MAX = 2;

export interface RunContext {
  readonly input: InputContext;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly runMaxMs: number;
  readonly log: EngineLog;
}

/** An outcome, and the microseconds that a worker took for it where one was asked. */
export type Ended = Outcome & { readonly executionTime: number | null };

export interface RunHooks {
  readonly signal: AbortSignal;
  /** The engine has it, input and all. */
  readonly onPrepared: () => void;
  readonly onWorkerDeath: () => Promise<void>;
}

/** Runs one prediction to its end; undefined when it was aborted and there is nothing to settle. */
export async function run(
  { input, now, runMaxMs, log }: RunContext,
  prediction: Prediction,
  accepted: AcceptedInput,
  { signal, onPrepared, onWorkerDeath }: RunHooks,
): Promise<Ended | undefined> {
  // From this claim on: since `startedAt` the server may have been down for longer than a run may take.
  const runUntil = prediction.updatedAt + runMaxMs * 1000;
  const deadlineUs = Math.min(prediction.deadlineAt ?? Number.POSITIVE_INFINITY, runUntil);
  try {
    if (now() >= deadlineUs) throw tooLate(prediction, runMaxMs);
    if (prediction.deaths >= DEATHS_MAX) {
      throw new AuspexError("internal", "its workers died twice while running it; it is not tried again");
    }
    const ref = parseModelRef(prediction.model);
    if (!ref) throw new AuspexError("not_found", `model ${prediction.model} does not exist`);
    const resolved = await resolveInput(input, prediction.principal, accepted, signal);
    const running = input.engine.run({
      owner: ref.owner,
      name: ref.name,
      version: prediction.version,
      input: resolved,
      signal,
      // A millisecond late rather than early: then it is late here too.
      deadlineAt: performance.now() + Math.ceil((deadlineUs - now()) / 1000),
      deaths: prediction.deaths,
      onWorkerDeath,
    });
    onPrepared();
    const { output, executionTime } = await running;
    return { status: "succeeded", output, executionTime };
  } catch (error) {
    if (signal.aborted) return undefined;
    const known = AuspexError.from(error);
    if (known.code === "internal")
      log.error({ err: known.cause ?? known, id: prediction.id }, "a prediction failed");
    const late = known.code === "deadline_exceeded" && now() >= deadlineUs;
    return {
      status: "failed",
      error: failure(late ? tooLate(prediction, runMaxMs) : known),
      executionTime: null,
    };
  }
}

/** The terminal state that follows. */
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

function tooLate(prediction: Prediction, runMaxMs: number): AuspexError {
  const message =
    prediction.deadlineAt === null
      ? `it ran longer than the server allows (${runMaxMs / 1000} s)`
      : "its deadline passed before it was finished";
  return new AuspexError("deadline_exceeded", message);
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
