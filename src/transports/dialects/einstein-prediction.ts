/**
 * The dialect of Einstein Prediction, served under `/api/v1` beside Studio (spec/einstein-prediction.md): one route
 * that asks for a prediction on an image and answers before anything has happened, and the images that it needs, by
 * import and upload.
 *
 * The outcome is not told here, as it never was. It is the prediction that `X-Prediction-Id` names, to be got or
 * watched through any other door. Of imports and images only the idiom is known, null and then filled; what else is
 * in their answers is ours.
 */
import { create } from "@bufbuild/protobuf";
import {
  GetImageRequestSchema,
  GetImageResponseSchema,
  type Image,
  ImageState,
  ImportImageRequestSchema,
  ImportImageResponseSchema,
  UploadImageRequestSchema,
  UploadImageResponseSchema,
} from "../../../gen/auspex/v1/image_pb.ts";
import {
  GetModelVersionRequestSchema,
  GetModelVersionResponseSchema,
} from "../../../gen/auspex/v1/model_pb.ts";
import {
  CreatePredictionRequestSchema,
  CreatePredictionResponseSchema,
  type Prediction,
} from "../../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../domain/error.ts";
import { parseUuid } from "../../domain/id.ts";
import type { JsonObject } from "../../domain/payload.ts";
import { stableUuid } from "../../services/stable-uuid.ts";
import type { Dialect } from "../dialect.ts";
import type { Answer } from "./einstein-prediction/answer.ts";
import { type Exchange, openDoor, type Route } from "./einstein-prediction/door.ts";
import { Refused } from "./einstein-prediction/errors.ts";
import { readParameters, readPicture } from "./einstein-prediction/parameters.ts";

const ROUTES: readonly Route[] = [
  { method: "POST", path: "/einstein_prediction", handle: createPrediction },
  { method: "POST", path: "/imports", handle: createImport },
  { method: "GET", path: "/imports/:id", handle: getImport },
  { method: "POST", path: "/images", handle: uploadImage },
  { method: "GET", path: "/images/:id", handle: getImage },
];

export const einsteinPrediction: Dialect = {
  name: "einstein-prediction",
  prefixes: ["/api/v1/einstein_prediction", "/api/v1/imports", "/api/v1/images"],
  register: (scope, context) => openDoor(scope, context, ROUTES),
};

/** What this API says of a model that is not there, which it does not find out before it answers. */
const UNKNOWN_TYPE = "image-detection";

async function createPrediction({ services, config, request, call }: Exchange): Promise<Answer> {
  const parameters = await readParameters(request, config.MAX_JSON_VALUES);
  const [imageId, modelId] = [parameters.get("imageId") ?? null, parameters.get("modelId") ?? null];
  const message = create(CreatePredictionRequestSchema, {
    model: modelId ?? "",
    // Other texts would be taken for pictures and addresses of pictures, which this API does not know.
    input: { image: parseUuid(imageId ?? "") ?? "" },
    deferResolution: true,
  });
  const answer = await services.predictions.createPrediction(message, call);
  const prediction = present(create(CreatePredictionResponseSchema, answer).prediction);
  const { uuid, task } = await describeModel(prediction, { services, call });
  return {
    status: 200,
    headers: { "X-Prediction-Id": prediction.id },
    body: {
      einstein_model_id: uuid,
      probability: null,
      status: null,
      image_id: imageId,
      model_id: modelId,
      type: task,
      message: null,
    },
  };
}

async function describeModel(
  { model, version }: Prediction,
  { services, call }: Pick<Exchange, "services" | "call">,
): Promise<{ readonly uuid: string; readonly task: string }> {
  const unknown = { uuid: stableUuid("model", model), task: UNKNOWN_TYPE };
  if (version === 0) return unknown;
  try {
    const message = create(GetModelVersionRequestSchema, { model, version });
    const answer = await services.models.getModelVersion(message, call);
    const { modelUuid, task } = present(create(GetModelVersionResponseSchema, answer).version);
    return { uuid: modelUuid, task };
  } catch (error) {
    // Deleted in the meantime.
    if (AuspexError.from(error).code === "not_found") return unknown;
    throw error;
  }
}

async function createImport({ services, config, request, call }: Exchange): Promise<Answer> {
  const parameters = await readParameters(request, config.MAX_JSON_VALUES);
  const type = parameters.get("import_type") ?? "url";
  if (type !== "url") throw new Refused(422, "import_type: must be url");
  const message = create(ImportImageRequestSchema, { url: parameters.get("url") ?? "" });
  const answer = await services.images.importImage(message, call);
  return { status: 200, body: renderImport(present(create(ImportImageResponseSchema, answer).image)) };
}

async function getImport(exchange: Exchange): Promise<Answer> {
  const image = await readImage(exchange);
  // An upload was never imported.
  if (image.sourceUrl === "") throw new Refused(404, "Not Found");
  return { status: 200, body: renderImport(image) };
}

async function uploadImage({ services, request, call }: Exchange): Promise<Answer> {
  const data = (await readPicture(request)) as Uint8Array<ArrayBuffer>;
  const answer = await services.images.uploadImage(create(UploadImageRequestSchema, { data }), call);
  return { status: 200, body: renderImage(present(create(UploadImageResponseSchema, answer).image)) };
}

async function getImage(exchange: Exchange): Promise<Answer> {
  const image = await readImage(exchange);
  // An import is an image once it has its picture.
  if (image.state !== ImageState.READY) throw new Refused(404, "Not Found");
  return { status: 200, body: renderImage(image) };
}

async function readImage({ services, request, call }: Exchange): Promise<Image> {
  const id = parseUuid((request.params as Record<string, string>).id ?? "");
  if (id === undefined) throw new Refused(404, "Not Found");
  const answer = await services.images.getImage(create(GetImageRequestSchema, { id }), call);
  return present(create(GetImageResponseSchema, answer).image);
}

/** Null while it is fetched, then filled. */
function renderImport({ id, sourceUrl, state, failure }: Image): JsonObject {
  const status = state === ImageState.READY ? "completed" : state === ImageState.FAILED ? "failed" : null;
  return {
    id,
    import_type: "url",
    url: sourceUrl,
    status,
    image_id: state === ImageState.READY ? id : null,
    message: state === ImageState.FAILED ? failure : null,
  };
}

function renderImage({ id, mediaType, width, height, sizeBytes }: Image): JsonObject {
  return { id, content_type: mediaType, width, height, size: Number(sizeBytes) };
}

/** What an operation always fills in, though the generated type cannot say so. */
function present<T>(value: T | undefined): T {
  if (value === undefined) throw new AuspexError("internal", "an operation answered without its result");
  return value;
}
