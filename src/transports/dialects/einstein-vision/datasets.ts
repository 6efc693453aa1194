/** Datasets, labels, examples, feedback, and what is left of them once they are deleted. (§1.2, §1.3) */
import { create } from "@bufbuild/protobuf";
import {
  AddExamplesRequestSchema,
  AddExamplesResponseSchema,
  CreateDatasetRequestSchema,
  CreateDatasetResponseSchema,
  CreateExampleRequestSchema,
  CreateExampleResponseSchema,
  CreateFeedbackRequestSchema,
  CreateFeedbackResponseSchema,
  CreateLabelRequestSchema,
  CreateLabelResponseSchema,
  type Dataset,
  DatasetState,
  DeleteDatasetRequestSchema,
  DeleteDatasetResponseSchema,
  DeleteExampleRequestSchema,
  type Example,
  ExampleSource,
  GetDatasetRequestSchema,
  GetDatasetResponseSchema,
  GetDeletionRequestSchema,
  GetDeletionResponseSchema,
  GetExampleRequestSchema,
  GetExampleResponseSchema,
  GetLabelRequestSchema,
  GetLabelResponseSchema,
  ListDatasetsRequestSchema,
  ListDatasetsResponseSchema,
  ListExamplesRequestSchema,
  ListExamplesResponseSchema,
  UploadDatasetRequestSchema,
  UploadDatasetResponseSchema,
} from "../../../../gen/auspex/v1/dataset_pb.ts";
import { AuspexError } from "../../../domain/error.ts";
import { uuidOfBase32 } from "../../../domain/id.ts";
import type { JsonObject } from "../../../domain/payload.ts";
import { decodePicture, decodeSource, decodeType, decodeZip, pathId, zipName } from "./dataset-request.ts";
import type { Answer, Exchange, Route } from "./door.ts";
import { badParameter, Refused, refuse } from "./errors.ts";
import { type Form, filesOf, integerOf, pathPart, queryOf, readForm, textOf } from "./form.ts";
import {
  renderDataset,
  renderDeletion,
  renderExample,
  renderGrowingDataset,
  renderLabel,
  renderList,
} from "./render.ts";
import { decodePage, present, withModel } from "./request.ts";

const DATASET = "/vision/datasets/:datasetId";
const EXAMPLE = `${DATASET}/examples/:exampleId`;

export const DATASET_ROUTES: readonly Route[] = [
  { method: "POST", path: "/vision/datasets", handle: createDataset },
  { method: "GET", path: "/vision/datasets", handle: listDatasets },
  { method: "POST", path: "/vision/datasets/upload", handle: (exchange) => uploadDataset(exchange, false) },
  {
    method: "POST",
    path: "/vision/datasets/upload/sync",
    handle: (exchange) => uploadDataset(exchange, true),
  },
  { method: "GET", path: DATASET, handle: getDataset },
  { method: "DELETE", path: DATASET, handle: deleteDataset },
  { method: "PUT", path: `${DATASET}/upload`, handle: addExamples },
  { method: "POST", path: `${DATASET}/labels`, only: 1, handle: createLabel },
  { method: "GET", path: `${DATASET}/labels/:labelId`, only: 1, handle: getLabel },
  { method: "POST", path: `${DATASET}/examples`, handle: createExample },
  { method: "GET", path: `${DATASET}/examples`, handle: listExamples },
  { method: "GET", path: EXAMPLE, only: 1, handle: getExample },
  { method: "DELETE", path: EXAMPLE, only: 1, handle: deleteExample },
  { method: "GET", path: "/vision/examples", handle: listLabelExamples },
  { method: "POST", path: "/vision/feedback", handle: createFeedback },
  { method: "GET", path: "/vision/deletion/:deletionId", handle: getDeletion },
];

const formOf = ({ request, config }: Exchange): Promise<Form> =>
  readForm(request, "form", config.MAX_JSON_VALUES);

const ok = (body: JsonObject): Answer => ({ status: 200, body });

async function createDataset(exchange: Exchange): Promise<Answer> {
  const { services, call, version } = exchange;
  const form = await formOf(exchange);
  const name = textOf(form, "name");
  if (name === undefined) throw refuse("datasetNameMissing");
  const labels = (textOf(form, "labels") ?? "").split(",").map((label) => label.trim());
  const message = create(CreateDatasetRequestSchema, {
    name,
    labels: labels.filter((label) => label !== ""),
    type: decodeType(form),
  });
  const answer = await services.datasets.createDataset(message, call);
  return ok(renderDataset(present(create(CreateDatasetResponseSchema, answer).dataset), version));
}

async function uploadDataset(exchange: Exchange, isSync: boolean): Promise<Answer> {
  const { services, call, version } = exchange;
  const form = await formOf(exchange);
  const zip = decodeZip(form);
  const message = create(UploadDatasetRequestSchema, {
    name: textOf(form, "name") ?? zipName(form),
    type: decodeType(form),
    zip,
    waitUntilReady: isSync,
  });
  const answer = await services.datasets.uploadDataset(message, call).catch(refuseZip);
  const dataset = present(create(UploadDatasetResponseSchema, answer).dataset);
  if (isSync && dataset.state === DatasetState.FAILED) throw await undone(exchange, dataset);
  return ok(renderDataset(dataset, version));
}

/** What this API has words of its own for. */
function refuseZip(error: unknown): never {
  if (!(error instanceof AuspexError)) throw error;
  if (error.violations.some(({ field }) => field === "zip.url")) throw refuse("zipUnreachable");
  throw error.code === "failed_precondition" ? refuse("datasetImporting") : error;
}

/** A caller who waited and is refused never learns the dataset's id, so it does not stay. */
async function undone({ services, call }: Exchange, { id, failure }: Dataset): Promise<Refused> {
  await services.datasets.deleteDataset(create(DeleteDatasetRequestSchema, { id }), call);
  return new Refused({ status: 400, message: failure });
}

async function addExamples(exchange: Exchange): Promise<Answer> {
  const { services, call, request, version } = exchange;
  const datasetId = pathId(request, "datasetId");
  const message = create(AddExamplesRequestSchema, { datasetId, zip: decodeZip(await formOf(exchange)) });
  const answer = await services.datasets.addExamples(message, call).catch(refuseZip);
  return ok(renderGrowingDataset(present(create(AddExamplesResponseSchema, answer).dataset), version));
}

async function getDataset({ services, call, request, version }: Exchange): Promise<Answer> {
  const message = create(GetDatasetRequestSchema, { id: pathId(request, "datasetId") });
  const answer = await services.datasets.getDataset(message, call);
  return ok(renderDataset(present(create(GetDatasetResponseSchema, answer).dataset), version));
}

async function listDatasets({ services, call, request, version }: Exchange): Promise<Answer> {
  const page = decodePage(request, 25);
  // Nobody has made any of everybody's here.
  if (queryOf(request).get("global")?.trim().toLowerCase() === "true") return ok(renderList([]));
  const answer = await services.datasets.listDatasets(create(ListDatasetsRequestSchema, page), call);
  const { datasets } = create(ListDatasetsResponseSchema, answer);
  return ok(renderList(datasets.map((dataset) => renderDataset(dataset, version))));
}

async function deleteDataset({ services, call, request, version }: Exchange): Promise<Answer> {
  const message = create(DeleteDatasetRequestSchema, { id: pathId(request, "datasetId") });
  const answer = await services.datasets.deleteDataset(message, call);
  if (version === 1) return { status: 204, body: undefined };
  const deletion = present(create(DeleteDatasetResponseSchema, answer).deletion);
  return ok(renderDeletion(deletion, call.principal.name));
}

async function getDeletion({ services, call, request }: Exchange): Promise<Answer> {
  const id = uuidOfBase32(pathPart(request, "deletionId"));
  if (id === undefined) throw refuse("notFound");
  const answer = await services.datasets.getDeletion(create(GetDeletionRequestSchema, { id }), call);
  return ok(renderDeletion(present(create(GetDeletionResponseSchema, answer).deletion), call.principal.name));
}

async function createLabel(exchange: Exchange): Promise<Answer> {
  const { services, call, request } = exchange;
  const datasetId = pathId(request, "datasetId");
  const name = textOf(await formOf(exchange), "name") ?? "";
  const message = create(CreateLabelRequestSchema, { datasetId, name });
  const answer = await services.datasets.createLabel(message, call);
  return ok(renderLabel(present(create(CreateLabelResponseSchema, answer).label)));
}

async function getLabel({ services, call, request }: Exchange): Promise<Answer> {
  const message = create(GetLabelRequestSchema, { id: pathId(request, "labelId") });
  const answer = await services.datasets.getLabel(message, call);
  const label = present(create(GetLabelResponseSchema, answer).label);
  if (label.datasetId !== pathId(request, "datasetId")) throw refuse("notFound");
  return ok(renderLabel(label));
}

/** With a link to its picture, which is good for whoever has it, for a while. */
function render({ services, call, origin }: Exchange, example: Example): JsonObject {
  return renderExample(example, `${origin}${services.files.link(call.principal, example.id)}`);
}

async function createExample(exchange: Exchange): Promise<Answer> {
  const { services, call, request } = exchange;
  const datasetId = pathId(request, "datasetId");
  const form = await formOf(exchange);
  const [name, labelId] = [textOf(form, "name"), integerOf("labelId", textOf(form, "labelId"), 1)];
  if (name === undefined || labelId === undefined || !form.has("data")) throw refuse("exampleIncomplete");
  const message = create(CreateExampleRequestSchema, {
    datasetId,
    labelId: BigInt(labelId),
    name,
    data: decodePicture(form),
  });
  const answer = await services.datasets.createExample(message, call);
  return ok(render(exchange, present(create(CreateExampleResponseSchema, answer).example)));
}

async function listExamples(exchange: Exchange): Promise<Answer> {
  const { services, call, request } = exchange;
  const message = create(ListExamplesRequestSchema, {
    datasetId: pathId(request, "datasetId"),
    source: decodeSource(queryOf(request).get("source")),
    ...decodePage(request, 100),
  });
  const answer = await services.datasets.listExamples(message, call);
  const { examples } = create(ListExamplesResponseSchema, answer);
  return ok(renderList(examples.map((example) => render(exchange, example))));
}

async function listLabelExamples(exchange: Exchange): Promise<Answer> {
  const { services, call, request } = exchange;
  const labelId = integerOf("labelId", queryOf(request).get("labelId")?.trim() || undefined, 1);
  if (labelId === undefined) throw badParameter("labelId", "is required");
  const message = create(ListExamplesRequestSchema, {
    labelId: BigInt(labelId),
    source: ExampleSource.ALL,
    ...decodePage(request, 100),
  });
  const answer = await services.datasets.listExamples(message, call);
  const { examples } = create(ListExamplesResponseSchema, answer);
  return ok(renderList(examples.map((example) => render(exchange, example))));
}

/** The example of a v1 path, which must be one of that dataset's. */
async function findExample({ services, call, request }: Exchange): Promise<Example> {
  const message = create(GetExampleRequestSchema, { id: pathId(request, "exampleId") });
  const answer = await services.datasets.getExample(message, call);
  const example = present(create(GetExampleResponseSchema, answer).example);
  if (example.datasetId !== pathId(request, "datasetId")) throw refuse("notFound");
  return example;
}

async function getExample(exchange: Exchange): Promise<Answer> {
  return ok(render(exchange, await findExample(exchange)));
}

async function deleteExample(exchange: Exchange): Promise<Answer> {
  const { id } = await findExample(exchange);
  await exchange.services.datasets.deleteExample(create(DeleteExampleRequestSchema, { id }), exchange.call);
  return { status: 204, body: undefined };
}

async function createFeedback(exchange: Exchange): Promise<Answer> {
  const { services, call } = exchange;
  const form = await formOf(exchange);
  const [model, expectedLabel] = [textOf(form, "modelId"), textOf(form, "expectedLabel")];
  if (model === undefined || expectedLabel === undefined || !filesOf(form, "data").length) {
    throw refuse("feedbackIncomplete");
  }
  const message = create(CreateFeedbackRequestSchema, {
    model,
    expectedLabel,
    data: decodePicture(form),
    name: textOf(form, "name") ?? "",
  });
  const answer = await withModel(model, () => services.feedback.createFeedback(message, call));
  return ok(render(exchange, present(create(CreateFeedbackResponseSchema, answer).example)));
}
