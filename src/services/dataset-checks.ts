/** What well-formed requests to DatasetService and FeedbackService are; a part of the table in `validation.ts`. */
import {
  type AddExamplesRequest,
  type CreateDatasetRequest,
  type CreateExampleRequest,
  type CreateFeedbackRequest,
  type CreateLabelRequest,
  type DeleteDatasetRequest,
  type DeleteExampleRequest,
  ExampleSource,
  type GetDatasetRequest,
  type GetDeletionRequest,
  type GetExampleRequest,
  type GetLabelRequest,
  type ListDatasetsRequest,
  type ListExamplesRequest,
  type UploadDatasetRequest,
  type ZipSource,
} from "../../gen/auspex/v1/dataset_pb.ts";
import { LABELS_MAX, NAME_LENGTH_MAX } from "../domain/dataset.ts";
import {
  byId,
  type Check,
  type Complain,
  type Limits,
  length,
  modelRef,
  PAGE_TOKEN_LENGTH_MAX,
  pageSize,
  url,
} from "./check.ts";
import { datasetTypeName } from "./dataset-message.ts";

function number(complain: Complain, field: string, value: bigint): void {
  if (value <= 0n) complain(field, "required", "is required, from 1 up");
}

const byNumber: Check<{ readonly id: bigint }> = (request, complain) => number(complain, "id", request.id);

function name(complain: Complain, field: string, value: string): void {
  if (value.trim() === "") complain(field, "required", "is required");
  length(complain, field, value, NAME_LENGTH_MAX);
}

/** Lists of labels separate them by commas. */
function labelName(complain: Complain, field: string, value: string): void {
  name(complain, field, value);
  if (value.includes(",")) complain(field, "format", "must not hold a comma");
}

function labels(complain: Complain, values: readonly string[]): void {
  if (values.length > LABELS_MAX) {
    complain("labels", "too_many", `has ${values.length} entries; at most ${LABELS_MAX} are allowed`);
    return;
  }
  for (const [index, value] of values.entries()) {
    labelName(complain, `labels[${index}]`, value);
    if (values.indexOf(value) < index) complain(`labels[${index}]`, "duplicate", "is in the list twice");
  }
}

function type(complain: Complain, value: CreateDatasetRequest["type"]): void {
  if (!datasetTypeName(value)) {
    complain("type", "required", "must be DATASET_TYPE_IMAGE or DATASET_TYPE_IMAGE_MULTI_LABEL");
  }
}

function zip(complain: Complain, value: ZipSource | undefined): void {
  switch (value?.source.case) {
    case "data":
      if (value.source.value.length === 0) complain("zip.data", "required", "must hold the bytes of a zip");
      break;
    case "url":
      url(complain, "zip.url", value.source.value);
      break;
    default:
      complain("zip", "required", "is required, as data or as a url");
  }
}

function picture(complain: Complain, { length: bytes }: Uint8Array, limits: Limits): void {
  if (bytes === 0) complain("data", "required", "must hold the bytes of a picture");
  if (bytes > limits.MAX_EXAMPLE_BYTES) {
    complain("data", "too_large", `has ${bytes} bytes; at most ${limits.MAX_EXAMPLE_BYTES} are allowed`);
  }
}

function page(complain: Complain, request: { readonly pageSize: number; readonly pageToken: string }): void {
  pageSize(complain, request.pageSize);
  length(complain, "page_token", request.pageToken, PAGE_TOKEN_LENGTH_MAX);
}

const SOURCES: ReadonlySet<ExampleSource> = new Set(Object.values(ExampleSource));

export const DATASET_CHECKS = {
  "auspex.v1.CreateDatasetRequest": ((request, complain) => {
    name(complain, "name", request.name);
    labels(complain, request.labels);
    type(complain, request.type);
  }) as Check<CreateDatasetRequest>,
  "auspex.v1.UploadDatasetRequest": ((request, complain) => {
    length(complain, "name", request.name, NAME_LENGTH_MAX);
    type(complain, request.type);
    zip(complain, request.zip);
  }) as Check<UploadDatasetRequest>,
  "auspex.v1.AddExamplesRequest": ((request, complain) => {
    number(complain, "dataset_id", request.datasetId);
    zip(complain, request.zip);
  }) as Check<AddExamplesRequest>,
  "auspex.v1.GetDatasetRequest": byNumber as Check<GetDatasetRequest>,
  "auspex.v1.ListDatasetsRequest": ((request, complain) =>
    page(complain, request)) as Check<ListDatasetsRequest>,
  "auspex.v1.DeleteDatasetRequest": byNumber as Check<DeleteDatasetRequest>,
  "auspex.v1.GetDeletionRequest": byId as Check<GetDeletionRequest>,
  "auspex.v1.CreateLabelRequest": ((request, complain) => {
    number(complain, "dataset_id", request.datasetId);
    labelName(complain, "name", request.name);
  }) as Check<CreateLabelRequest>,
  "auspex.v1.GetLabelRequest": byNumber as Check<GetLabelRequest>,
  "auspex.v1.CreateExampleRequest": ((request, complain, limits) => {
    number(complain, "dataset_id", request.datasetId);
    number(complain, "label_id", request.labelId);
    name(complain, "name", request.name);
    picture(complain, request.data, limits);
  }) as Check<CreateExampleRequest>,
  "auspex.v1.GetExampleRequest": byNumber as Check<GetExampleRequest>,
  "auspex.v1.ListExamplesRequest": ((request, complain) => {
    if (request.datasetId === 0n && request.labelId === 0n) {
      complain("dataset_id", "required", "is required, or else label_id");
    }
    if (request.datasetId < 0n) complain("dataset_id", "out_of_range", "must not be negative");
    if (request.labelId < 0n) complain("label_id", "out_of_range", "must not be negative");
    if (!SOURCES.has(request.source)) complain("source", "unknown", "is not a known source");
    page(complain, request);
  }) as Check<ListExamplesRequest>,
  "auspex.v1.DeleteExampleRequest": byNumber as Check<DeleteExampleRequest>,
  "auspex.v1.CreateFeedbackRequest": ((request, complain, limits) => {
    modelRef(complain, "model", request.model);
    picture(complain, request.data, limits);
    if (request.expectedLabel === "") complain("expected_label", "required", "is required");
    length(complain, "name", request.name, NAME_LENGTH_MAX);
  }) as Check<CreateFeedbackRequest>,
};
