/** Every operation by its name: how a thread finds what it is asked to run. */
import { addUsage, deleteRefreshToken, getUsage, insertRefreshToken, refreshTokenOwner } from "./account.ts";
import { deleteAlias, getAlias, listAliases, setAlias } from "./alias.ts";
import { unreferencedBlobs } from "./blob-use.ts";
import { getChatFile, putChatFiles } from "./chat-file.ts";
import { chatWindow, getChatMessage, insertTurn } from "./chat-message.ts";
import { deleteChatMessages, listChatMessages } from "./chat-message-list.ts";
import {
  addChatflowKey,
  chatflowKeyHolder,
  createChatflow,
  deleteChatflow,
  deleteChatflowKey,
  getChatflow,
  getDefinition,
  listChatflows,
  listFlowsFromFiles,
  updateChatflow,
} from "./chatflow.ts";
import { claim, expireLeases, nextClaimAt, renew } from "./claim.ts";
import type { Operation } from "./database.ts";
import {
  createDataset,
  createLabel,
  deleteDataset,
  examplesOf,
  getDataset,
  getLabel,
  listDatasets,
} from "./dataset.ts";
import {
  beginImport,
  clearImport,
  createImport,
  endImport,
  insertImported,
  unendedImports,
} from "./dataset-import.ts";
import {
  countExamples,
  deleteEndedDeletions,
  getDeletion,
  purgeDataset,
  recordDeletion,
  unfinishedDeletions,
} from "./deletion.ts";
import {
  insertDeliveries,
  listDeliveries,
  nextDueAt,
  recordDelivery,
  releaseDeliveries,
  takeDue,
} from "./delivery.ts";
import {
  deleteEmbeddings,
  getEmbeddings,
  missingEmbeddings,
  putEmbeddings,
  unusedEmbeddings,
} from "./embedding.ts";
import { deleteExample, getExample, insertExample, listExamples } from "./example.ts";
import { getImage, insertImageRow, listImporting, settleImage } from "./image.ts";
import { insertLead, listLeads } from "./lead.ts";
import { addPassages, countPassages, knownPassages, purgePassages } from "./passage.ts";
import { searchPassages } from "./passage-search.ts";
import {
  deleteEnded,
  getPrediction,
  getPredictionByRequest,
  insertPrediction,
  transition,
} from "./prediction.ts";
import { countByModel, listPredictions } from "./prediction-list.ts";
import { getRating, listRatings, rateMessage } from "./rating.ts";
import { touch } from "./storage-health.ts";
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
import {
  abandonUpsert,
  abandonUpserts,
  beginUpsert,
  deleteUpserts,
  endUpsert,
  listUpserts,
} from "./upsert.ts";

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
  insertRefreshToken,
  refreshTokenOwner,
  deleteRefreshToken,
  getUsage,
  addUsage,
  createDataset,
  getDataset,
  listDatasets,
  createLabel,
  getLabel,
  examplesOf,
  deleteDataset,
  insertExample,
  getExample,
  listExamples,
  deleteExample,
  createImport,
  beginImport,
  unendedImports,
  insertImported,
  clearImport,
  endImport,
  getDeletion,
  unfinishedDeletions,
  recordDeletion,
  countExamples,
  purgeDataset,
  deleteEndedDeletions,
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
  missingEmbeddings,
  putEmbeddings,
  unusedEmbeddings,
  deleteEmbeddings,
  createChatflow,
  getChatflow,
  getDefinition,
  listChatflows,
  listFlowsFromFiles,
  updateChatflow,
  deleteChatflow,
  addChatflowKey,
  deleteChatflowKey,
  chatflowKeyHolder,
  beginUpsert,
  endUpsert,
  abandonUpsert,
  abandonUpserts,
  listUpserts,
  deleteUpserts,
  addPassages,
  knownPassages,
  countPassages,
  purgePassages,
  searchPassages,
  insertTurn,
  chatWindow,
  getChatMessage,
  listChatMessages,
  deleteChatMessages,
  rateMessage,
  getRating,
  listRatings,
  insertLead,
  listLeads,
  putChatFiles,
  getChatFile,
  touch,
] as const;

export const OPERATIONS: ReadonlyMap<string, Operation<never, unknown>> = new Map(
  ALL.map((each) => [each.name, each as Operation<never, unknown>]),
);
