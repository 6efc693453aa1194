/**
 * What an operation on the database is written against, whichever database that is. An operation is one function of
 * a transaction and plain arguments; it is found by its name, so that it can run on another thread.
 */
import type { Statement } from "./statement.ts";

export interface Transaction {
  /** Answers how many rows were changed. */
  run<P extends object>(statement: Statement<P, unknown>, params: P): Promise<number>;
  get<P extends object, R>(statement: Statement<P, R>, params: P): Promise<R | undefined>;
  all<P extends object, R>(statement: Statement<P, R>, params: P): Promise<R[]>;
  /** Writes something that leaves nothing behind: it fails where any write would. */
  touch(): Promise<void>;
  /**
   * Predictions that are pending or started, this transaction's own changes included. An operation that changes
   * the number says so here; it is undone with the operation when that is rolled back.
   */
  unfinished: number;
}

export interface Operation<A, R> {
  readonly name: string;
  /** Arguments and result are data that a structured clone can carry. May run twice before it commits once. */
  readonly run: (tx: Transaction, args: A) => Promise<R>;
}

export function operation<A, R>(
  name: string,
  run: (tx: Transaction, args: A) => Promise<R>,
): Operation<A, R> {
  return { name, run };
}

/** Rejects with AuspexError `unavailable` when storage fails: full, read-only, damaged, closed. */
export interface Database {
  readonly description: string;
  /** One transaction; resolves once it is on disk. */
  write<A, R>(operation: Operation<A, R>, args: A): Promise<R>;
  /** For lookups by key, which take microseconds, and for short lists that have an index of their own, mostly empty. */
  read<A, R>(operation: Operation<A, R>, args: A): Promise<R>;
  /** For reads that may take longer; they hold up neither the caller's thread nor a write. */
  scan<A, R>(operation: Operation<A, R>, args: A): Promise<R>;
  /** For searches, which walk through a great many rows; they hold up none of the above. */
  search<A, R>(operation: Operation<A, R>, args: A): Promise<R>;
  /** As of the last commit. */
  unfinished(): number;
  /** Finishes what was asked for, then closes. */
  close(): Promise<void>;
}
