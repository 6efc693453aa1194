/** From our messages to this dialect's objects: trainings, models, metrics and learning curves. */
import type { Duration } from "@bufbuild/protobuf/wkt";
import { DatasetType } from "../../../../gen/auspex/v1/dataset_pb.ts";
import {
  type ConfusionRow,
  type LearningCurvePoint,
  type Metrics,
  type Training,
  type TrainingStats,
  TrainingStatus,
} from "../../../../gen/auspex/v1/training_pb.ts";
import type { JsonObject, JsonValue } from "../../../domain/payload.ts";
import type { Version } from "./door.ts";
import { LANGUAGE, renderTime, shortest, TYPE_NAMES } from "./render.ts";

const STATUS: ReadonlyMap<TrainingStatus, string> = new Map<TrainingStatus, string>([
  [TrainingStatus.QUEUED, "QUEUED"],
  [TrainingStatus.RUNNING, "RUNNING"],
  [TrainingStatus.SUCCEEDED, "SUCCEEDED"],
  [TrainingStatus.FAILED, "FAILED"],
  [TrainingStatus.CANCELED, "KILLED"],
]);

const languageOf = (version: Version) => version === 2 && { language: LANGUAGE };

/** What a training and a model, which is its training once more, have in common. */
function head(training: Training): JsonObject {
  return {
    datasetId: Number(training.datasetId),
    datasetVersionId: 0,
    name: training.name,
    status: STATUS.get(training.status) ?? "",
    progress: shortest(training.progress),
    createdAt: renderTime(training.createTime),
    updatedAt: renderTime(training.updateTime),
    ...(training.status === TrainingStatus.FAILED && { failureMsg: training.failure }),
    modelId: training.modelId,
  };
}

export function renderTraining(training: Training, version: Version): JsonObject {
  const { options, queuePosition, status, stats, type } = training;
  const ended = status === TrainingStatus.SUCCEEDED || status === TrainingStatus.FAILED;
  return {
    ...head(training),
    learningRate: options?.learningRate ?? 0,
    epochs: options?.epochs ?? 0,
    ...(status === TrainingStatus.QUEUED && { queuePosition }),
    modelType: TYPE_NAMES.get(type) ?? "",
    ...languageOf(version),
    object: "training",
    trainParams: paramsOf(training),
    trainStats: ended && stats ? renderStats(stats) : null,
  };
}

/** As they were sent, which was checked then. */
function paramsOf({ params }: Training): JsonValue {
  return params === "" ? null : JSON.parse(params);
}

export function renderModel(training: Training, version: Version): JsonObject {
  return {
    ...head(training),
    modelType: TYPE_NAMES.get(training.type) ?? "",
    ...languageOf(version),
    object: "model",
  };
}

const milliseconds = (duration: Duration | undefined): number =>
  duration ? Number(duration.seconds) * 1000 + Math.floor(duration.nanos / 1e6) : 0;

/** `HH:MM:SS:mmm` */
export function renderDuration(ms: number): string {
  const pad = (value: number, width: number) => String(Math.floor(value)).padStart(width, "0");
  return [
    pad(ms / 3_600_000, 2),
    pad((ms / 60_000) % 60, 2),
    pad((ms / 1000) % 60, 2),
    pad(ms % 1000, 3),
  ].join(":");
}

function renderStats(stats: TrainingStats): JsonObject {
  return {
    labels: stats.labels,
    examples: stats.examples,
    totalTime: renderDuration(milliseconds(stats.totalTime)),
    transforms: null,
    trainingTime: renderDuration(milliseconds(stats.trainingTime)),
    earlyStopping: stats.earlyStopped,
    lastEpochDone: stats.epochs,
    modelSaveTime: renderDuration(milliseconds(stats.publishTime)),
    testSplitSize: stats.testExamples,
    trainSplitSize: stats.trainExamples,
    // This API has no word for looking at the pictures, which is what they are loaded for.
    datasetLoadTime: renderDuration(milliseconds(stats.loadTime) + milliseconds(stats.embeddingTime)),
    preProcessStats: null,
    postProcessStats: null,
  };
}

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4;
const counts = (rows: readonly ConfusionRow[]): number[][] => rows.map((row) => [...row.counts]);

function renderMetrics(metrics: Metrics, type: DatasetType): JsonObject {
  const { labels, confusionTables } = metrics;
  const isMultiLabel = type === DatasetType.IMAGE_MULTI_LABEL;
  const f1 = metrics.f1.map(rounded);
  const trainingLoss = rounded(metrics.trainingLoss);
  if (!isMultiLabel) {
    return {
      f1,
      labels,
      testAccuracy: rounded(metrics.testAccuracy),
      trainingLoss,
      confusionMatrix: counts(metrics.confusionMatrix),
      trainingAccuracy: rounded(metrics.trainingAccuracy),
    };
  }
  return {
    f1,
    labels,
    testAccuracy: metrics.labelTestAccuracy.map(rounded),
    trainingLoss,
    confusionMatrices: Object.fromEntries(
      labels.map((label, i) => [label, counts(confusionTables[i]?.rows ?? [])]),
    ),
    trainingAccuracy: metrics.labelTrainingAccuracy.map(rounded),
  };
}

export function renderModelMetrics(training: Training, metrics: Metrics, version: Version): JsonObject {
  return {
    metricsData: renderMetrics(metrics, training.type),
    createdAt: renderTime(training.createTime),
    id: training.modelId,
    ...languageOf(version),
    object: "metrics",
  };
}

export function renderCurvePoint({ epoch, results }: LearningCurvePoint): JsonObject {
  const metrics = epoch?.metrics;
  // A multi-label model's metrics are those that have tables.
  const type =
    metrics && metrics.confusionTables.length > 0 ? DatasetType.IMAGE_MULTI_LABEL : DatasetType.IMAGE;
  return {
    epoch: epoch?.epoch ?? 0,
    metricsData: metrics ? renderMetrics(metrics, type) : null,
    epochResults: results.map(({ exampleName, expectedLabel, predictedLabel }) => ({
      exampleName: `${exampleName}-${expectedLabel}`,
      expectedLabel,
      predictedLabel,
    })),
    object: "learningcurve",
  };
}
