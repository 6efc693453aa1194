/** The webhook events that a prediction's new state causes, each with the body that will be posted. */
import { toJsonString } from "@bufbuild/protobuf";
import { type Prediction as PredictionMessage, PredictionSchema } from "../../gen/auspex/v1/prediction_pb.ts";
import { isTerminal, type Prediction, type WebhookFormat } from "../domain/prediction.ts";
import type { NewDelivery } from "../domain/webhook.ts";
import { predictionMessage } from "./message.ts";

/** Writes a prediction in one format. A dialect brings its own. */
export type WebhookBodies = Readonly<Record<WebhookFormat, (prediction: PredictionMessage) => string>>;

/** This API's own format: the message as JSON. */
export const auspexBody = (prediction: PredictionMessage): string =>
  toJsonString(PredictionSchema, prediction);

export function createWebhookEvents(
  bodies: WebhookBodies,
): (prediction: Prediction) => readonly NewDelivery[] {
  return (prediction) => {
    const { webhook } = prediction;
    if (!webhook) return [];
    return [
      {
        id: `msg_${prediction.id}_${prediction.revision}`,
        predictionId: prediction.id,
        principal: prediction.principal,
        revision: prediction.revision,
        url: webhook.url,
        secret: webhook.secret,
        format: webhook.format,
        body: bodies[webhook.format](predictionMessage(prediction)),
        terminal: isTerminal(prediction.status),
        createdAt: prediction.updatedAt,
      },
    ];
  };
}
