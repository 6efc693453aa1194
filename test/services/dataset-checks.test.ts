import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  CreateDatasetRequestSchema,
  CreateExampleRequestSchema,
  CreateFeedbackRequestSchema,
  CreateLabelRequestSchema,
  DatasetType,
  GetDatasetRequestSchema,
  ListExamplesRequestSchema,
  UploadDatasetRequestSchema,
} from "../../gen/auspex/v1/dataset_pb.ts";
import { AuspexError } from "../../src/domain/error.ts";
import { validate } from "../../src/services/validation.ts";

const limits = { WAIT_MAX: 60_000, MAX_TENSOR_ELEMENTS: 1000, MAX_JSON_DEPTH: 64, MAX_EXAMPLE_BYTES: 1000 };

function complaints(request: Parameters<typeof validate>[0]): string[] {
  try {
    validate(request, limits);
  } catch (error) {
    if (!(error instanceof AuspexError) || error.code !== "invalid_argument") throw error;
    return error.violations.map(({ field, reason }) => `${field} ${reason}`);
  }
  return [];
}

const dataset = (init: MessageInitShape<typeof CreateDatasetRequestSchema>) =>
  complaints(create(CreateDatasetRequestSchema, { name: "shapes", type: DatasetType.IMAGE, ...init }));
const upload = (init: MessageInitShape<typeof UploadDatasetRequestSchema>) =>
  complaints(create(UploadDatasetRequestSchema, { type: DatasetType.IMAGE, ...init }));
const example = (init: MessageInitShape<typeof CreateExampleRequestSchema>) => {
  const given = { datasetId: 1n, labelId: 2n, name: "a", data: new Uint8Array(1) };
  return complaints(create(CreateExampleRequestSchema, { ...given, ...init }));
};
const listed = (init: MessageInitShape<typeof ListExamplesRequestSchema>) =>
  complaints(create(ListExamplesRequestSchema, { datasetId: 1n, ...init }));

describe("each limit, one inside and one outside", () => {
  test("names", () => {
    for (const name of ["x", "x".repeat(180)]) expect(dataset({ name })).toEqual([]);
    for (const name of ["", "  "]) expect(dataset({ name })).toEqual(["name required"]);
    expect(dataset({ name: "x".repeat(181) })).toEqual(["name too_long"]);
    expect(example({ name: "x".repeat(181) })).toEqual(["name too_long"]);
  });
  test("labels", () => {
    const labels = (count: number) => Array.from({ length: count }, (_, index) => `label ${index}`);
    expect(dataset({ labels: labels(250) })).toEqual([]);
    expect(dataset({ labels: labels(251) })).toEqual(["labels too_many"]);
    expect(dataset({ labels: ["a", "b,c", "", "a", "x".repeat(181)] })).toEqual([
      "labels[1] format",
      "labels[2] required",
      "labels[3] duplicate",
      "labels[4] too_long",
    ]);
    const label = create(CreateLabelRequestSchema, { datasetId: 1n, name: "a,b" });
    expect(complaints(label)).toEqual(["name format"]);
  });
  test("types", () => {
    expect(dataset({ type: DatasetType.IMAGE_MULTI_LABEL })).toEqual([]);
    for (const type of [DatasetType.UNSPECIFIED, 9 as DatasetType]) {
      expect(dataset({ type })).toEqual(["type required"]);
    }
  });
  test("zips", () => {
    const url = (value: string) => upload({ zip: { source: { case: "url", value } } });
    expect(upload({ zip: { source: { case: "data", value: new Uint8Array(1) } } })).toEqual([]);
    expect(upload({ zip: { source: { case: "data", value: new Uint8Array() } } })).toEqual([
      "zip.data required",
    ]);
    expect(upload({})).toEqual(["zip required"]);
    expect(upload({ zip: {} })).toEqual(["zip required"]);
    const long = "https://zips.example/".padEnd(2048, "x");
    expect(url(long)).toEqual([]);
    expect(url(`${long}x`)).toEqual(["zip.url too_long"]);
    expect(url("ftp://zips.example/a.zip")).toEqual(["zip.url format"]);
    expect(url("")).toEqual(["zip.url required"]);
  });
  test("pictures", () => {
    expect(example({ data: new Uint8Array(1000) })).toEqual([]);
    expect(example({ data: new Uint8Array(1001) })).toEqual(["data too_large"]);
    expect(example({ data: new Uint8Array() })).toEqual(["data required"]);
    const feedback = create(CreateFeedbackRequestSchema, {
      name: "x".repeat(181),
      data: new Uint8Array(1001),
    });
    expect(complaints(feedback)).toEqual([
      "model required",
      "data too_large",
      "expected_label required",
      "name too_long",
    ]);
  });
  test("numbers and pages", () => {
    expect(complaints(create(GetDatasetRequestSchema, { id: 1n }))).toEqual([]);
    for (const id of [0n, -1n]) {
      expect(complaints(create(GetDatasetRequestSchema, { id }))).toEqual(["id required"]);
    }
    expect(example({ datasetId: 0n, labelId: -2n })).toEqual(["dataset_id required", "label_id required"]);
    expect(listed({ pageSize: 200 })).toEqual([]);
    expect(listed({ pageSize: 201 })).toEqual(["page_size out_of_range"]);
    expect(listed({ datasetId: 0n, labelId: 1n })).toEqual([]);
    expect(listed({ datasetId: 0n })).toEqual(["dataset_id required"]);
    expect(listed({ datasetId: -1n, labelId: -1n })).toEqual([
      "dataset_id out_of_range",
      "label_id out_of_range",
    ]);
    expect(listed({ source: 4 as 3 })).toEqual(["source unknown"]);
  });
});
