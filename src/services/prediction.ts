/** The operations on predictions. A prediction's life is told in `domain/prediction.ts` and run in `runner.ts`. */
import type {
  GetPredictionRequest,
  ListPredictionsRequest,
  PredictionService,
  WatchPredictionRequest,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { type PredictionId, parseUuid } from "../domain/id.ts";
import { isTerminal, type Prediction } from "../domain/prediction.ts";
import type { PredictionStore } from "../store/store.ts";
import type { CallContext, Operations } from "./call.ts";
import { predictionMessage, statusName, summaryMessage } from "./message.ts";
import { decodePageToken, encodePageToken } from "./page-token.ts";
import { type Cancel, readPrediction } from "./prediction-cancel.ts";
import type { PredictionCreation } from "./prediction-creation.ts";
import { type Limits, validate } from "./validation.ts";
import type { Watches } from "./watch.ts";

const PAGE_SIZE_DEFAULT = 25;

export interface PredictionOptions {
  readonly predictions: PredictionStore;
  readonly creation: PredictionCreation;
  readonly cancel: Cancel;
  readonly limits: Limits;
  readonly watches: Watches;
}

export function createPredictionOperations(options: PredictionOptions): Operations<typeof PredictionService> {
  const { predictions, creation, cancel, limits } = options;
  const read = (principal: string, id: string) => readPrediction(predictions, principal, id);

  async function list(request: ListPredictionsRequest, call: CallContext) {
    validate(request, limits);
    const size = request.pageSize || PAGE_SIZE_DEFAULT;
    const position = decodePageToken(request.pageToken);
    const forward = position?.direction !== "after";
    const items = await predictions.list({
      principal: call.principal.name,
      model: request.model || undefined,
      status: statusName(request.status),
      before: position && forward ? (position.key as PredictionId) : undefined,
      after: position && !forward ? (position.key as PredictionId) : undefined,
      // One more than the page tells whether there is another page in that direction.
      limit: size + 1,
    });
    const more = items.length > size;
    const page = forward ? items.slice(0, size) : items.slice(more ? 1 : 0);
    const [newest, oldest] = [page[0], page.at(-1)];
    const hasOlder = forward ? more : oldest !== undefined;
    const hasNewer = forward ? position !== undefined && newest !== undefined : more;
    return {
      predictions: page.map(summaryMessage),
      nextPageToken: hasOlder && oldest ? encodePageToken({ direction: "before", key: oldest.id }) : "",
      previousPageToken: hasNewer && newest ? encodePageToken({ direction: "after", key: newest.id }) : "",
    };
  }

  /** One answer for all who watch it, so that a door can encode it once. */
  const answers = new WeakMap<Prediction, { readonly prediction: ReturnType<typeof predictionMessage> }>();
  function answerOf(prediction: Prediction) {
    const answer = answers.get(prediction) ?? { prediction: predictionMessage(prediction) };
    answers.set(prediction, answer);
    return answer;
  }

  async function* watch(request: WatchPredictionRequest, call: CallContext) {
    validate(request, limits);
    const states = options.watches.watch(
      {
        id: parseUuid(request.id) ?? request.id,
        principal: call.principal.name,
        afterRevision: request.afterRevision,
        read: () => read(call.principal.name, request.id),
        isEnded: ({ status }: Prediction) => isTerminal(status),
      },
      call,
    );
    for await (const prediction of states) yield answerOf(prediction);
  }

  return {
    createPrediction: async (request, call) => ({
      prediction: predictionMessage(await creation.create(request, call)),
    }),
    async getPrediction(request: GetPredictionRequest, call) {
      validate(request, limits);
      return { prediction: predictionMessage(await read(call.principal.name, request.id)) };
    },
    listPredictions: list,
    async cancelPrediction(request, call) {
      validate(request, limits);
      return { prediction: predictionMessage(await cancel(call.principal.name, request.id)) };
    },
    watchPrediction: watch,
  };
}
