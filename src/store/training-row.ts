/** A training's row as it is read, with its model's, and how both become domain records. */
import { sql } from "kysely";
import type { DatasetId, DatasetType } from "../domain/dataset.ts";
import type {
  EpochMetrics,
  TrainedModel,
  Training,
  TrainingOptions,
  TrainingStats,
  TrainingStatus,
} from "../domain/training.ts";
import type { TrainedModelRow, TrainingRow } from "./schema.ts";
import { tables } from "./statement.ts";

/** Of a training, but for its checkpoint, which may be large. */
const COLUMNS = [
  "training.id",
  "training.principal",
  "training.model",
  "training.name",
  "training.dataset_id",
  "training.status",
  "training.revision",
  "training.attempt",
  "training.progress",
  "training.failure",
  "training.options",
  "training.stats",
  "training.last_epoch",
  "training.params",
  "training.version",
  "training.created_at",
  "training.updated_at",
  "training.started_at",
  "training.ended_at",
  "trained_model.id as model_uuid",
  "trained_model.model_id",
  "trained_model.type",
  "trained_model.created_at as model_created_at",
] as const;

/** In the words of the partial indexes training_unfinished and training_of_dataset, which are then found. */
export const UNFINISHED = sql<TrainingStatus>`('queued', 'running')`;

const queuePosition = sql<number>`case when training.status = 'queued' then (
  select count(*) from training as earlier
  where earlier.status in ${UNFINISHED} and earlier.status = 'queued' and earlier.id <= training.id
) else 0 end`;

export const trainings = tables
  .selectFrom("training")
  .innerJoin("trained_model", "trained_model.name", "training.model")
  .select([...COLUMNS, queuePosition.as("queue_position")]);

export interface JoinedRow
  extends Omit<TrainingRow, "checkpoint">,
    Pick<TrainedModelRow, "model_id" | "type"> {
  readonly model_uuid: string;
  readonly model_created_at: number;
  readonly queue_position: number;
}

export function trainingFrom(row: JoinedRow): Training {
  return {
    id: row.id,
    principal: row.principal,
    model: trainedModelFrom({
      name: row.model,
      principal: row.principal,
      id: row.model_uuid,
      model_id: row.model_id,
      dataset_id: row.dataset_id,
      type: row.type,
      created_at: row.model_created_at,
    }),
    name: row.name,
    datasetId: row.dataset_id as DatasetId,
    status: row.status,
    revision: row.revision,
    attempt: row.attempt,
    progress: row.progress,
    queuePosition: row.queue_position,
    failure: row.failure,
    options: JSON.parse(row.options) as TrainingOptions,
    stats: row.stats === null ? null : (JSON.parse(row.stats) as TrainingStats),
    lastEpoch: row.last_epoch === null ? null : (JSON.parse(row.last_epoch) as EpochMetrics),
    params: row.params,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
  };
}

export function trainedModelFrom(row: Omit<TrainedModelRow, "deleted_at">): TrainedModel {
  return {
    name: row.name,
    principal: row.principal,
    id: row.id,
    modelId: row.model_id,
    // The row was written from a domain record; ids and types come back as they went in.
    datasetId: row.dataset_id as DatasetId,
    type: row.type satisfies DatasetType,
    createdAt: row.created_at,
  };
}
