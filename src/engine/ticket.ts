/**
 * One job on its way through the engine: queued, in a batch, perhaps queued again because a worker died, and
 * settled once. Cancellation and the deadline settle it wherever it is; what holds it then is told to let go.
 */
import { AuspexError } from "../domain/error.ts";
import type { Payload } from "../domain/payload.ts";
import type { BatchItem } from "./batcher.ts";
import type { Job, JobResult } from "./engine.ts";
import type { TaskInput } from "./task-input.ts";
import { textsWeight } from "./text-parts.ts";
import { type Death, deathText } from "./worker-process.ts";

/** The first death may be a neighbour's fault; with the second, alone, the job is guilty or out of luck. */
const DEATHS_MAX = 2;

/** setTimeout's longest delay; later deadlines are looked at again then. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Where a ticket is: told when it is settled there. */
export interface Holder {
  letGo(ticket: Ticket): void;
}

export class Ticket implements BatchItem {
  readonly key: string;
  readonly input: TaskInput;
  /** Rejects with AuspexError. */
  readonly result: Promise<JobResult>;
  /**
   * Set by whoever takes it. An object that many tickets share: a function of each one's own, kept in a field, would keep
   * the ticket from V8's collector of young objects.
   */
  holder: Holder | undefined;
  readonly #job: Job;
  readonly #resolve: (result: JobResult) => void;
  readonly #reject: (error: AuspexError) => void;
  readonly #onAbort = (): void => this.fail(new AuspexError("canceled", "the prediction was canceled"));
  #timer: NodeJS.Timeout | undefined;
  #deaths: number;
  #settled = false;
  #ranMs = 0;

  constructor(key: string, job: Job, input: TaskInput) {
    this.key = key;
    this.input = input;
    this.#job = job;
    this.#deaths = job.deaths;
    const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
    this.result = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    job.signal.addEventListener("abort", this.#onAbort, { once: true });
    if (job.signal.aborted) this.#onAbort();
    else if (job.deaths >= DEATHS_MAX) this.#failForDeaths(undefined);
    else this.#watchDeadline();
  }

  get weight(): number {
    switch (this.input.kind) {
      case "picture":
        return 1;
      case "texts":
        return textsWeight(this.input);
      case "tensors":
        return this.input.rows;
      default:
        return this.input satisfies never;
    }
  }

  get alone(): boolean {
    return this.#deaths > 0;
  }

  get settled(): boolean {
    return this.#settled;
  }

  /** False when it is too late to run: the ticket is then settled. */
  leaveQueue(): boolean {
    this.holder = undefined;
    // The timer may be late when the main thread was busy.
    if (performance.now() >= (this.#job.deadlineAt ?? Number.POSITIVE_INFINITY)) this.#failForDeadline();
    return !this.#settled;
  }

  /** Its batch has run for so long. */
  ran(ms: number): void {
    this.#ranMs = ms;
  }

  succeed(output: Payload): void {
    if (!this.#settle()) return;
    this.#resolve({ output, executionTime: Math.round(this.#ranMs * 1000) });
  }

  fail(error: AuspexError): void {
    if (this.#settle()) this.#reject(error);
  }

  /**
   * Resolves with whether it is to run again.
   *
   * @param hasBegun whether the worker had come to it, and may have died of it
   */
  async survives(death: Death, hasBegun: boolean): Promise<boolean> {
    if (this.#settled) return false;
    this.holder = undefined;
    if (death.kind === "closed") {
      this.fail(new AuspexError("unavailable", "the server is shutting down"));
      return false;
    }
    if (!hasBegun) return true;
    this.#deaths += 1;
    if (this.#deaths >= DEATHS_MAX) {
      this.#failForDeaths(death);
      return false;
    }
    try {
      await this.#job.onWorkerDeath();
    } catch (error) {
      this.fail(AuspexError.from(error));
    }
    return !this.#settled;
  }

  #failForDeaths(death: Death | undefined): void {
    const why = death ? `; the last time, ${deathText(death)}` : "";
    this.fail(
      new AuspexError(
        death?.kind === "memory" ? "resource_exhausted" : "internal",
        `the worker died twice while running this prediction${why}`,
      ),
    );
  }

  #watchDeadline(): void {
    const { deadlineAt } = this.#job;
    if (deadlineAt === undefined) return;
    const left = deadlineAt - performance.now();
    if (left > 0) {
      this.#timer = setTimeout(() => this.#watchDeadline(), Math.min(left, TIMER_MAX_MS));
      return;
    }
    this.#failForDeadline();
  }

  #failForDeadline(): void {
    this.fail(new AuspexError("deadline_exceeded", "the deadline passed before the prediction was finished"));
  }

  /** False when it was settled before. */
  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#job.signal.removeEventListener("abort", this.#onAbort);
    this.holder?.letGo(this);
    return true;
  }
}
