/** One picture through each door of a running server. Every door answers the same thing: a finished prediction. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { CallOptions } from "@connectrpc/connect";
import { type Prediction, PredictionService, PredictionStatus } from "../gen/auspex/v1/prediction_pb.ts";
import { clientOf, type TestServer } from "../test/harness.ts";

export const MODEL = "auspex/mobilenet";
const TOP_K = 3;

export interface Picture {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

export interface LabelledProbability {
  readonly label: string;
  readonly probability: number;
}

export interface Answer {
  readonly id: string;
  /** Descending. */
  readonly probabilities: readonly LabelledProbability[];
  /** What was seen on the way, for the table. */
  readonly seen: string;
}

export interface Door {
  readonly name: string;
  /** Rejects when the prediction does not succeed, or when the signal is aborted. */
  classify(server: TestServer, picture: Picture, signal: AbortSignal): Promise<Answer>;
}

const input = { top_k: TOP_K };

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An output comes from outside this program: it is looked at before it is believed. */
function readProbabilities(output: unknown): readonly LabelledProbability[] {
  const list = isObject(output) ? output.probabilities : undefined;
  if (!Array.isArray(list) || list.length === 0) {
    throw new Error(`the output is not a classification: ${JSON.stringify(output)}`);
  }
  return list.map((item: unknown) => {
    if (isObject(item) && typeof item.label === "string" && typeof item.probability === "number") {
      return { label: item.label, probability: item.probability };
    }
    throw new Error(`the output holds something else than label and probability: ${JSON.stringify(item)}`);
  });
}

function answerOf(prediction: Prediction | undefined, seen: string): Answer {
  if (prediction?.status !== PredictionStatus.SUCCEEDED) {
    throw new Error(prediction?.error?.message ?? `the prediction ended in status ${prediction?.status}`);
  }
  return { id: prediction.id, probabilities: readProbabilities(prediction.output), seen };
}

/** The same from the JSON of the WriftAI dialect, in an answer or in a webhook. */
function answerOfJson(body: unknown, seen: string): Answer {
  if (!isObject(body) || typeof body.id !== "string" || body.status !== "succeeded") {
    throw new Error(`the prediction did not succeed: ${JSON.stringify(body)}`);
  }
  return { id: body.id, probabilities: readProbabilities(body.output), seen };
}

const STATUS_NAMES: Readonly<Record<number, string>> = {
  [PredictionStatus.PENDING]: "pending",
  [PredictionStatus.STARTED]: "started",
  [PredictionStatus.SUCCEEDED]: "succeeded",
  [PredictionStatus.FAILED]: "failed",
  [PredictionStatus.CANCELED]: "canceled",
};

async function grpcWithWatch(server: TestServer, picture: Picture, signal: AbortSignal): Promise<Answer> {
  const client = clientOf(server, "grpc", PredictionService);
  const options: CallOptions = { signal };
  const created = await client.createPrediction(
    { model: MODEL, input, files: { image: picture.bytes } },
    options,
  );
  const states: string[] = [];
  let last: Prediction | undefined;
  for await (const { prediction } of client.watchPrediction({ id: created.prediction?.id ?? "" }, options)) {
    last = prediction;
    states.push(STATUS_NAMES[prediction?.status ?? 0] ?? "unknown");
  }
  return answerOf(last, `watched: ${states.join(", ")}`);
}

async function connectWithWait(server: TestServer, picture: Picture, signal: AbortSignal): Promise<Answer> {
  const { prediction } = await clientOf(server, "connect", PredictionService).createPrediction(
    { model: MODEL, input, files: { image: picture.bytes }, wait: { seconds: 10n } },
    { signal },
  );
  return answerOf(prediction, "one answer");
}

/** POST /v1/models/{owner}/{name}/predictions; answers the status code and the JSON. */
async function createByRest(
  server: TestServer,
  picture: Picture,
  extra: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: Readonly<Record<string, unknown>>;
  },
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const image = `data:${picture.mediaType};base64,${Buffer.from(picture.bytes).toString("base64")}`;
  const response = await fetch(`${server.url}/v1/models/${MODEL}/predictions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...extra.headers },
    body: JSON.stringify({ input: { image, ...input }, ...extra.body }),
    signal,
  });
  const body: unknown = await response.json();
  if (!response.ok) throw new Error(`HTTP ${response.status}: ${JSON.stringify(body)}`);
  return { status: response.status, body };
}

async function restWithWait(server: TestServer, picture: Picture, signal: AbortSignal): Promise<Answer> {
  const { status, body } = await createByRest(server, picture, { headers: { prefer: "wait=10" } }, signal);
  return answerOfJson(body, `HTTP ${status}`);
}

async function restWithWebhook(server: TestServer, picture: Picture, signal: AbortSignal): Promise<Answer> {
  await using listener = await listenForWebhooks();
  const webhook = { url: listener.url };
  const { status, body } = await createByRest(server, picture, { body: { webhook } }, signal);
  const id = isObject(body) ? body.id : undefined;
  const states: string[] = [];
  for await (const event of listener.events(signal)) {
    if (!isObject(event) || event.id !== id) continue;
    states.push(String(event.status));
    if (event.status === "succeeded" || event.status === "failed") {
      return answerOfJson(event, `HTTP ${status}, webhooks: ${states.join(", ")}`);
    }
  }
  throw new Error("the webhooks ended before the prediction did");
}

/** Takes webhooks on a free loopback port. */
async function listenForWebhooks() {
  const waiting: unknown[] = [];
  let arrived = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    text(request).then(
      (body) => {
        waiting.push(JSON.parse(body));
        response.writeHead(204).end();
        arrived.resolve();
      },
      () => response.destroy(),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    async *events(signal: AbortSignal): AsyncGenerator<unknown> {
      signal.addEventListener("abort", () => arrived.reject(signal.reason), { once: true });
      for (;;) {
        yield* waiting.splice(0);
        await arrived.promise;
        arrived = Promise.withResolvers();
      }
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, "close");
    },
  };
}

export const DEMO_DOORS: readonly Door[] = [
  { name: "gRPC, watched", classify: grpcWithWatch },
  { name: "Connect, wait", classify: connectWithWait },
  { name: "REST, Prefer: wait=10", classify: restWithWait },
  { name: "REST, webhook", classify: restWithWebhook },
];
