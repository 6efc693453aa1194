/**
 * The dialect of WriftAI's predictions API, served under `/v1` (spec/wriftai.md). Beside what that API has, a
 * prediction's changes can be followed as server-sent events under `/v1/predictions/{id}/events`.
 *
 * It knows no `canceled`: such a prediction shows as failed, "canceled". Routes of that API that Auspex has no
 * operation for (search, users, hardware, publishing, chat) are its JSON 404.
 */
import { create } from "@bufbuild/protobuf";
import {
  GetModelRequestSchema,
  GetModelResponseSchema,
  GetModelVersionRequestSchema,
  GetModelVersionResponseSchema,
  ListModelsRequestSchema,
  ListModelsResponseSchema,
  ListModelVersionsRequestSchema,
  ListModelVersionsResponseSchema,
  type Model,
  type ModelVersion,
  ModelVersionState,
} from "../../../gen/auspex/v1/model_pb.ts";
import {
  CancelPredictionRequestSchema,
  CreatePredictionResponseSchema,
  GetPredictionRequestSchema,
  GetPredictionResponseSchema,
  ListPredictionsRequestSchema,
  ListPredictionsResponseSchema,
  type Prediction,
  WatchPredictionRequestSchema,
  WatchPredictionResponseSchema,
} from "../../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../domain/error.ts";
import type { CallContext } from "../../services/call.ts";
import type { Dialect } from "../dialect.ts";
import { Complaints } from "./wriftai/checks.ts";
import { type Answer, type Exchange, openDoor, type Route, STRANGER_BODY_MAX } from "./wriftai/door.ts";
import { openEvents } from "./wriftai/events.ts";
import { decodePage, renderPage, slicePage } from "./wriftai/page.ts";
import {
  isFinished,
  renderModel,
  renderModelSummary,
  renderPrediction,
  renderSummary,
  renderVersion,
  renderVersionSummary,
} from "./wriftai/render.ts";
import {
  decodeCreate,
  decodeModelName,
  decodeModelOrder,
  decodeOwner,
  decodePredictionId,
  decodeVersion,
  decodeWatch,
  queryOf,
  readBody,
  type Target,
} from "./wriftai/request.ts";

export { renderPrediction } from "./wriftai/render.ts";

const MODEL = "/models/:model_owner/:model_name";

const ROUTES: readonly Route[] = [
  { method: "GET", path: "/predictions", handle: listPredictions },
  { method: "POST", path: "/predictions", handle: (exchange) => createPrediction(exchange, "body") },
  {
    method: "POST",
    path: `${MODEL}/predictions`,
    handle: (exchange) => createPrediction(exchange, "latest"),
  },
  {
    method: "POST",
    path: `${MODEL}/versions/:number/predictions`,
    handle: (exchange) => createPrediction(exchange, "version"),
  },
  { method: "GET", path: "/predictions/:prediction_id", handle: getPrediction },
  { method: "POST", path: "/predictions/:prediction_id/cancel", handle: cancelPrediction },
  { method: "GET", path: "/predictions/:prediction_id/events", handle: watchPrediction },
  { method: "GET", path: "/models", handle: (exchange) => listModels(exchange, "") },
  {
    method: "GET",
    path: "/models/:model_owner",
    handle: (exchange) => listModels(exchange, decodeOwner(exchange.request)),
  },
  { method: "GET", path: MODEL, handle: getModel },
  { method: "GET", path: `${MODEL}/versions`, handle: listVersions },
  { method: "GET", path: `${MODEL}/versions/:number`, handle: getVersion },
];

export const wriftai: Dialect = {
  name: "wriftai",
  prefixes: ["/v1"],
  register: (scope, context) => openDoor(scope, context, ROUTES),
};

/** 202 for one that is not finished yet, 200 for one that finished within the wait. */
async function createPrediction(exchange: Exchange, target: Target): Promise<Answer> {
  const { request, base, services, config } = exchange;
  // A body that is no JSON is found before anybody asks who sent it, unless finding it costs too much.
  const isLarge = request.body instanceof Uint8Array && request.body.length > STRANGER_BODY_MAX;
  const early = isLarge ? await exchange.call() : undefined;
  const body = readBody(request, config.MAX_JSON_VALUES);
  const call = early ?? (await exchange.call());
  const message = decodeCreate(request, body, target, config.WAIT_MAX);
  const answer = await services.predictions.createPrediction(message, call);
  const prediction = present(create(CreatePredictionResponseSchema, answer).prediction);
  return {
    status: isFinished(prediction) ? 200 : 202,
    headers: { location: `${base}/predictions/${prediction.id}` },
    body: renderPrediction(prediction),
  };
}

async function getPrediction(exchange: Exchange): Promise<Answer> {
  const call = await exchange.call();
  const message = create(GetPredictionRequestSchema, { id: decodePredictionId(exchange.request) });
  const answer = await exchange.services.predictions.getPrediction(message, call);
  return {
    status: 200,
    body: renderPrediction(present(create(GetPredictionResponseSchema, answer).prediction)),
  };
}

async function listPredictions(exchange: Exchange): Promise<Answer> {
  const { request, base } = exchange;
  const call = await exchange.call();
  const complaints = new Complaints();
  const { size, cursor } = decodePage(complaints, request, "string");
  complaints.settle();
  const message = create(ListPredictionsRequestSchema, { pageSize: size, pageToken: String(cursor ?? "") });
  const answer = await exchange.services.predictions.listPredictions(message, call);
  const page = create(ListPredictionsResponseSchema, answer);
  const items = page.predictions.map(renderSummary);
  const [next, previous] = [page.nextPageToken || undefined, page.previousPageToken || undefined];
  return { status: 200, body: renderPage(request, `${base}/predictions`, { items, next, previous }) };
}

async function cancelPrediction(exchange: Exchange): Promise<Answer> {
  const call = await exchange.call();
  const message = create(CancelPredictionRequestSchema, { id: decodePredictionId(exchange.request) });
  await exchange.services.predictions.cancelPrediction(message, call);
  return { status: 200, body: null };
}

async function watchPrediction(exchange: Exchange): Promise<Answer> {
  const call = await exchange.call();
  const message = create(WatchPredictionRequestSchema, decodeWatch(exchange.request));
  const answers = exchange.services.predictions.watchPrediction(message, call);
  async function* states(): AsyncGenerator<Prediction> {
    for await (const answer of answers)
      yield present(create(WatchPredictionResponseSchema, answer).prediction);
  }
  const stream = await openEvents(states());
  // 204 is what tells a browser's EventSource that it need not come back.
  if (!stream) return { status: 204, body: undefined };
  return {
    status: 200,
    headers: { "content-type": "text/event-stream", "cache-control": "no-cache" },
    body: stream,
  };
}

/** @param owner "" for the models of every owner */
async function listModels(exchange: Exchange, owner: string): Promise<Answer> {
  const { request, base } = exchange;
  const call = await exchange.call();
  const complaints = new Complaints();
  const page = decodePage(complaints, request, "number");
  const order = decodeModelOrder(complaints, request);
  complaints.settle();
  // Our models have no categories: none is in one that is asked for.
  const all = queryOf(request).has("category_slugs") ? [] : await allModels(exchange, owner, call);
  const { items, next, previous } = slicePage(all.sort(order), page);
  const url = `${base}/models${owner && `/${owner}`}`;
  return {
    status: 200,
    body: renderPage(request, url, { items: items.map(renderModelSummary), next, previous }),
  };
}

/** The operation lists by name alone; a server's models are few enough to be put into another order here. */
async function allModels({ services }: Exchange, owner: string, call: CallContext): Promise<Model[]> {
  const all: Model[] = [];
  let pageToken = "";
  do {
    const message = create(ListModelsRequestSchema, { pageSize: 200, pageToken, owner });
    const page = create(ListModelsResponseSchema, await services.models.listModels(message, call));
    all.push(...page.models);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all;
}

async function getModel(exchange: Exchange): Promise<Answer> {
  const call = await exchange.call();
  const message = create(GetModelRequestSchema, { name: decodeModelName(exchange.request) });
  const answer = await exchange.services.models.getModel(message, call);
  return { status: 200, body: renderModel(present(create(GetModelResponseSchema, answer).model)) };
}

async function listVersions(exchange: Exchange): Promise<Answer> {
  const { request, base } = exchange;
  const call = await exchange.call();
  const complaints = new Complaints();
  const page = decodePage(complaints, request, "number");
  complaints.settle();
  const model = decodeModelName(request);
  const message = create(ListModelVersionsRequestSchema, { model });
  const answer = await exchange.services.models.listModelVersions(message, call);
  const { items, next, previous } = slicePage(
    create(ListModelVersionsResponseSchema, answer).versions.filter(canServe),
    page,
  );
  const url = `${base}/models/${model}/versions`;
  return {
    status: 200,
    body: renderPage(request, url, { items: items.map(renderVersionSummary), next, previous }),
  };
}

async function getVersion(exchange: Exchange): Promise<Answer> {
  const call = await exchange.call();
  const message = create(GetModelVersionRequestSchema, decodeVersion(exchange.request));
  const answer = await exchange.services.models.getModelVersion(message, call);
  const version = present(create(GetModelVersionResponseSchema, answer).version);
  if (!canServe(version)) throw new AuspexError("not_found", "Version not found");
  return { status: 200, body: renderVersion(version) };
}

/** This API has no word for a version that cannot serve, so there it does not exist. */
function canServe(version: ModelVersion): boolean {
  return version.state === ModelVersionState.READY;
}

/** What an operation always fills in, though the generated type cannot say so. */
function present<T>(value: T | undefined): T {
  if (value === undefined) throw new AuspexError("internal", "an operation answered without its result");
  return value;
}
