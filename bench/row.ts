/** What a row of the bench is: one figure that we quote, with its floor. */
import type { Generator, Measurement } from "./rounds.ts";

export interface BenchContext {
  readonly generator: Generator;
  /** Calls in flight, one table for each; undefined: the row's own. */
  readonly inFlight: readonly number[] | undefined;
  /** Values of AUSPEX_WORKERS to try side by side. */
  readonly workers: readonly number[];
  /** Of one round. */
  readonly seconds: number;
  readonly rounds: number;
  /** Tells whoever watches what happens now. */
  progress(text: string): void;
}

/** A figure and its bound; which of the two bounds it has tells them apart. */
export type Goal = { readonly what: string; readonly value: number } & (
  | { readonly atLeast: number }
  | { readonly atMost: number }
);

export interface Table {
  readonly title: string;
  /** The floor first. */
  readonly measurements: readonly Measurement[];
}

export interface RowResult {
  /** What the figures hold for. */
  readonly settings: Readonly<Record<string, string>>;
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
}

export interface Row {
  /** For `--only`: lower case, no blanks. */
  readonly name: string;
  readonly title: string;
  run(context: BenchContext): Promise<RowResult>;
}
