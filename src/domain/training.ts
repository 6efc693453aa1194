/**
 * Trainings: `queued → running → succeeded | failed | canceled`, the last three terminal. One that was running when
 * its server went down is claimed again, with `attempt` raised. Times are microseconds since the Unix epoch.
 */
import type { DatasetId, DatasetType } from "./dataset.ts";

export type TrainingStatus = "queued" | "running" | "succeeded" | "failed" | "canceled";

export const EPOCHS_MAX = 1000;
export const LEARNING_RATE = { min: 0.0001, max: 0.01, default: 0.0001 } as const;
export const TRAIN_SPLIT_RATIO_DEFAULT = 0.9;

/** Complete: defaults are filled in when it is asked for, but for `epochs`, which the number of examples decides. */
export interface TrainingOptions {
  /** 0 until decided. */
  readonly epochs: number;
  readonly learningRate: number;
  readonly trainSplitRatio: number;
  readonly withFeedback: boolean;
  readonly seed: number;
}

/** A model that trainings make versions of. */
export interface TrainedModel {
  /** `owner/name` */
  readonly name: string;
  readonly principal: string;
  /** UUID */
  readonly id: string;
  /** 26 characters of base32, upper case: an alias of the model's from its first training on. */
  readonly modelId: string;
  readonly datasetId: DatasetId;
  readonly type: DatasetType;
  readonly createdAt: number;
}

/** What the held-out examples say; everything by label follows `labels`. */
export interface Metrics {
  readonly labels: readonly string[];
  /** Harmonic mean of precision and recall; 0 where there is nothing to tell. */
  readonly f1: readonly number[];
  /** Type image: counts of held-out examples, [right label][given label]; [] for multi-label. */
  readonly confusionMatrix: readonly (readonly number[])[];
  /** Type multi-label: by label [[true negatives, false positives], [false negatives, true positives]]; else []. */
  readonly confusionTables: readonly (readonly (readonly number[])[])[];
  /** Share of examples with the right label first; multi-label: of right decisions over all labels. */
  readonly testAccuracy: number;
  readonly trainingAccuracy: number;
  /** Mean cross entropy of the examples that were trained on, in nats. */
  readonly trainingLoss: number;
  /** Multi-label: the accuracies of each label; else []. */
  readonly labelTestAccuracy: readonly number[];
  readonly labelTrainingAccuracy: readonly number[];
}

export interface EpochMetrics {
  /** From 1. */
  readonly epoch: number;
  readonly metrics: Metrics;
}

/** What was said of one held-out example; multi-label: names joined by commas. */
export interface EpochResult {
  readonly exampleName: string;
  readonly expectedLabel: string;
  readonly predictedLabel: string;
}

export interface TrainingStats {
  readonly labels: number;
  /** Distinct pictures. */
  readonly examples: number;
  readonly trainExamples: number;
  readonly testExamples: number;
  readonly epochs: number;
  /** Milliseconds. */
  readonly totalMs: number;
  readonly loadMs: number;
  readonly embeddingMs: number;
  readonly trainingMs: number;
  readonly publishMs: number;
  readonly earlyStopped: boolean;
}

export interface Training {
  /** UUIDv7. */
  readonly id: string;
  readonly principal: string;
  readonly model: TrainedModel;
  readonly name: string;
  readonly datasetId: DatasetId;
  readonly status: TrainingStatus;
  readonly revision: number;
  readonly attempt: number;
  /** 0 to 1: a half for the embeddings, a half for the epochs; 1 only when it has succeeded. */
  readonly progress: number;
  /** From 1: its place among the queued trainings of all principals when the row was read; 0 unless queued. */
  readonly queuePosition: number;
  /** "" unless failed. */
  readonly failure: string;
  readonly options: TrainingOptions;
  /** null until it has ended, and when it was canceled. */
  readonly stats: TrainingStats | null;
  readonly lastEpoch: EpochMetrics | null;
  /** The client's own words for its options, at most 2,000 characters. */
  readonly params: string;
  /** Published; 0 until it has succeeded. */
  readonly version: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
}

export function isTrainingEnded(status: TrainingStatus): boolean {
  return status === "succeeded" || status === "failed" || status === "canceled";
}
