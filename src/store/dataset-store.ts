/** What may be asked of storage for datasets, their labels and examples, and for deletions; see `store.ts`. */
import type {
  Dataset,
  DatasetId,
  DatasetType,
  Deletion,
  Example,
  ExampleId,
  ExampleSource,
  Label,
  LabelId,
  SkippedFiles,
} from "../domain/dataset.ts";

/** Where a zip's bytes are: stored, or to be fetched. */
export type ImportSource =
  | { readonly kind: "blob"; readonly blob: string }
  | { readonly kind: "url"; readonly url: string };

/** A zip that is to be taken up. Its number is from the datasets' sequence, below those of all that comes of it. */
export interface DatasetImport {
  readonly id: number;
  readonly principal: string;
  readonly datasetId: DatasetId;
  readonly source: ImportSource;
}

export interface NewDataset {
  readonly principal: string;
  readonly name: string;
  readonly type: DatasetType;
  /** Unique. */
  readonly labels: readonly string[];
  readonly createdAt: number;
}

/** A picture whose blob is already on disk. */
export interface NewExample {
  readonly name: string;
  readonly blob: string;
  readonly mediaType: string;
  readonly width: number;
  readonly height: number;
  readonly sizeBytes: number;
}

/** Why a dataset was left as it is: it does not exist, it has failed, or a zip is being taken up. */
export type DatasetRefusal = { readonly kind: "unknown" | "failed" | "importing" };

export type ImportEnd =
  | {
      readonly kind: "taken_up";
      /** Pictures that were left out because they were there. */
      readonly duplicates: number;
      readonly skipped: SkippedFiles;
    }
  | { readonly kind: "failed"; readonly failure: string; readonly skipped: SkippedFiles };

/** One example as a training needs it. */
export interface TrainingExample {
  readonly blob: string;
  readonly labelId: LabelId;
  readonly name: string;
}

/** Until an import has ended, its labels and examples are shown and counted nowhere. */
export interface DatasetStore {
  create(next: NewDataset): Promise<Dataset>;
  get(principal: string, id: DatasetId): Promise<Dataset | undefined>;
  /** By id. */
  list(query: {
    readonly principal: string;
    /** Only ids above it. */
    readonly after: number;
    readonly skip: number;
    readonly limit: number;
  }): Promise<Dataset[]>;
  /**
   * Hides the dataset and queues its deletion. Refused while it is importing, or while a training of it waits or
   * runs.
   */
  delete(args: {
    readonly principal: string;
    readonly id: DatasetId;
    readonly deletionId: string;
    readonly now: number;
  }): Promise<
    | { readonly kind: "deleted"; readonly deletion: Deletion }
    | { readonly kind: "unknown" | "importing" | "training" }
  >;
  createLabel(args: {
    readonly principal: string;
    readonly datasetId: DatasetId;
    readonly name: string;
    readonly now: number;
  }): Promise<
    | { readonly kind: "created"; readonly label: Label }
    | { readonly kind: "exists" | "full" }
    | DatasetRefusal
  >;
  getLabel(principal: string, id: LabelId): Promise<Label | undefined>;
  /** All that count, by id, with feedback or without; none of a dataset that is not there. */
  examplesOf(
    principal: string,
    id: DatasetId,
    options: { readonly withFeedback: boolean },
  ): Promise<TrainingExample[]>;
}

export interface ExampleStore {
  /**
   * Adds a picture under a label; `found` answers the one that was there. A feedback's name is unique among the
   * dataset's feedback, or else `name_taken`.
   */
  insert(args: {
    readonly principal: string;
    readonly datasetId: DatasetId;
    readonly labelId: LabelId;
    readonly source: ExampleSource;
    readonly example: NewExample;
    readonly now: number;
  }): Promise<
    | { readonly kind: "inserted" | "found"; readonly example: Example }
    | { readonly kind: "unknown_label" | "name_taken" }
    | DatasetRefusal
  >;
  get(principal: string, id: ExampleId): Promise<Example | undefined>;
  /** By id; undefined when there is no such dataset, or no such label in it. */
  list(query: {
    readonly principal: string;
    /** At least one of the two. */
    readonly datasetId: DatasetId | undefined;
    readonly labelId: LabelId | undefined;
    /** Undefined for any. */
    readonly source: ExampleSource | undefined;
    /** Only ids above it. */
    readonly after: number;
    readonly skip: number;
    readonly limit: number;
  }): Promise<Example[] | undefined>;
  /** False when there was none. */
  delete(args: {
    readonly principal: string;
    readonly id: ExampleId;
    readonly now: number;
  }): Promise<boolean>;
}

export interface ImportStore {
  /** Makes a dataset with its first zip to be taken up, and which fails with that. */
  create(
    next: NewDataset,
    source: ImportSource,
  ): Promise<{ readonly dataset: Dataset; readonly begun: DatasetImport }>;
  /** Begins to add a zip to a dataset. A failed dataset begins anew. */
  begin(args: {
    readonly principal: string;
    readonly datasetId: DatasetId;
    readonly source: ImportSource;
    readonly now: number;
  }): Promise<
    | { readonly kind: "begun"; readonly dataset: Dataset; readonly begun: DatasetImport }
    | { readonly kind: "unknown" | "importing" }
  >;
  /** Those that have not ended, oldest first. */
  unended(): Promise<DatasetImport[]>;
  /** Adds a part of an import's pictures; answers how many were there already. Labels are added as they come. */
  insert(args: {
    readonly begun: DatasetImport;
    readonly examples: readonly (NewExample & { readonly label: string })[];
    readonly now: number;
  }): Promise<number>;
  /** Deletes up to `limit` of an import's examples, its labels with the last; false when there is more to delete. */
  clear(begun: DatasetImport, limit: number): Promise<boolean>;
  /** Makes an import count, or forgets it; nothing happens when it has ended. One that fails was cleared before. */
  end(args: { readonly begun: DatasetImport; readonly end: ImportEnd; readonly now: number }): Promise<void>;
}

export interface DeletionStore {
  get(principal: string, id: string): Promise<Deletion | undefined>;
  /** Queued and running ones, oldest first. */
  unfinished(limit: number): Promise<Deletion[]>;
  /** How far one that is not finished has come. */
  record(deletion: Deletion, now: Pick<Deletion, "state" | "progress" | "failure">): Promise<void>;
  /** Examples that a deleted dataset still has. */
  countExamples(datasetId: DatasetId): Promise<number>;
  /** Deletes up to `limit` examples of a deleted dataset, itself with the last; false when there is more to delete. */
  purgeDataset(datasetId: DatasetId, limit: number): Promise<boolean>;
  /** Retention: deletes up to `limit` finished ones that were asked for before the time. Answers how many. */
  deleteEnded(args: { readonly askedBefore: number; readonly limit: number }): Promise<number>;
}
