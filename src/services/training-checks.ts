/** What well-formed requests to TrainingService are; a part of the table in `validation.ts`. */
import type {
  CancelTrainingRequest,
  DeleteTrainedModelRequest,
  GetModelMetricsRequest,
  GetTrainingRequest,
  ListLearningCurveRequest,
  ListTrainingsRequest,
  RetrainModelRequest,
  StartTrainingRequest,
  TrainingOptions,
  WatchTrainingRequest,
} from "../../gen/auspex/v1/training_pb.ts";
import { NAME_LENGTH_MAX } from "../domain/dataset.ts";
import { EPOCHS_MAX, LEARNING_RATE } from "../domain/training.ts";
import {
  byId,
  type Check,
  type Complain,
  length,
  modelAlias,
  PAGE_TOKEN_LENGTH_MAX,
  pageSize,
  uuid,
} from "./check.ts";

const PARAMS_LENGTH_MAX = 2000;
/** An epoch's metrics may have 100 KB: that of 250 labels. */
export const EPOCH_PAGE_SIZE_MAX = 100;

/** How the options are trained with where the request says nothing or 0. */
function options(complain: Complain, given: TrainingOptions | undefined): void {
  if (!given) return;
  const { epochs, learningRate, trainSplitRatio } = given;
  const { min, max } = LEARNING_RATE;
  if (epochs > EPOCHS_MAX) complain("options.epochs", "out_of_range", `must be 1 to ${EPOCHS_MAX}, or 0`);
  if (learningRate !== 0 && !(learningRate >= min && learningRate <= max)) {
    complain("options.learning_rate", "out_of_range", `must be ${min} to ${max}, or 0`);
  }
  if (trainSplitRatio !== 0 && !(trainSplitRatio > 0 && trainSplitRatio < 1)) {
    complain("options.train_split_ratio", "out_of_range", "must be more than 0 and less than 1, or 0");
  }
}

function by(complain: Complain, { by: which }: Pick<GetTrainingRequest, "by">): void {
  if (which.case === "id") uuid(complain, which.value);
  else if (which.case === "model") modelAlias(complain, "model", which.value);
  else complain("by", "required", "an id or a model is required");
}

const byModel: Check<{ readonly model: string }> = ({ model }, complain) =>
  modelAlias(complain, "model", model);

function token(complain: Complain, value: string): void {
  length(complain, "page_token", value, PAGE_TOKEN_LENGTH_MAX);
}

export const TRAINING_CHECKS = {
  "auspex.v1.StartTrainingRequest": ((request, complain) => {
    if (request.datasetId <= 0n) complain("dataset_id", "required", "is required");
    if (request.name.trim() === "") complain("name", "required", "is required");
    length(complain, "name", request.name, NAME_LENGTH_MAX);
    options(complain, request.options);
    length(complain, "params", request.params, PARAMS_LENGTH_MAX);
  }) as Check<StartTrainingRequest>,
  "auspex.v1.RetrainModelRequest": ((request, complain) => {
    modelAlias(complain, "model", request.model);
    options(complain, request.options);
    length(complain, "params", request.params, PARAMS_LENGTH_MAX);
  }) as Check<RetrainModelRequest>,
  "auspex.v1.GetTrainingRequest": ((request, complain) => by(complain, request)) as Check<GetTrainingRequest>,
  "auspex.v1.WatchTrainingRequest": ((request, complain) =>
    by(complain, request)) as Check<WatchTrainingRequest>,
  "auspex.v1.CancelTrainingRequest": byId as Check<CancelTrainingRequest>,
  "auspex.v1.ListTrainingsRequest": ((request, complain) => {
    if (request.datasetId < 0n)
      complain("dataset_id", "out_of_range", "must be a dataset's id, or 0 for all");
    pageSize(complain, request.pageSize);
    token(complain, request.pageToken);
  }) as Check<ListTrainingsRequest>,
  "auspex.v1.GetModelMetricsRequest": byModel as Check<GetModelMetricsRequest>,
  "auspex.v1.ListLearningCurveRequest": ((request, complain) => {
    modelAlias(complain, "model", request.model);
    if (request.pageSize > EPOCH_PAGE_SIZE_MAX) {
      complain("page_size", "out_of_range", `must be 0 to ${EPOCH_PAGE_SIZE_MAX}`);
    }
    token(complain, request.pageToken);
  }) as Check<ListLearningCurveRequest>,
  "auspex.v1.DeleteTrainedModelRequest": byModel as Check<DeleteTrainedModelRequest>,
};
