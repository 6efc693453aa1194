/**
 * From our messages to this dialect's objects: datasets, labels, examples and deletions. Keys stand in the order in
 * which the API wrote them; `/v1` knows fewer.
 */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type Dataset,
  DatasetState,
  DatasetType,
  type Deletion,
  DeletionState,
  type Example,
  type Label,
} from "../../../../gen/auspex/v1/dataset_pb.ts";
import { base32OfUuid } from "../../../domain/id.ts";
import type { JsonObject } from "../../../domain/payload.ts";
import type { Version } from "./door.ts";

/** What the API says of the language of pictures. */
export const LANGUAGE = "N/A";

/** `2026-01-05T10:00:00.000+0000`; a time that is not set does not occur. */
export function renderTime(time: Timestamp | undefined): string {
  return isoTime(time).replace("Z", "+0000");
}

/** `2026-01-05T10:00:00.000Z` */
export function isoTime(time: Timestamp | undefined): string {
  return new Date(Number(time?.seconds ?? 0n) * 1000 + Math.floor((time?.nanos ?? 0) / 1e6)).toISOString();
}

export function renderList(data: JsonObject[]): JsonObject {
  return { object: "list", data };
}

/** Of both directions: a request's `type` and an answer's. */
export const TYPE_NAMES: ReadonlyMap<DatasetType, string> = new Map<DatasetType, string>([
  [DatasetType.IMAGE, "image"],
  [DatasetType.IMAGE_MULTI_LABEL, "image-multi-label"],
]);

function statusMessage({ state, failure }: Dataset): string {
  if (state === DatasetState.IMPORTING) return "UPLOADING";
  return failure === "" ? "SUCCEEDED" : `FAILED: ${failure}`;
}

export function renderDataset(dataset: Dataset, version: Version): JsonObject {
  const { id, name, labels, exampleCount, state, type, duplicateCount } = dataset;
  return {
    id: Number(id),
    name,
    createdAt: renderTime(dataset.createTime),
    updatedAt: renderTime(dataset.updateTime),
    labelSummary: {
      labels: labels.map((label) => ({ ...labelParts(label), numExamples: Number(label.exampleCount) })),
    },
    totalExamples: Number(exampleCount),
    totalLabels: labels.length,
    available: state === DatasetState.READY,
    statusMsg: statusMessage(dataset),
    ...(version === 2 && {
      type: TYPE_NAMES.get(type) ?? "",
      language: LANGUAGE,
      numOfDuplicates: Number(duplicateCount),
    }),
    object: "dataset",
  };
}

/** A dataset to which a zip is being added, as it was before. */
export function renderGrowingDataset(dataset: Dataset, version: Version): JsonObject {
  const { statusMsg: _, ...rest } = renderDataset(dataset, version);
  return { ...rest, available: false };
}

function labelParts({ id, datasetId, name }: Label): JsonObject {
  return { id: Number(id), datasetId: Number(datasetId), name };
}

export function renderLabel(label: Label): JsonObject {
  return { ...labelParts(label), object: "label" };
}

/** @param location where its picture can be had */
export function renderExample(example: Example, location: string): JsonObject {
  const { id, name, label } = example;
  return {
    id: Number(id),
    name,
    location,
    createdAt: renderTime(example.createTime),
    label: label ? { ...labelParts(label), numExamples: Number(label.exampleCount) } : null,
    object: "example",
  };
}

const DELETION_STATUS: ReadonlyMap<DeletionState, string> = new Map<DeletionState, string>([
  [DeletionState.QUEUED, "QUEUED"],
  [DeletionState.RUNNING, "RUNNING"],
  [DeletionState.SUCCEEDED, "SUCCEEDED"],
  [DeletionState.FAILED, "FAILED"],
]);

/** @param organizationId whom the dataset or model belonged to */
export function renderDeletion(deletion: Deletion, organizationId: string): JsonObject {
  const { id, kind, state, progress, failure, deleted } = deletion;
  return {
    id: base32OfUuid(id),
    type: kind.toUpperCase(),
    status: DELETION_STATUS.get(state) ?? "",
    progress: shortest(progress),
    message: failure === "" ? null : failure,
    object: "deletion",
    organizationId,
    deletedObjectId: deletion.modelId || deleted,
  };
}

/** A float32 by the fewest digits that tell it from its neighbours, which is how this API prints them. */
export function shortest(value: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
