/** Datasets: labelled pictures that classifiers are trained from. Times are microseconds since the Unix epoch. */

export const DATASET_TYPES = ["image", "image-multi-label"] as const;
export type DatasetType = (typeof DATASET_TYPES)[number];

/** Datasets, labels and examples are numbered from one sequence. */
export type DatasetId = number & { readonly __brand: "DatasetId" };
export type LabelId = number & { readonly __brand: "LabelId" };
export type ExampleId = number & { readonly __brand: "ExampleId" };

/** Characters of a label's, a dataset's or an example's name. */
export const NAME_LENGTH_MAX = 180;
/** Labels of one dataset. */
export const LABELS_MAX = 250;

export interface Label {
  readonly id: LabelId;
  readonly datasetId: DatasetId;
  readonly name: string;
  /** Examples under it, feedback included. */
  readonly exampleCount: number;
}

/** Files of a zip that were left out. */
export interface SkippedFiles {
  readonly count: number;
  /** The first ten, each with the reason. */
  readonly first: readonly string[];
}

export type DatasetState =
  | { readonly kind: "importing" }
  /** `failure` says why a later zip could not be taken up, "" when it could. */
  | { readonly kind: "ready"; readonly failure: string }
  /** The first zip could not be taken up. */
  | { readonly kind: "failed"; readonly failure: string };

export interface Dataset {
  readonly id: DatasetId;
  readonly principal: string;
  readonly name: string;
  readonly type: DatasetType;
  readonly state: DatasetState;
  readonly labels: readonly Label[];
  /** Uploaded pictures that were there already under the same label. */
  readonly duplicateCount: number;
  readonly skipped: SkippedFiles;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export type ExampleSource = "upload" | "feedback";

export interface Example {
  readonly id: ExampleId;
  readonly datasetId: DatasetId;
  readonly principal: string;
  readonly label: Label;
  readonly name: string;
  readonly source: ExampleSource;
  /** SHA-256 of the picture, lower-case hex: the blob's name. Never given out. */
  readonly blob: string;
  readonly mediaType: string;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly sizeBytes: number;
  readonly createdAt: number;
}

export type DeletionState = "queued" | "running" | "succeeded" | "failed";

/** The deletion of a dataset or of a trained model, which goes on behind the call that asked for it. */
export interface Deletion {
  /** UUIDv7. */
  readonly id: string;
  readonly principal: string;
  readonly kind: "dataset" | "model";
  /** The dataset's id in decimal, or the model's `owner/name`. */
  readonly deleted: string;
  /** Of a model: its id of 26 characters; "" for a dataset. */
  readonly modelId: string;
  readonly state: DeletionState;
  /** 0 to 1. */
  readonly progress: number;
  /** "" unless failed. */
  readonly failure: string;
  readonly createdAt: number;
}
