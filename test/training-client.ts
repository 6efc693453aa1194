/** A small dataset and its training through the server's own doors, as tests of several places need them. */
import type { Client } from "@connectrpc/connect";
import { type Dataset, DatasetService, DatasetState, DatasetType } from "../gen/auspex/v1/dataset_pb.ts";
import { ModelService } from "../gen/auspex/v1/model_pb.ts";
import { PredictionService } from "../gen/auspex/v1/prediction_pb.ts";
import { type Training, TrainingService, TrainingStatus } from "../gen/auspex/v1/training_pb.ts";
import { clientOf, type TestServer } from "./harness.ts";

export interface TrainingClients {
  readonly datasets: Client<typeof DatasetService>;
  readonly trainings: Client<typeof TrainingService>;
  readonly predictions: Client<typeof PredictionService>;
  readonly models: Client<typeof ModelService>;
}

/** Over gRPC, with an API key where the server asks for one. */
export function trainingClients(server: TestServer, key?: string): TrainingClients {
  return {
    datasets: clientOf(server, "grpc", DatasetService, key),
    trainings: clientOf(server, "grpc", TrainingService, key),
    predictions: clientOf(server, "grpc", PredictionService, key),
    models: clientOf(server, "grpc", ModelService, key),
  };
}

/** Resolves once its pictures are taken up. */
export async function upload(
  { datasets }: TrainingClients,
  zip: Uint8Array<ArrayBuffer>,
  type: DatasetType = DatasetType.IMAGE,
): Promise<Dataset> {
  const { dataset } = await datasets.uploadDataset({
    name: "Shapes",
    type,
    zip: { source: { case: "data", value: zip } },
    waitUntilReady: true,
  });
  if (dataset?.state !== DatasetState.READY) throw new Error(`the dataset failed: ${dataset?.failure}`);
  return dataset;
}

export async function start(
  { trainings }: TrainingClients,
  datasetId: bigint,
  options: { epochs?: number; learningRate?: number; trainSplitRatio?: number; seed?: number } = {},
): Promise<Training> {
  const { training } = await trainings.startTraining({ datasetId, name: "My Shapes", options });
  if (!training) throw new Error("no training was answered");
  return training;
}

/** Every state that a watcher is shown, until the terminal one. */
export async function watched({ trainings }: TrainingClients, id: string): Promise<Training[]> {
  const states: Training[] = [];
  for await (const { training } of trainings.watchTraining({ by: { case: "id", value: id } })) {
    if (training) states.push(training);
  }
  return states;
}

/** The terminal state, which has to be success. */
export async function succeeded(clients: TrainingClients, id: string): Promise<Training> {
  const last = (await watched(clients, id)).at(-1);
  if (last?.status !== TrainingStatus.SUCCEEDED) throw new Error(`the training failed: ${last?.failure}`);
  return last;
}

/** Label and probability, most probable first. */
export async function predict(
  { predictions }: TrainingClients,
  model: string,
  image: Uint8Array<ArrayBuffer>,
): Promise<{ readonly label: string; readonly probability: number }[]> {
  const { prediction } = await predictions.createPrediction({
    model,
    files: { image },
    wait: { seconds: 30n },
  });
  if (!prediction?.output) throw new Error(`the prediction failed: ${prediction?.error?.message}`);
  // The shape of every classifier's output.
  return prediction.output.probabilities as { label: string; probability: number }[];
}
