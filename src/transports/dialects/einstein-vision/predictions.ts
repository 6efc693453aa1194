/** What a picture shows, and where: the core calls. (§1.6) */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  CreatePredictionRequestSchema,
  CreatePredictionResponseSchema,
  type Prediction,
  PredictionStatus,
} from "../../../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError, ERROR_CODES, type ErrorCode } from "../../../domain/error.ts";
import type { Task } from "../../../domain/model.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import { quotaHeaders } from "./accounts.ts";
import type { Answer, Exchange, Route } from "./door.ts";
import { badParameter, modelNotFound, refuse } from "./errors.ts";
import { decodeText, type Form, filesOf, integerOf, readForm, textOf } from "./form.ts";
import { shortest } from "./render.ts";
import { checkPicture, present, withModel } from "./request.ts";

const CLASSIFIERS: readonly Task[] = ["image-classification", "image-multi-label"];
const DETECTORS: readonly Task[] = ["image-detection"];

export const PREDICTION_ROUTES: readonly Route[] = [
  {
    method: "POST",
    path: "/vision/predict",
    headers: quotaHeaders,
    handle: (exchange) => predict(exchange, CLASSIFIERS),
  },
  {
    method: "POST",
    path: "/vision/detect",
    headers: quotaHeaders,
    handle: (exchange) => predict(exchange, DETECTORS),
  },
];

/** Models that this API has for everybody, by their names there. */
const PREBUILT: ReadonlyMap<string, string> = new Map([["GeneralImageClassifier", "auspex/mobilenet"]]);
/** Bytes of a picture, as documented (5 MB). */
export const SAMPLE_BYTES_MAX = 5 * 1024 ** 2;
/** Bytes of such a picture in base64, with line breaks: what is longer is not looked at. */
const BASE64_BYTES_MAX = 8 * 1024 ** 2;
const URL_LENGTH_MAX = 2048;
/** Labels of an answer that nobody gave a number for. */
const RESULTS_DEFAULT = 5;

async function predict(exchange: Exchange, tasks: readonly Task[]): Promise<Answer> {
  const { services, call, request, config } = exchange;
  const form = await readForm(request, "form-or-json", config.MAX_JSON_VALUES);
  const modelId = textOf(form, "modelId");
  if (modelId === undefined) throw refuse("modelIdMissing");
  const results = integerOf("numResults", textOf(form, "numResults"), 1) ?? RESULTS_DEFAULT;
  const { files, input } = decodeSample(form);
  const limit = durationFromMs(config.WAIT_MAX);
  const message = create(CreatePredictionRequestSchema, {
    model: PREBUILT.get(modelId) ?? modelId,
    // Detectors and multi-label models answer all that they see, and take no number.
    input: tasks === DETECTORS ? input : { ...input, top_k: results },
    files,
    tasks: [...tasks],
    // Nobody can come back for it, so it ends when nobody waits for it any more.
    wait: limit,
    ...(config.WAIT_MAX > 0 && { deadline: limit }),
  });
  const answer = await withModel(modelId, () => services.predictions.createPrediction(message, call)).catch(
    (error: unknown) => {
      throw refusalOfCreation(error, modelId);
    },
  );
  const prediction = present(create(CreatePredictionResponseSchema, answer).prediction);
  if (prediction.status !== PredictionStatus.SUCCEEDED) throw refusalOfPrediction(prediction, form);
  const sampleId = textOf(form, "sampleId");
  return {
    status: 200,
    body: {
      probabilities: renderProbabilities(prediction.output?.probabilities ?? []),
      object: "predictresponse",
      ...(sampleId !== undefined && { sampleId }),
    },
  };
}

type Sample = Required<Pick<MessageInitShape<typeof CreatePredictionRequestSchema>, "files" | "input">>;

/** Exactly one of three forms. */
function decodeSample(form: Form): { readonly files: Sample["files"]; readonly input: JsonObject } {
  const location = textOf(form, "sampleLocation");
  const contents = filesOf(form, "sampleContent");
  const texts = (form.get("sampleBase64Content") ?? [])
    .map(({ bytes }) => decodeText("sampleBase64Content", bytes, BASE64_BYTES_MAX))
    .filter((text) => text !== "");
  const locations = location === undefined ? 0 : (form.get("sampleLocation")?.length ?? 0);
  const count = locations + contents.length + texts.length;
  if (count === 0) throw refuse("sampleMissing");
  if (count > 1) throw refuse("sampleDuplicated");
  if (location !== undefined) return { files: {}, input: { image: checkLocation(location) } };
  const [[name, bytes]] = contents[0]
    ? [["sampleContent", contents[0].bytes] as const]
    : [["sampleBase64Content", decodeBase64(texts[0] ?? "")] as const];
  return { files: { image: checkPicture(name, bytes, SAMPLE_BYTES_MAX) }, input: {} };
}

/** Also keeps out what an input's `image` can be besides: data URIs and ids of images. */
function checkLocation(text: string): string {
  if (text.length <= URL_LENGTH_MAX && /^https?:/i.test(text) && URL.canParse(text)) return text;
  throw refuse("sampleLocation");
}

/** With line breaks or without, padded or not. */
function decodeBase64(text: string): Buffer {
  const digits = text.replaceAll(/\s+/g, "");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(digits) || digits.replace(/=+$/, "").length % 4 === 1) {
    throw refuse("sampleBase64");
  }
  return Buffer.from(digits, "base64");
}

/** What keeps a prediction from being made, where this API has its own words for it. */
function refusalOfCreation(error: unknown, modelId: string): unknown {
  if (!(error instanceof AuspexError)) return error;
  // It is there, but has no version that can serve: still loading, or failed.
  if (error.code === "failed_precondition") return modelNotFound(modelId);
  return error.violations.some(({ field, reason }) => field === "tasks" && reason === "task")
    ? refuse("modelType")
    : error;
}

function refusalOfPrediction({ status, error }: Prediction, form: Form): Error {
  if (status !== PredictionStatus.FAILED || !error) return refuse("timeout");
  const code = (Object.keys(ERROR_CODES) as ErrorCode[]).find((known) => known === error.code) ?? "internal";
  // Out of reach is what the caller named, not this server.
  if (code === "unavailable" && form.has("sampleLocation")) {
    return badParameter("sampleLocation", `cannot be used: ${error.message}`);
  }
  return new AuspexError(code, error.message);
}

/** Labels first, as the documentation has them; a detector's also say where, in whole pixels. */
function renderProbabilities(items: JsonValue): JsonValue[] {
  if (!Array.isArray(items)) return [];
  return items.map((item) => {
    const { label, probability, boundingBox } = item as {
      readonly label: string;
      readonly probability: number;
      readonly boundingBox?: Readonly<Record<"minX" | "minY" | "maxX" | "maxY", number>>;
    };
    const rendered = { label, probability: shortest(probability) };
    if (!boundingBox) return rendered;
    const { minX, minY, maxX, maxY } = boundingBox;
    const [left, top, right, bottom] = [minX, minY, maxX, maxY].map(Math.round);
    return {
      ...rendered,
      boundingBox: { minX: left ?? 0, minY: top ?? 0, maxX: right ?? 0, maxY: bottom ?? 0 },
    };
  });
}
