/** What the main thread and a database thread say to each other. */
import { AuspexError } from "../domain/error.ts";
import type { Role } from "./sqlite.ts";
import { isStorageFault } from "./sqlite-error.ts";

export interface ThreadData {
  readonly file: string;
  readonly role: Role;
}

export type ToThread = { readonly kind: "run"; readonly calls: readonly Call[] } | { readonly kind: "close" };

export type FromThread =
  /** Open; `unfinished` is exact in the writer and 0 in a reader, here and below. */
  | { readonly kind: "ready"; readonly unfinished: number }
  /** The next calls' ends, in the order in which they were asked for. */
  | { readonly kind: "done"; readonly outcomes: readonly Outcome[]; readonly unfinished: number };

export interface Call {
  readonly operation: string;
  readonly args: unknown;
}

export type Outcome =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly failure: Failure };

/** An error as it crosses between threads, where classes are lost. */
export interface Failure {
  readonly storage: boolean;
  /** For a person. */
  readonly message: string;
  /** For the log. */
  readonly text: string;
}

export function failureOf(error: unknown): Failure {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { storage: isStorageFault(error), message: error instanceof Error ? error.message : text, text };
}

/** Storage out of order is told to callers as such; anything else is a fault of ours. */
export function errorFrom({ storage, text }: Failure): Error {
  const cause = new Error(text);
  return storage
    ? new AuspexError("unavailable", "the storage does not work at the moment", { cause, retryAfterMs: 1000 })
    : new Error("an operation of the store failed", { cause });
}
