/** Datasets, labels and examples as messages of the API, and back where a request carries one. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type DatasetSchema,
  DatasetState,
  DatasetType,
  type ExampleSchema,
  ExampleSource,
  type LabelSchema,
} from "../../gen/auspex/v1/dataset_pb.ts";
import type { Dataset, Example, Label, DatasetType as Type } from "../domain/dataset.ts";
import type { ImportProgress } from "./dataset-import.ts";
import { timeMessage } from "./message.ts";

const TYPE = {
  image: DatasetType.IMAGE,
  "image-multi-label": DatasetType.IMAGE_MULTI_LABEL,
} as const satisfies Record<Type, DatasetType>;

const TYPE_NAME = new Map(Object.entries(TYPE).map(([name, value]) => [value as DatasetType, name as Type]));

const STATE = {
  importing: DatasetState.IMPORTING,
  ready: DatasetState.READY,
  failed: DatasetState.FAILED,
} as const satisfies Record<Dataset["state"]["kind"], DatasetState>;

const SOURCE = {
  upload: ExampleSource.UPLOAD,
  feedback: ExampleSource.FEEDBACK,
} as const satisfies Record<Example["source"], ExampleSource>;

/** undefined for none and for a value that this version of the API does not know. */
export function datasetTypeName(type: DatasetType): Type | undefined {
  return TYPE_NAME.get(type);
}

/** What a filter means: a source, or undefined for both. The caller has checked that it is known. */
export function sourceFilter(source: ExampleSource): Example["source"] | undefined {
  switch (source) {
    case ExampleSource.ALL:
      return undefined;
    case ExampleSource.FEEDBACK:
      return "feedback";
    default:
      return "upload";
  }
}

export function datasetMessage(
  dataset: Dataset,
  progress: ImportProgress | undefined,
): MessageInitShape<typeof DatasetSchema> {
  const { state, labels, skipped } = dataset;
  const importing = state.kind === "importing";
  return {
    id: BigInt(dataset.id),
    name: dataset.name,
    type: TYPE[dataset.type],
    state: STATE[state.kind],
    failure: importing ? "" : state.failure,
    labels: labels.map(labelMessage),
    exampleCount: BigInt(labels.reduce((sum, { exampleCount }) => sum + exampleCount, 0)),
    duplicateCount: BigInt(dataset.duplicateCount),
    skippedCount: BigInt(skipped.count),
    skipped: [...skipped.first],
    importedCount: BigInt(importing ? (progress?.done ?? 0) : 0),
    importTotal: BigInt(importing ? (progress?.total ?? 0) : 0),
    createTime: timeMessage(dataset.createdAt),
    updateTime: timeMessage(dataset.updatedAt),
  };
}

export function labelMessage(label: Label): MessageInitShape<typeof LabelSchema> {
  return {
    id: BigInt(label.id),
    datasetId: BigInt(label.datasetId),
    name: label.name,
    exampleCount: BigInt(label.exampleCount),
  };
}

export function exampleMessage(example: Example): MessageInitShape<typeof ExampleSchema> {
  return {
    id: BigInt(example.id),
    datasetId: BigInt(example.datasetId),
    name: example.name,
    label: labelMessage(example.label),
    source: SOURCE[example.source],
    mediaType: example.mediaType,
    width: example.width,
    height: example.height,
    sizeBytes: BigInt(example.sizeBytes),
    createTime: timeMessage(example.createdAt),
  };
}
