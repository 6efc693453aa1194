/** One run of one prediction: from its stored input to how it ended. Nothing is written here. */
import { AuspexError } from "../domain/error.ts";
import { parseModelRef } from "../domain/model.ts";
import type { Prediction } from "../domain/prediction.ts";
import { CHATFLOW_OWNER } from "../domain/principal.ts";
import type { EngineLog } from "../engine/engine.ts";
import type { FlowRunner } from "./flow/flow-runner.ts";
import { type AcceptedInput, type InputContext, resolveInput } from "./input.ts";
import { type Ended, failure } from "./outcome.ts";

/** A worker that died with a prediction this often does not get it again. */
const DEATHS_MAX = 2;

export interface RunContext {
  readonly input: InputContext;
  readonly flows: FlowRunner;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly runMaxMs: number;
  readonly log: EngineLog;
}

export interface RunHooks {
  readonly signal: AbortSignal;
  /** The engine has it, input and all. */
  readonly onPrepared: () => void;
  readonly onWorkerDeath: () => Promise<void>;
}

/** Runs one prediction to its end; undefined when it was aborted and there is nothing to settle. */
export async function run(
  { input, flows, now, runMaxMs, log }: RunContext,
  prediction: Prediction,
  accepted: AcceptedInput,
  { signal, onPrepared, onWorkerDeath }: RunHooks,
): Promise<Ended | undefined> {
  // From this claim on: since `startedAt` the server may have been down for longer than a run may take.
  const runUntil = prediction.updatedAt + runMaxMs * 1000;
  const deadlineUs = Math.min(prediction.deadlineAt ?? Number.POSITIVE_INFINITY, runUntil);
  const ref = parseModelRef(prediction.model);
  if (ref?.owner === CHATFLOW_OWNER) {
    // It asks the engine for little, and waits for others: it takes no place of those that the engine runs.
    onPrepared();
    return flows.run(prediction, { signal, deadlineUs, tooLate: () => tooLate(prediction, runMaxMs) });
  }
  try {
    if (now() >= deadlineUs) throw tooLate(prediction, runMaxMs);
    if (prediction.deaths >= DEATHS_MAX) {
      throw new AuspexError("internal", "its workers died twice while running it; it is not tried again");
    }
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

function tooLate(prediction: Prediction, runMaxMs: number): AuspexError {
  const message =
    prediction.deadlineAt === null
      ? `it ran longer than the server allows (${runMaxMs / 1000} s)`
      : "its deadline passed before it was finished";
  return new AuspexError("deadline_exceeded", message);
}
