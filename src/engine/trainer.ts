/**
 * What training asks of the engine: what a feature extractor sees in pictures, and a head fitted to that. It runs in a
 * worker process of its own with the system's lowest priority, started when it is needed, so that predictions keep
 * their speed.
 */
import { EPOCHS_MAX, type Metrics } from "../domain/training.ts";

/** A ready version whose `auspex.json` names an embedding. */
export interface Extractor {
  readonly owner: string;
  readonly name: string;
  readonly version: number;
}

export type Embedded =
  | { readonly ok: true; readonly embedding: Float32Array }
  /** A picture that cannot be read; why. */
  | { readonly ok: false; readonly reason: string };

/** Rows of embeddings with what is right for each. */
export interface FitExamples {
  /** rows × width, row after row. */
  readonly embeddings: Float32Array;
  /** rows × classes of 0 and 1; for `softmax` one 1 in each row. */
  readonly targets: Uint8Array;
}

export interface FitRequest {
  readonly extractor: Extractor;
  readonly activation: "softmax" | "sigmoid";
  readonly labels: readonly string[];
  /** Of an embedding. */
  readonly width: number;
  readonly train: FitExamples;
  /** Held out: never looked at but for the metrics. May have no rows. */
  readonly test: FitExamples;
  readonly epochs: number;
  readonly learningRate: number;
  readonly seed: number;
  /** What an earlier, unfinished fit of the same request said last; null from the beginning. */
  readonly checkpoint: Uint8Array | null;
}

/** After each epoch. The same request gives the same, wherever it was interrupted. */
export interface FitStep {
  /** From 1. */
  readonly epoch: number;
  readonly metrics: Metrics;
  /** What the fit could go on from after this epoch; null when it is too soon after the last one. */
  readonly checkpoint: Uint8Array | null;
  /** With the last epoch. */
  readonly done: FitDone | null;
}

export interface FitDone {
  /** The head: files of a model folder that takes an embedding and answers one score a label, `auspex.json` apart. */
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** rows × classes of 0 and 1: what the head says of the held-out examples. */
  readonly testDecisions: Uint8Array;
  /** Whether it ended before the last epoch that was asked for. */
  readonly earlyStopped: boolean;
}

export interface Trainer {
  /**
   * One outcome for each picture, in their order. Rejects with AuspexError: `not_found` when the version is not
   * ready, `failed_precondition` when it names no embedding, `canceled`, `unavailable` when the engine closes,
   * `internal` when its worker died whatever the picture. A picture that it dies with twice fails alone.
   */
  embed(
    extractor: Extractor,
    images: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<readonly Embedded[]>;
  /**
   * Rejects as `embed` does, with `internal` when its worker died twice, and with `resource_exhausted` when the
   * examples would not fit into its memory. Leaving the loop, or the signal, ends the fit.
   */
  fit(request: FitRequest, signal: AbortSignal): AsyncIterable<FitStep>;
}

/** Rows of a mini-batch. */
export const BATCH_ROWS = 32;

/**
 * Steps after which a fit has settled at the least learning rate: CIFAR-10 on `auspex/mobilenet`, 20 pictures a label,
 * no longer gets better after 1,400.
 */
const SETTLING_STEPS = 2000;

/** However many rows there are, an epoch is no more than this part of a fit, so that there is something to watch. */
const EPOCHS_LEAST = 10;

/**
 * Epochs after which a fit has settled whatever its learning rate. Where there are more classes than rows in a
 * mini-batch, each class is in few of them, and Adam's steps for it become smaller with the root of that.
 * @returns from 10 to `EPOCHS_MAX`
 */
export function defaultEpochs(rows: number, classes: number): number {
  const steps = SETTLING_STEPS * Math.sqrt(Math.max(1, classes / BATCH_ROWS));
  const epochs = Math.ceil(steps / Math.max(1, Math.ceil(rows / BATCH_ROWS)));
  return Math.min(Math.max(epochs, EPOCHS_LEAST), EPOCHS_MAX);
}
