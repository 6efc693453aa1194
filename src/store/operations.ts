/** Every operation by its name: how a thread finds what it is asked to run. */
import { deleteAlias, getAlias, listAliases, setAlias } from "./alias.ts";
import { claim, expireLeases, nextClaimAt, renew } from "./claim.ts";
import type { Operation } from "./database.ts";
import {
  insertDeliveries,
  listDeliveries,
  nextDueAt,
  recordDelivery,
  releaseDeliveries,
  takeDue,
} from "./delivery.ts";
import { getEmbeddings, putEmbeddings } from "./embedding.ts";
import { getImage, insertImageRow, listImporting, settleImage, unreferencedBlobs } from "./image.ts";
import {
  deleteEnded,
  getPrediction,
  getPredictionByRequest,
  insertPrediction,
  transition,
} from "./prediction.ts";
import { countByModel, listPredictions } from "./prediction-list.ts";
import { deleteTrainedModel, getTrainedModel, isAbandoned, purgeTrainedModel } from "./trained-model.ts";
import { latestTraining, listEpochs, listTrainings } from "./training-list.ts";
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
import { getTraining, retrainModel, startTraining } from "./training-start.ts";

const ALL = [
  insertPrediction,
  getPrediction,
  getPredictionByRequest,
  transition,
  deleteEnded,
  listPredictions,
  countByModel,
  claim,
  renew,
  nextClaimAt,
  expireLeases,
  insertDeliveries,
  takeDue,
  recordDelivery,
  nextDueAt,
  listDeliveries,
  releaseDeliveries,
  insertImageRow,
  getImage,
  settleImage,
  listImporting,
  unreferencedBlobs,
  setAlias,
  getAlias,
  listAliases,
  deleteAlias,
  startTraining,
  retrainModel,
  getTraining,
  getTrainedModel,
  latestTraining,
  listTrainings,
  listEpochs,
  claimTraining,
  takeUpTrainings,
  getCheckpoint,
  restartTraining,
  advanceTraining,
  settleTraining,
  cancelTraining,
  giveBackTraining,
  deleteTrainedModel,
  purgeTrainedModel,
  isAbandoned,
  getEmbeddings,
  putEmbeddings,
] as const;

export const OPERATIONS: ReadonlyMap<string, Operation<never, unknown>> = new Map(
  ALL.map((each) => [each.name, each as Operation<never, unknown>]),
);
