/** A job queue as the bench uses it: one process adds jobs, another works them off. */

/** What a job carries: the MLP's 64 floats, in base64 (the shortest that JSON has for them). */
export interface Payload {
  readonly x: string;
}

/** Does the job's work; what it answers is kept by a queue that keeps results. */
export type Handler = (payload: Payload) => Promise<object>;

/** `documented`: as the first example in its documentation; `tuned`: by what its documentation says of throughput. */
export type Tuning = "documented" | "tuned";

export interface Adding {
  /** Resolves when the job is durable. */
  add(payload: Payload): Promise<void>;
  /** The same for many by its own call for that. */
  addMany(payloads: readonly Payload[]): Promise<void>;
  /** Jobs that are neither finished nor given up. @throws Error when one has failed */
  unfinished(): Promise<number>;
}

export interface Queue {
  /** How it is tuned, for the reader. */
  readonly settings: Readonly<Record<Tuning, string>>;
  openAdding(url: string, tuning: Tuning): Promise<Adding>;
  /** Works until the process ends. */
  work(url: string, tuning: Tuning, handler: Handler): Promise<void>;
}
