/** Training, its state, and what is known of a trained model. (§1.4, §1.5) */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  DeleteTrainedModelRequestSchema,
  DeleteTrainedModelResponseSchema,
  GetModelMetricsRequestSchema,
  GetModelMetricsResponseSchema,
  GetTrainingRequestSchema,
  GetTrainingResponseSchema,
  ListLearningCurveRequestSchema,
  ListLearningCurveResponseSchema,
  ListTrainingsRequestSchema,
  ListTrainingsResponseSchema,
  RetrainModelRequestSchema,
  RetrainModelResponseSchema,
  StartTrainingRequestSchema,
  StartTrainingResponseSchema,
  type TrainingOptionsSchema,
} from "../../../../gen/auspex/v1/training_pb.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { pathId } from "./dataset-request.ts";
import type { Answer, Exchange, Route } from "./door.ts";
import { badParameter, refuse } from "./errors.ts";
import { decimalOf, type Form, integerOf, pathPart, readForm, textOf } from "./form.ts";
import { renderDeletion, renderList } from "./render.ts";
import { renderCurvePoint, renderModel, renderModelMetrics, renderTraining } from "./render-training.ts";
import { decodePage, present, withModel } from "./request.ts";

const MODEL = "/vision/models/:modelId";

export const TRAINING_ROUTES: readonly Route[] = [
  { method: "POST", path: "/vision/train", handle: startTraining },
  { method: "POST", path: "/vision/retrain", handle: retrain },
  { method: "GET", path: "/vision/train/:modelId", handle: getTraining },
  { method: "GET", path: "/vision/datasets/:datasetId/models", handle: listModels },
  { method: "GET", path: MODEL, handle: getMetrics },
  { method: "GET", path: `${MODEL}/lc`, handle: listLearningCurve },
  { method: "DELETE", path: MODEL, handle: deleteModel },
];

const ok = (body: JsonObject): Answer => ({ status: 200, body });

interface Options {
  readonly options: MessageInitShape<typeof TrainingOptionsSchema>;
  /** As they came, to be answered again. */
  readonly params: string;
}

function decodeOptions(form: Form): Options {
  const params = textOf(form, "trainParams") ?? "";
  const given = params === "" ? {} : parseParams(params);
  if (Object.hasOwn(given, "withGlobalDatasetId")) throw refuse("globalDataset");
  // Nothing given is a default; a zero that is given is out of its range and told so.
  const epochs = integerOf("epochs", textOf(form, "epochs"), 1);
  const learningRate = decimalOf("learningRate", textOf(form, "learningRate"));
  const trainSplitRatio = decimalOf("trainSplitRatio", textIn(given, "trainSplitRatio"));
  if (learningRate === 0) throw badParameter("learningRate", "must be more than 0");
  if (trainSplitRatio === 0) throw badParameter("trainSplitRatio", "must be more than 0");
  return {
    options: {
      epochs: epochs ?? 0,
      learningRate: learningRate ?? 0,
      trainSplitRatio: trainSplitRatio ?? 0,
      withFeedback: decodeFlag("withFeedback", textIn(given, "withFeedback")),
    },
    params,
  };
}

function parseParams(text: string): JsonObject {
  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse("trainParams");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refuse("trainParams");
  return value;
}

/** A member that may be a text or what the text says: `"0.7"` is 0.7 to this API's clients. */
function textIn(params: JsonObject, name: string): string | undefined {
  const value = Object.hasOwn(params, name) ? params[name] : undefined;
  if (value === undefined || value === null) return undefined;
  if (typeof value === "object") throw refuse("trainParams");
  return String(value).trim();
}

function decodeFlag(name: string, text: string | undefined): boolean {
  if (text === undefined || text.toLowerCase() === "false") return false;
  if (text.toLowerCase() === "true") return true;
  throw badParameter(name, "must be true or false");
}

async function startTraining({ services, call, request, config, version }: Exchange): Promise<Answer> {
  const form = await readForm(request, "form", config.MAX_JSON_VALUES);
  const datasetId = integerOf("datasetId", textOf(form, "datasetId"), 1);
  const name = textOf(form, "name");
  if (datasetId === undefined || name === undefined) throw refuse("trainIncomplete");
  const message = create(StartTrainingRequestSchema, {
    datasetId: BigInt(datasetId),
    name,
    ...decodeOptions(form),
  });
  const answer = await services.trainings.startTraining(message, call);
  return ok(renderTraining(present(create(StartTrainingResponseSchema, answer).training), version));
}

async function retrain({ services, call, request, config, version }: Exchange): Promise<Answer> {
  const form = await readForm(request, "form", config.MAX_JSON_VALUES);
  const model = textOf(form, "modelId");
  if (model === undefined) throw refuse("modelIdMissing");
  const message = create(RetrainModelRequestSchema, { model, ...decodeOptions(form) });
  const answer = await withModel(model, () => services.trainings.retrainModel(message, call));
  return ok(renderTraining(present(create(RetrainModelResponseSchema, answer).training), version));
}

async function getTraining({ services, call, request, version }: Exchange): Promise<Answer> {
  const model = pathPart(request, "modelId");
  const message = create(GetTrainingRequestSchema, { by: { case: "model", value: model } });
  const answer = await withModel(model, () => services.trainings.getTraining(message, call));
  return ok(renderTraining(present(create(GetTrainingResponseSchema, answer).training), version));
}

async function listModels({ services, call, request, version }: Exchange): Promise<Answer> {
  const message = create(ListTrainingsRequestSchema, {
    datasetId: pathId(request, "datasetId"),
    ...decodePage(request, 100),
  });
  const answer = await services.trainings.listTrainings(message, call);
  const { trainings } = create(ListTrainingsResponseSchema, answer);
  return ok(renderList(trainings.map((training) => renderModel(training, version))));
}

async function getMetrics({ services, call, request, version }: Exchange): Promise<Answer> {
  const model = pathPart(request, "modelId");
  const message = create(GetModelMetricsRequestSchema, { model });
  const answer = await withModel(model, () => services.trainings.getModelMetrics(message, call));
  const { training, metrics } = create(GetModelMetricsResponseSchema, answer);
  return ok(renderModelMetrics(present(training), present(metrics), version));
}

async function listLearningCurve({ services, call, request }: Exchange): Promise<Answer> {
  const model = pathPart(request, "modelId");
  const message = create(ListLearningCurveRequestSchema, { model, ...decodePage(request, 25) });
  const answer = await withModel(model, () => services.trainings.listLearningCurve(message, call));
  const { points } = create(ListLearningCurveResponseSchema, answer);
  return ok(renderList(points.map(renderCurvePoint)));
}

async function deleteModel({ services, call, request, version }: Exchange): Promise<Answer> {
  const model = pathPart(request, "modelId");
  const message = create(DeleteTrainedModelRequestSchema, { model });
  const answer = await withModel(model, () => services.trainings.deleteTrainedModel(message, call));
  if (version === 1) return { status: 204, body: undefined };
  const deletion = present(create(DeleteTrainedModelResponseSchema, answer).deletion);
  return ok(renderDeletion(deletion, call.principal.name));
}
