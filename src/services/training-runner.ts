/**
 * Runs trainings, oldest first, a few at a time. What is true is what the store committed: each step is a conditional
 * update, and a training that was canceled meanwhile is left alone, with nothing of it published.
 */
import { AuspexError } from "../domain/error.ts";
import type { Training } from "../domain/training.ts";
import { modelOf, runTraining, type TrainingContext, trainingOf, withdraw } from "./training-run.ts";

/** A training that took its server down with it this often is not begun again. */
const ATTEMPTS_MAX = 3;
const TOO_MANY_ATTEMPTS = `The server went down ${ATTEMPTS_MAX} times while it ran; it is not tried again.`;
/** After storage or engine were out of order. */
const RETRY_MS = 5_000;

export interface TrainingRunnerOptions extends Omit<TrainingContext, "stopping"> {
  /** That run at once. */
  readonly trainings: number;
}

export interface TrainingRunner {
  /** Takes up what an earlier process left behind, then what waits. */
  start(): void;
  /** Something was queued. */
  wake(): void;
  /** Stops a running one; its row is terminal already. */
  abort(id: string): void;
  /** Stops what runs; the next start goes on with it. */
  close(): Promise<void>;
}

export function createTrainingRunner(options: TrainingRunnerOptions): TrainingRunner {
  const { store, engine, now, onChange, log } = options;
  const running = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>();
  /** Claimed, and begun before what waits in the store. */
  const claimed: Training[] = [];
  const closing = new AbortController();
  let isTakenUp = false;
  let backlog = true;
  let pulled = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;

  function pull(): void {
    pulled = pulled.then(claimAll).catch((error: unknown) => {
      log.error({ err: error }, "claiming trainings failed; trying again");
      backlog = true;
      retry();
    });
  }

  async function claimAll(): Promise<void> {
    if (!isTakenUp) await takeUp();
    isTakenUp = true;
    while (running.size < options.trainings && !closing.signal.aborted) {
      const next = claimed.shift() ?? (await claimQueued());
      if (!next) return;
      begin(next);
    }
  }

  async function takeUp(): Promise<void> {
    await withdrawAbandoned();
    const args = { now: now(), attemptsMax: ATTEMPTS_MAX, failure: TOO_MANY_ATTEMPTS };
    for (const training of await store.trainings.takeUp(args)) {
      if (training.status === "running") claimed.push(training);
      onChange(training.id);
    }
  }

  async function claimQueued(): Promise<Training | undefined> {
    if (!backlog) return undefined;
    // Cleared before the claim: what is queued while it runs sets it again.
    backlog = false;
    const training = await store.trainings.claim(now());
    if (!training) return undefined;
    backlog = true;
    onChange(training.id);
    return training;
  }

  function retry(): void {
    clearTimeout(timer);
    if (!closing.signal.aborted) timer = setTimeout(pull, RETRY_MS);
  }

  function begin(training: Training): void {
    const abort = new AbortController();
    const done = run(training, abort.signal)
      .catch((error: unknown) =>
        log.error({ err: error, training: training.id }, "a training is left as it is"),
      )
      .finally(() => {
        running.delete(training.id);
        pull();
      });
    running.set(training.id, { abort, done });
  }

  async function run(training: Training, signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await runOnce(training, signal);
        return;
      } catch (error) {
        if (signal.aborted || closing.signal.aborted) return stopped(training);
        const known = AuspexError.from(error);
        if (known.code === "canceled") return withdraw(engine, training);
        log.warn({ err: error, training: training.id }, "a training is held up; trying again");
        await pause(RETRY_MS, signal);
      }
    }
  }

  async function runOnce(training: Training, signal: AbortSignal): Promise<void> {
    const end = await runTraining({ ...options, stopping: closing.signal }, training, signal);
    if (await store.trainings.settle({ running: training, now: now(), end })) {
      onChange(training.id);
      log.info({ training: training.id, model: training.model.name, ...end.stats }, `training ${end.status}`);
      if (end.status === "succeeded") return;
    }
    // Canceled in its last moment, or failed in it.
    await withdraw(engine, training);
  }

  /** Canceled, or interrupted by a server that stops: that leaves what it has for the next one. */
  async function stopped(training: Training): Promise<void> {
    if (closing.signal.aborted) await store.trainings.giveBack(training);
    else await withdraw(engine, training);
  }

  /** What a training had published when it was canceled, and its server died before taking it back. */
  async function withdrawAbandoned(): Promise<void> {
    for (const version of engine.models.list()) {
      const trainingId = trainingOf(version);
      if (trainingId === undefined) continue;
      if (await store.trainings.isAbandoned({ model: modelOf(version), trainingId })) {
        await engine.models.remove(version.owner, version.name, version.version);
      }
    }
  }

  return {
    start: pull,
    wake() {
      backlog = true;
      pull();
    },
    abort(id) {
      running.get(id)?.abort.abort();
    },
    async close() {
      closing.abort();
      clearTimeout(timer);
      await pulled;
      // Claimed, and never begun.
      for (const training of claimed.splice(0)) await store.trainings.giveBack(training);
      for (const { abort } of running.values()) abort.abort();
      await Promise.all([...running.values()].map(({ done }) => done));
    },
  };
}

/** Ends early, and does not reject, when the signal aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
