/**
 * How every operation is called well, and for whom it is. What there is to call comes from the bindings, so that a new
 * operation is missed here before it is missed by anybody.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import type { Services } from "../../src/services/services.ts";
import { bindings } from "../../src/transports/binding.ts";
import { BASE_MODEL, definition, type Things } from "./things.ts";

/**
 * For whom it is: anybody; whoever has a credential of the server's; or whoever may ask a chatflow, with one of its
 * keys for example.
 */
export type Audience = "anybody" | "principal" | "asker";

/** As protobuf's JSON. */
export type Request = Readonly<Record<string, unknown>>;

export interface RpcRow {
  readonly audience: Audience;
  /** Each way in which it can name what is somebody's; one that names nothing is for whoever calls. */
  readonly requests: readonly ((of: Things) => Request)[];
  /** What it is called with is gone afterwards. */
  readonly destroys?: true;
  /** Says the same of every flow to those who need a key first. */
  readonly hides?: true;
}

/** Every operation that any door serves. */
export function allMethods(): readonly DescMethod[] {
  // Asked for its methods alone, no operation is ever run.
  const operations = new Proxy({}, { get: () => async () => ({}) });
  const services = new Proxy({}, { get: () => operations });
  return bindings(services as unknown as Services).map(({ method }) => method);
}

/** `ModelService.GetModel` */
export const nameOf = (method: DescMethod): string => `${method.parent.name}.${method.name}`;

const principal = (...requests: RpcRow["requests"]): RpcRow => ({ audience: "principal", requests });
const ending = (...requests: RpcRow["requests"]): RpcRow => ({ ...principal(...requests), destroys: true });
const asker = (...requests: RpcRow["requests"]): RpcRow => ({ audience: "asker", requests });

/** The smallest picture there is: one pixel. */
export const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=",
  "base64",
).toString("base64");
const TEXT = Buffer.from("The wall of the garden is high.").toString("base64");
const documents = [{ name: "more.txt", content: TEXT }];
const ask = ({ chat }: Things) => ({ text: "What colour is the gate?", chatId: chat });

/** What is destroyed is destroyed in this order. */
export const RPCS: Readonly<Record<string, RpcRow>> = {
  "PredictionService.CreatePrediction": principal(
    ({ image }) => ({ model: BASE_MODEL, input: { image }, validateInput: true }),
    ({ model }) => ({ model, input: { image: `data:image/png;base64,${PIXEL}` } }),
    ({ alias }) => ({ model: alias, input: { image: `data:image/png;base64,${PIXEL}` } }),
    ({ chatflow }) => ({ model: `chatflow/${chatflow}`, input: { question: "What?" } }),
  ),
  "PredictionService.GetPrediction": principal(({ prediction }) => ({ id: prediction })),
  "PredictionService.ListPredictions": principal(
    () => ({}),
    ({ model }) => ({ model }),
  ),
  "PredictionService.WatchPrediction": principal(
    ({ prediction }) => ({ id: prediction }),
    ({ prediction }) => ({ id: prediction, afterRevision: 1 }),
  ),
  "PredictionService.CancelPrediction": principal(({ prediction }) => ({ id: prediction })),

  "ModelService.ListModels": principal(
    () => ({}),
    ({ model }) => ({ owner: model.split("/")[0] }),
  ),
  "ModelService.GetModel": principal(({ model }) => ({ name: model })),
  "ModelService.ListModelVersions": principal(({ model }) => ({ model })),
  "ModelService.GetModelVersion": principal(({ model }) => ({ model, version: 1 })),
  "ModelService.SetModelAlias": principal(({ model }) => ({ alias: "an-alias", model })),
  "ModelService.ListModelAliases": principal(() => ({})),
  "ModelService.DeleteModelAlias": ending(({ alias }) => ({ alias })),
  "ModelService.DeleteModelVersion": principal(({ model }) => ({ model, version: 1 })),

  "ImageService.UploadImage": principal(() => ({ data: PIXEL })),
  "ImageService.ImportImage": principal(() => ({ url: "https://pictures.invalid/a.png" })),
  "ImageService.GetImage": principal(
    ({ image }) => ({ id: image }),
    ({ image }) => ({ id: image, includeData: true }),
  ),

  "DatasetService.CreateDataset": principal(() => ({ name: "new", type: "DATASET_TYPE_IMAGE" })),
  "DatasetService.UploadDataset": principal(() => ({
    name: "new",
    type: "DATASET_TYPE_IMAGE",
    zip: { url: "https://pictures.invalid/a.zip" },
  })),
  "DatasetService.GetDataset": principal(({ dataset }) => ({ id: dataset })),
  "DatasetService.ListDatasets": principal(() => ({})),
  "DatasetService.GetDeletion": principal(({ deletion }) => ({ id: deletion })),
  "DatasetService.GetLabel": principal(({ label }) => ({ id: label })),
  "DatasetService.GetExample": principal(
    ({ example }) => ({ id: example }),
    ({ example }) => ({ id: example, includeData: true }),
  ),
  "DatasetService.ListExamples": principal(
    ({ dataset }) => ({ datasetId: dataset }),
    ({ label }) => ({ labelId: label }),
  ),
  "DatasetService.CreateLabel": principal(({ dataset }) => ({ datasetId: dataset, name: "another" })),
  "DatasetService.CreateExample": principal(({ dataset, label }) => ({
    datasetId: dataset,
    labelId: label,
    name: "a.png",
    data: PIXEL,
  })),
  "DatasetService.AddExamples": principal(({ dataset }) => ({
    datasetId: dataset,
    zip: { url: "https://pictures.invalid/a.zip" },
  })),
  "FeedbackService.CreateFeedback": principal(({ model }) => ({
    model,
    data: PIXEL,
    expectedLabel: "circle",
    name: "b.png",
  })),

  "TrainingService.StartTraining": principal(({ dataset }) => ({ datasetId: dataset, name: "again" })),
  "TrainingService.GetTraining": principal(
    ({ training }) => ({ id: training }),
    ({ model }) => ({ model }),
    ({ modelId }) => ({ model: modelId }),
  ),
  "TrainingService.WatchTraining": principal(
    ({ training }) => ({ id: training }),
    ({ model }) => ({ model }),
  ),
  "TrainingService.CancelTraining": principal(({ training }) => ({ id: training })),
  "TrainingService.ListTrainings": principal(({ dataset }) => ({ datasetId: dataset })),
  "TrainingService.GetModelMetrics": principal(({ model }) => ({ model })),
  "TrainingService.ListLearningCurve": principal(({ model }) => ({ model })),
  "TrainingService.RetrainModel": principal(({ model }) => ({ model })),
  "TrainingService.DeleteTrainedModel": ending(({ model }) => ({ model })),
  "DatasetService.DeleteExample": ending(({ example }) => ({ id: example })),
  "DatasetService.DeleteDataset": ending(({ dataset }) => ({ id: dataset })),

  "AccountService.CreateToken": { audience: "anybody", requests: [() => ({ refreshToken: "A".repeat(43) })] },
  "AccountService.RevokeToken": ending(({ refreshToken }) => ({ token: refreshToken })),
  "AccountService.GetUsage": principal(() => ({})),

  "ChatflowService.CreateChatflow": principal(() => ({
    name: "new",
    definition: { extractive: definition.generator.value },
  })),
  "ChatflowService.ListChatflows": principal(() => ({})),
  "ChatflowService.GetChatflow": principal(({ chatflow }) => ({ id: chatflow })),
  "ChatflowService.UpdateChatflow": principal(({ chatflow }) => ({ id: chatflow, name: "newer" })),
  "ChatflowService.CreateChatflowKey": principal(({ chatflow }) => ({ chatflowId: chatflow, name: "mine" })),
  "ChatflowService.UpsertDocuments": principal(({ chatflow }) => ({ chatflowId: chatflow, documents })),
  "ChatflowService.ListUpserts": principal(({ chatflow }) => ({ chatflowId: chatflow })),
  "ChatflowService.ListMessages": principal(({ chatflow }) => ({ chatflowId: chatflow })),
  "ChatflowService.ListRatings": principal(({ chatflow }) => ({ chatflowId: chatflow })),
  "ChatflowService.ListLeads": principal(({ chatflow }) => ({ chatflowId: chatflow })),
  "ChatflowService.GetChatbot": { ...asker(({ chatflow }) => ({ chatflowId: chatflow })), hides: true },
  "ChatflowService.CreateAnswer": asker((of) => ({ chatflowId: of.chatflow, question: ask(of) })),
  "ChatflowService.StreamAnswer": asker((of) => ({ chatflowId: of.chatflow, question: ask(of) })),
  "ChatflowService.AbortAnswers": asker(({ chatflow, chat }) => ({ chatflowId: chatflow, chatId: chat })),
  "ChatflowService.RateMessage": asker(
    ({ chatflow, message, chat }) => ({
      ...{ chatflowId: chatflow, chatId: chat, messageId: message, value: "RATING_VALUE_THUMBS_DOWN" },
    }),
    ({ chatflow, rating }) => ({ chatflowId: chatflow, ratingId: rating, comment: "changed" }),
  ),
  "ChatflowService.CreateLead": asker(({ chatflow, chat }) => ({
    ...{ chatflowId: chatflow, chatId: chat, email: "b@example.org" },
  })),
  "ChatflowService.CreateAttachments": asker(({ chatflow, chat }) => ({
    ...{ chatflowId: chatflow, chatId: chat, documents },
  })),
  "ChatflowService.GetChatFile": asker(({ chatflow, chat, file }) => ({
    ...{ chatflowId: chatflow, chatId: chat, name: file },
  })),
  "ChatflowService.DeleteMessages": ending(({ chatflow }) => ({ chatflowId: chatflow })),
  "ChatflowService.DeleteUpserts": ending(({ upsert }) => ({ ids: [upsert], deletePassages: true })),
  "ChatflowService.DeleteChatflowKey": ending(({ chatflow, key }) => ({ chatflowId: chatflow, keyId: key })),
  "ChatflowService.DeleteChatflow": ending(({ chatflow }) => ({ id: chatflow })),
  // Whoever owns the name makes a model of it, so that it is nobody's no more.
  "ModelService.PublishModelVersion": principal(({ model }) => ({
    model,
    files: { "auspex.json": Buffer.from('{"task":"tensor"}').toString("base64") },
  })),
};
