/** Trainings as the rest of the server asks for them; the operations stand in the files beside. */
import type { EpochMetrics, EpochResult } from "../domain/training.ts";
import type { Database } from "./database.ts";
import { deletionFrom } from "./deletion.ts";
import { deleteTrainedModel, getTrainedModel, isAbandoned, purgeTrainedModel } from "./trained-model.ts";
import { latestTraining, listEpochs, listTrainings } from "./training-list.ts";
import { trainedModelFrom, trainingFrom } from "./training-row.ts";
import {
  advanceTraining,
  cancelTraining,
  claimTraining,
  getCheckpoint,
  giveBackTraining,
  restartTraining,
  settleTraining,
  takeUpTrainings,
} from "./training-run.ts";
import { getTraining, retrainModel, type StartReply, startTraining } from "./training-start.ts";
import type {
  NewTraining,
  StartResult,
  TrainingEnd,
  TrainingProgress,
  TrainingStore,
} from "./training-store.ts";

export function trainingStore(database: Database): TrainingStore {
  return {
    start: async ({ training, name, datasetId, model }) =>
      startResult(
        await database.write(startTraining, {
          training: { ...newRow(training), name, dataset_id: datasetId },
          model: { id: model.id, model_id: model.modelId, slug: model.slug },
        }),
      ),
    retrain: async ({ training, model }) =>
      startResult(await database.write(retrainModel, { ...newRow(training), model })),
    get: async (principal, id) => {
      const row = await database.read(getTraining, { principal, id });
      return row && trainingFrom(row);
    },
    model: async (principal, name) => {
      const row = await database.read(getTrainedModel, { principal, name });
      return row && trainedModelFrom(row);
    },
    latest: async (principal, model, status) => {
      const row = await database.read(latestTraining, {
        principal,
        model,
        succeeded: status === "succeeded",
      });
      return row && trainingFrom(row);
    },
    list: async ({ datasetId = 0, ...query }) =>
      (await database.scan(listTrainings, { ...query, dataset_id: datasetId })).map(trainingFrom),
    epochs: async ({ trainingId, ...query }) =>
      (await database.scan(listEpochs, { ...query, training_id: trainingId })).map((row) => ({
        epoch: { epoch: row.epoch, metrics: JSON.parse(row.metrics) as EpochMetrics["metrics"] },
        results: JSON.parse(row.results) as EpochResult[],
      })),
    claim: async (now) => {
      const row = await database.write(claimTraining, { now });
      return row && trainingFrom(row);
    },
    takeUp: async (args) => (await database.write(takeUpTrainings, args)).map(trainingFrom),
    checkpoint: async (id) => (await database.read(getCheckpoint, { id }))?.checkpoint ?? null,
    restart: ({ running: { id, attempt }, now, checkpoint }) =>
      database.write(restartTraining, { id, attempt, now, checkpoint }),
    advance: ({ running: { id, attempt }, now, next }) =>
      database.write(advanceTraining, { id, attempt, now, ...progressColumns(next) }),
    settle: ({ running: { id, attempt }, now, end }) =>
      database.write(settleTraining, { id, attempt, now, ...endColumns(end) }),
    cancel: async (args) => {
      const row = await database.write(cancelTraining, args);
      return row && trainingFrom(row);
    },
    giveBack: async ({ id, attempt }) => {
      await database.write(giveBackTraining, { id, attempt });
    },
    deleteModel: async ({ principal, model, deletionId, now }) => {
      const about = { id: deletionId, principal, kind: "model", deleted: model, created_at: now } as const;
      const deletion = { ...about, state: "queued", progress: 0, failure: "" } as const;
      const reply = await database.write(deleteTrainedModel, { deletion, now });
      return reply.kind === "deleted" ? { kind: reply.kind, deletion: deletionFrom(reply.row) } : reply;
    },
    purgeModel: (model) => database.write(purgeTrainedModel, { model }),
    isAbandoned: ({ model, trainingId }) => database.read(isAbandoned, { model, training_id: trainingId }),
  };
}

function newRow({ id, principal, options, params, createdAt }: NewTraining) {
  return { id, principal, options: JSON.stringify(options), params, created_at: createdAt };
}

function startResult(reply: StartReply): StartResult {
  return reply.kind === "started" ? { kind: reply.kind, training: trainingFrom(reply.row) } : reply;
}

function progressColumns({ progress, options, epochs, checkpoint }: TrainingProgress) {
  const last = epochs.at(-1);
  return {
    progress,
    options: JSON.stringify(options),
    last_epoch: last ? JSON.stringify(last) : null,
    checkpoint: checkpoint ?? null,
    epochs: epochs.map(({ epoch, metrics }) => ({ epoch, metrics: JSON.stringify(metrics) })),
  };
}

function endColumns(end: TrainingEnd) {
  const { status } = end;
  const stats = JSON.stringify(end.stats);
  if (status === "failed")
    return { status, stats, failure: end.failure, version: 0, epoch: 0, results: "[]" };
  const { version, results } = end;
  return {
    status,
    stats,
    failure: "",
    version,
    epoch: end.stats.epochs,
    results: JSON.stringify(results),
  };
}
