/** Trainings and their metrics as messages of the API. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { DatasetType as TypeMessage } from "../../gen/auspex/v1/dataset_pb.ts";
import {
  type EpochMetricsSchema,
  type MetricsSchema,
  TrainingStatus as StatusMessage,
  type TrainingSchema,
  type TrainingStatsSchema,
} from "../../gen/auspex/v1/training_pb.ts";
import type { DatasetType } from "../domain/dataset.ts";
import type { EpochMetrics, Metrics, Training, TrainingStats, TrainingStatus } from "../domain/training.ts";
import { timeMessage } from "./message.ts";

const STATUS = {
  queued: StatusMessage.QUEUED,
  running: StatusMessage.RUNNING,
  succeeded: StatusMessage.SUCCEEDED,
  failed: StatusMessage.FAILED,
  canceled: StatusMessage.CANCELED,
} as const satisfies Record<TrainingStatus, StatusMessage>;

const TYPE = {
  image: TypeMessage.IMAGE,
  "image-multi-label": TypeMessage.IMAGE_MULTI_LABEL,
} as const satisfies Record<DatasetType, TypeMessage>;

export function trainingMessage(training: Training): MessageInitShape<typeof TrainingSchema> {
  return {
    id: training.id,
    model: training.model.name,
    modelId: training.model.modelId,
    name: training.name,
    datasetId: BigInt(training.datasetId),
    type: TYPE[training.model.type],
    status: STATUS[training.status],
    revision: BigInt(training.revision),
    progress: training.progress,
    queuePosition: training.queuePosition,
    failure: training.failure,
    options: training.options,
    stats: training.stats ? statsMessage(training.stats) : undefined,
    version: training.version,
    lastEpoch: training.lastEpoch ? epochMessage(training.lastEpoch) : undefined,
    createTime: timeMessage(training.createdAt),
    updateTime: timeMessage(training.updatedAt),
    params: training.params,
  };
}

export function epochMessage({ epoch, metrics }: EpochMetrics): MessageInitShape<typeof EpochMetricsSchema> {
  return { epoch, metrics: metricsMessage(metrics) };
}

export function metricsMessage(metrics: Metrics): MessageInitShape<typeof MetricsSchema> {
  const rows = (matrix: readonly (readonly number[])[]) => matrix.map((counts) => ({ counts: [...counts] }));
  return {
    labels: [...metrics.labels],
    f1: [...metrics.f1],
    confusionMatrix: rows(metrics.confusionMatrix),
    confusionTables: metrics.confusionTables.map((table) => ({ rows: rows(table) })),
    testAccuracy: metrics.testAccuracy,
    trainingAccuracy: metrics.trainingAccuracy,
    trainingLoss: metrics.trainingLoss,
    labelTestAccuracy: [...metrics.labelTestAccuracy],
    labelTrainingAccuracy: [...metrics.labelTrainingAccuracy],
  };
}

function statsMessage(stats: TrainingStats): MessageInitShape<typeof TrainingStatsSchema> {
  const { totalMs, loadMs, embeddingMs, trainingMs, publishMs, ...counts } = stats;
  return {
    ...counts,
    totalTime: duration(totalMs),
    loadTime: duration(loadMs),
    embeddingTime: duration(embeddingMs),
    trainingTime: duration(trainingMs),
    publishTime: duration(publishMs),
  };
}

function duration(ms: number): { readonly seconds: bigint; readonly nanos: number } {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1_000_000 };
}
