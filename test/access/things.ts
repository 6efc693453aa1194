/**
 * One of everything that a principal can have, made through the server's own doors, and ids of the same form that are
 * nobody's.
 */
import { randomUUID } from "node:crypto";
import { AccountService } from "../../gen/auspex/v1/account_pb.ts";
import { ChatflowService, RatingValue } from "../../gen/auspex/v1/chatflow_pb.ts";
import { DatasetType, DeletionState } from "../../gen/auspex/v1/dataset_pb.ts";
import { ImageService, ImageState } from "../../gen/auspex/v1/image_pb.ts";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { base32OfUuid } from "../../src/domain/id.ts";
import { clientOf, type TestServer, until } from "../harness.ts";
import { drawPicture, zipOfShapes } from "../pictures.ts";
import { serveFiles } from "../server/einstein-vision/client.ts";
import { start, succeeded, trainingClients, upload } from "../training-client.ts";

/** Of what there is one. */
export const NAMES = [
  "prediction",
  "image",
  // An image as well, fetched from a URL.
  "imported",
  "dataset",
  "label",
  "example",
  // Of another dataset; then the same by its outside id.
  "deletion",
  "deletionId",
  // `owner/name`, trained; then the same by its outside id.
  "model",
  "modelId",
  "training",
  "alias",
  "chatflow",
  "key",
  "upsert",
  "laterUpsert",
  "message",
  "rating",
  "chat",
  "file",
  "refreshToken",
] as const;

/** Ids and names by what they are of. Texts, as they stand in paths; whoever wants a number makes one of it. */
export type Things = Readonly<Record<(typeof NAMES)[number], string>>;

export const definition = {
  generator: { case: "extractive", value: {} },
  retriever: {},
} as const;

export const BASE_MODEL = "auspex/mobilenet-tiny";

/** What the generated types leave open and the server always fills in. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("an answer lacks what it always has");
  return value;
}

/** @param assertion an account's, for whom `key` stands as well */
export async function makeThings(server: TestServer, key: string, assertion: string): Promise<Things> {
  const clients = trainingClients(server, key);
  const models = clientOf(server, "grpc", ModelService, key);
  const picture = await drawPicture("ring", 7);
  const [{ id: dataset }, doomed] = await Promise.all([
    upload(clients, await zipOfShapes(["circle", "cross"], 6)),
    clients.datasets.createDataset({ name: "doomed", type: DatasetType.IMAGE }),
  ]);
  const { examples } = await clients.datasets.listExamples({ datasetId: dataset });
  const [example] = examples;
  const { deletion } = await clients.datasets.deleteDataset({ id: present(doomed.dataset).id });
  await until(async () => {
    const { deletion: now } = await clients.datasets.getDeletion({ id: present(deletion).id });
    return now?.state === DeletionState.SUCCEEDED;
  });
  const training = await succeeded(clients, (await start(clients, dataset, { epochs: 1 })).id);
  const images = clientOf(server, "grpc", ImageService, key);
  const { image } = await images.uploadImage({ data: picture });
  await using files = await serveFiles({ "/ring.jpg": [picture, "image/jpeg"] });
  const { image: imported } = await images.importImage({ url: `${files.url}/ring.jpg` });
  await until(async () => {
    const { image: now } = await images.getImage({ id: present(imported).id });
    return now?.state === ImageState.READY;
  });
  const predictions = clientOf(server, "grpc", PredictionService, key);
  const ask = { model: BASE_MODEL, input: { image: present(image).id }, wait: { seconds: 30n } };
  const { prediction } = await predictions.createPrediction(ask);
  await predictions.createPrediction(ask);
  const alias = `alias-of-${randomUUID()}`;
  await models.setModelAlias({ alias, model: BASE_MODEL });
  const { refreshToken } = await clientOf(server, "grpc", AccountService).createToken({
    grant: { case: "assertion", value: assertion },
    offline: true,
  });
  return {
    ...(await makeChat(server, key)),
    prediction: present(prediction).id,
    image: present(image).id,
    imported: present(imported).id,
    dataset: String(dataset),
    label: String(present(present(example).label).id),
    example: String(present(example).id),
    deletion: present(deletion).id,
    deletionId: base32OfUuid(present(deletion).id),
    model: training.model,
    modelId: training.modelId,
    training: training.id,
    alias,
    refreshToken,
  };
}

/** A flow that has to be asked with a key, and a chat of it. */
async function makeChat(server: TestServer, key: string) {
  const flows = clientOf(server, "grpc", ChatflowService, key);
  const { chatflow } = await flows.createChatflow({ name: "flow", definition });
  const chatflowId = present(chatflow).id;
  const { key: flowKey } = await flows.createChatflowKey({ chatflowId, name: "kept" });
  const document = { name: "facts.txt", content: Buffer.from("The gate of the garden is green.") };
  const { result } = await flows.upsertDocuments({ chatflowId, documents: [document] });
  const { result: later } = await flows.upsertDocuments({
    chatflowId,
    documents: [{ name: "later.txt", content: Buffer.from("The bench in the garden is old.") }],
  });
  const chat = `chat-${randomUUID()}`;
  const { answer } = await flows.createAnswer({
    chatflowId,
    question: { text: "What colour is the gate?", chatId: chat },
  });
  await flows.createAttachments({ chatflowId, chatId: chat, documents: [document] });
  const said = { chatflowId, chatId: chat, messageId: present(answer).messageId };
  const { rating } = await flows.rateMessage({ ...said, value: RatingValue.THUMBS_UP });
  await flows.createLead({ chatflowId, chatId: chat, email: "a@example.org" });
  return {
    chatflow: chatflowId,
    key: present(flowKey).id,
    upsert: present(result).id,
    laterUpsert: present(later).id,
    message: said.messageId,
    rating: present(rating).id,
    chat,
    file: document.name,
  };
}

/** Of the same form, so that nothing but being there tells the two apart. */
export function nothingLike(things: Things): Things {
  const middle = (text: string) => [...text].toReversed().join("");
  const like = (id: string) =>
    /^[0-9a-f-]{36}$/.test(id)
      ? `${id.slice(0, 24)}${randomUUID().slice(24)}`
      : `${id.slice(0, 5)}${middle(id.slice(5, -5))}${id.slice(-5)}`;
  const ids = Object.fromEntries(NAMES.map((name) => [name, like(things[name])])) as Things;
  return {
    ...ids,
    deletionId: base32OfUuid(ids.deletion),
    dataset: "999991",
    label: "999992",
    example: "999993",
    model: things.model.replace(/\d+$/, "999994"),
    alias: things.alias.replace(/.{12}$/, randomUUID().slice(-12)),
    // Texts of the flow's own: whoever has no flow has none of them.
    chat: things.chat,
    file: things.file,
  };
}
