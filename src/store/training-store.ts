/** What may be asked of storage for trainings, the models that they make versions of, and embeddings; see `store.ts`. */
import type { DatasetId, Deletion } from "../domain/dataset.ts";
import type {
  EpochMetrics,
  EpochResult,
  TrainedModel,
  Training,
  TrainingOptions,
  TrainingStats,
} from "../domain/training.ts";

/** What a training is before its place in the queue and its model are known. */
export type NewTraining = Pick<Training, "id" | "principal" | "options" | "params" | "createdAt">;

export type StartResult =
  | { readonly kind: "started"; readonly training: Training }
  /** Nothing was written, because the dataset (or the model) does not exist, was deleted, … */
  | { readonly kind: "unknown" | "deleted" | "importing" | "failed" | "busy" };

/** How a running training comes on; what is left out stays as it is. */
export interface TrainingProgress {
  readonly progress: number;
  readonly options: TrainingOptions;
  /** That ended since the last time, in order. */
  readonly epochs: readonly EpochMetrics[];
  readonly checkpoint: Uint8Array | undefined;
}

export type TrainingEnd =
  | {
      readonly status: "succeeded";
      readonly version: number;
      readonly stats: TrainingStats;
      /** Of the last epoch. */
      readonly results: readonly EpochResult[];
    }
  | { readonly status: "failed"; readonly failure: string; readonly stats: TrainingStats };

/** A training that this process runs: the attempt fences off one that was lost and claimed again. */
export type RunningTraining = Pick<Training, "id" | "attempt">;

export interface TrainingStore {
  /** Makes the model `<principal>/<slug>-<number>` with its alias and queues its first training. */
  start(args: {
    readonly training: NewTraining;
    readonly name: string;
    readonly datasetId: DatasetId;
    readonly model: Pick<TrainedModel, "id" | "modelId"> & { readonly slug: string };
  }): Promise<StartResult>;
  /** Queues another training of a model, from its dataset. */
  retrain(args: { readonly training: NewTraining; readonly model: string }): Promise<StartResult>;
  get(principal: string, id: string): Promise<Training | undefined>;
  /** Undefined also once it was deleted. */
  model(principal: string, name: string): Promise<TrainedModel | undefined>;
  /** The newest of a model, or the newest that succeeded. */
  latest(principal: string, model: string, status?: "succeeded"): Promise<Training | undefined>;
  /** The latest of each model whose dataset is there, by the model's id. */
  list(query: {
    readonly principal: string;
    readonly datasetId: DatasetId | undefined;
    /** Only models with ids above it. */
    readonly after: string;
    readonly skip: number;
    readonly limit: number;
  }): Promise<Training[]>;
  epochs(query: {
    readonly trainingId: string;
    readonly after: number;
    readonly skip: number;
    readonly limit: number;
  }): Promise<{ readonly epoch: EpochMetrics; readonly results: readonly EpochResult[] }[]>;
  /** Queued → running, the oldest one, with its attempt raised; undefined when none waits. */
  claim(now: number): Promise<Training | undefined>;
  /**
   * For a server's start: raises the attempt of those that were running. One that had its last attempt fails instead,
   * with the reason given. Answers both as they are now, oldest first.
   */
  takeUp(args: {
    readonly now: number;
    readonly attemptsMax: number;
    readonly failure: string;
  }): Promise<Training[]>;
  checkpoint(id: string): Promise<Uint8Array | null>;
  /** Forgets epochs and checkpoint, and begins with this one. False: it does not run any more, as below. */
  restart(args: {
    readonly running: RunningTraining;
    readonly now: number;
    readonly checkpoint: Uint8Array;
  }): Promise<boolean>;
  advance(args: {
    readonly running: RunningTraining;
    readonly now: number;
    readonly next: TrainingProgress;
  }): Promise<boolean>;
  /** Ends it; the checkpoint goes, and so do the epochs that nobody can ask for any more. */
  settle(args: {
    readonly running: RunningTraining;
    readonly now: number;
    readonly end: TrainingEnd;
  }): Promise<boolean>;
  /** Ends it from outside, queued or running; undefined when it is neither. */
  cancel(args: {
    readonly principal: string;
    readonly id: string;
    readonly now: number;
  }): Promise<Training | undefined>;
  /** The server stops: the attempt does not count. */
  giveBack(running: RunningTraining): Promise<void>;
  /** Takes a model from its alias and lists, and queues the deletion of what it has. */
  deleteModel(args: {
    readonly principal: string;
    readonly model: string;
    readonly deletionId: string;
    readonly now: number;
  }): Promise<
    { readonly kind: "deleted"; readonly deletion: Deletion } | { readonly kind: "unknown" | "busy" }
  >;
  /** Deletes the trainings of a deleted model, a part of their epochs at a time; false when there is more to delete. */
  purgeModel(model: string): Promise<boolean>;
  /** Whether a version that this training published is nobody's: it was canceled or failed, or its model deleted. */
  isAbandoned(args: { readonly model: string; readonly trainingId: string }): Promise<boolean>;
}

export interface EmbeddingStore {
  /** Those of the blobs that have none, in their order. */
  missing(extractor: string, blobs: readonly string[]): Promise<string[]>;
  /** Those that are there, by blob. */
  get(extractor: string, blobs: readonly string[]): Promise<Map<string, Float32Array>>;
  put(extractor: string, embeddings: ReadonlyMap<string, Float32Array>): Promise<void>;
  /** Deletes those of pictures that no example has any more. Answers how many. */
  sweep(): Promise<number>;
}
