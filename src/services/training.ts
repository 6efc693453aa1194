/** The operations on trainings and on the models that they make. A training's life is told in `training-run.ts`. */
import type {
  TrainingOptions as OptionsMessage,
  RetrainModelRequest,
  StartTrainingRequest,
  TrainingService,
  WatchTrainingRequest,
} from "../../gen/auspex/v1/training_pb.ts";
import type { DatasetId } from "../domain/dataset.ts";
import { AuspexError } from "../domain/error.ts";
import { base32OfUuid, parseUuid } from "../domain/id.ts";
import { parseModelRef } from "../domain/model.ts";
import {
  isTrainingEnded,
  LEARNING_RATE,
  TRAIN_SPLIT_RATIO_DEFAULT,
  type TrainedModel,
  type Training,
  type TrainingOptions,
} from "../domain/training.ts";
import type { Store } from "../store/store.ts";
import type { NewTraining, StartResult } from "../store/training-store.ts";
import type { CallContext, Operations } from "./call.ts";
import type { Limits } from "./check.ts";
import { deletionMessage } from "./deletion-message.ts";
import { decodePageToken, pageOf } from "./page-token.ts";
import { epochMessage, metricsMessage, trainingMessage } from "./training-message.ts";
import type { TrainingRunner } from "./training-runner.ts";
import { validate } from "./validation.ts";
import type { Watches } from "./watch.ts";

const PAGE_SIZE_DEFAULT = 100;
const EPOCH_PAGE_SIZE_DEFAULT = 25;
/** Leaves room in a name's 64 characters for a hyphen and any number of the sequence. */
const SLUG_LENGTH_MAX = 44;

export interface TrainingOperationOptions {
  readonly store: Store;
  readonly runner: TrainingRunner;
  readonly watches: Watches;
  readonly limits: Limits;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
  /** Tells watchers of a training, after the commit. */
  readonly onChange: (id: string) => void;
  /** Tells the worker of deletions that there is one. */
  readonly onDeletion: () => void;
  /** Throws `unavailable` while the server starts or stops. */
  readonly refuseUnlessServing: () => void;
}

export function createTrainingOperations(
  options: TrainingOperationOptions,
): Operations<typeof TrainingService> {
  const { store, runner, limits, now, mintId } = options;

  async function modelOf({ principal }: CallContext, reference: string): Promise<TrainedModel> {
    const direct = await store.trainings.model(principal.name, reference);
    if (direct) return direct;
    const alias = await store.aliases.get(principal.name, reference);
    const target = alias && parseModelRef(alias.target);
    const model = target && (await store.trainings.model(principal.name, `${target.owner}/${target.name}`));
    if (!model) throw new AuspexError("not_found", `trained model ${reference} does not exist`);
    return model;
  }

  async function read({ principal }: CallContext, id: string): Promise<Training> {
    const training = await store.trainings.get(principal.name, parseUuid(id) ?? id);
    if (!training) throw new AuspexError("not_found", `training ${id} does not exist`);
    return training;
  }

  async function find(call: CallContext, by: WatchTrainingRequest["by"]): Promise<Training> {
    if (by.case === "id") return read(call, by.value);
    const reference = by.value ?? "";
    const model = await modelOf(call, reference);
    const training = await store.trainings.latest(call.principal.name, model.name);
    if (!training) throw new AuspexError("not_found", `trained model ${reference} does not exist`);
    return training;
  }

  /** What the model's metrics are of. */
  async function lastSuccess(call: CallContext, reference: string): Promise<Training> {
    const { name } = await modelOf(call, reference);
    const training = await store.trainings.latest(call.principal.name, name, "succeeded");
    if (!training) throw new AuspexError("not_found", `no training of ${reference} has succeeded yet`);
    return training;
  }

  // ---- start -------------------------------------------------------------------------------------------------

  function draft(request: StartTrainingRequest | RetrainModelRequest, call: CallContext): NewTraining {
    return {
      id: mintId(),
      principal: call.principal.name,
      options: completeOptions(request.options),
      params: request.params,
      createdAt: now(),
    };
  }

  function begun(result: StartResult, what: string): Training {
    if (result.kind !== "started") throw refusal(result.kind, what);
    runner.wake();
    return result.training;
  }

  async function start(request: StartTrainingRequest, call: CallContext): Promise<Training> {
    validate(request, limits);
    options.refuseUnlessServing();
    const uuid = mintId();
    const result = await store.trainings.start({
      training: draft(request, call),
      name: request.name,
      datasetId: Number(request.datasetId) as DatasetId,
      model: { id: uuid, modelId: base32OfUuid(uuid), slug: slugOf(request.name) },
    });
    return begun(result, `dataset ${request.datasetId}`);
  }

  async function retrain(request: RetrainModelRequest, call: CallContext): Promise<Training> {
    validate(request, limits);
    options.refuseUnlessServing();
    const { name, datasetId } = await modelOf(call, request.model);
    const result = await store.trainings.retrain({ training: draft(request, call), model: name });
    if (result.kind === "deleted") {
      throw new AuspexError("failed_precondition", `the dataset of model ${request.model} was deleted`);
    }
    return begun(result, result.kind === "unknown" ? `model ${request.model}` : `dataset ${datasetId}`);
  }

  return {
    startTraining: async (request, call) => ({ training: trainingMessage(await start(request, call)) }),
    retrainModel: async (request, call) => ({ training: trainingMessage(await retrain(request, call)) }),

    async getTraining(request, call) {
      validate(request, limits);
      return { training: trainingMessage(await find(call, request.by)) };
    },

    async *watchTraining(request, call) {
      validate(request, limits);
      const { id } = await find(call, request.by);
      const states = options.watches.watch(
        {
          id,
          principal: call.principal.name,
          afterRevision: request.afterRevision,
          read: () => read(call, id),
          isEnded: ({ status }: Training) => isTrainingEnded(status),
        },
        call,
      );
      for await (const training of states) yield { training: trainingMessage(training) };
    },

    async cancelTraining(request, call) {
      validate(request, limits);
      const { id } = await read(call, request.id);
      const canceled = await store.trainings.cancel({ principal: call.principal.name, id, now: now() });
      if (!canceled) {
        const { status } = await read(call, id);
        throw new AuspexError("failed_precondition", `training ${id} has already ${status}`);
      }
      runner.abort(id);
      options.onChange(id);
      return { training: trainingMessage(canceled) };
    },

    async listTrainings(request, call) {
      validate(request, limits);
      const principal = call.principal.name;
      const datasetId = request.datasetId === 0n ? undefined : (Number(request.datasetId) as DatasetId);
      if (datasetId !== undefined && !(await store.datasets.get(principal, datasetId))) {
        throw refusal("unknown", `dataset ${datasetId}`);
      }
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const after = decodePageToken(request.pageToken)?.key ?? "";
      const { skip } = request;
      const found = await store.trainings.list({ principal, datasetId, after, skip, limit: size + 1 });
      const { page, nextPageToken } = pageOf(found, size, ({ model }) => model.id);
      return {
        trainings: page.map(trainingMessage),
        nextPageToken,
      };
    },

    async getModelMetrics(request, call) {
      validate(request, limits);
      const training = await lastSuccess(call, request.model);
      const metrics = training.lastEpoch?.metrics;
      return { training: trainingMessage(training), metrics: metrics && metricsMessage(metrics) };
    },

    async listLearningCurve(request, call) {
      validate(request, limits);
      const { id } = await lastSuccess(call, request.model);
      const size = request.pageSize || EPOCH_PAGE_SIZE_DEFAULT;
      const after = Number(decodePageToken(request.pageToken)?.key ?? 0) || 0;
      const { skip } = request;
      const found = await store.trainings.epochs({ trainingId: id, after, skip, limit: size + 1 });
      const { page, nextPageToken } = pageOf(found, size, ({ epoch }) => epoch.epoch);
      return {
        points: page.map(({ epoch, results }) => ({ epoch: epochMessage(epoch), results: [...results] })),
        nextPageToken,
      };
    },

    async deleteTrainedModel(request, call) {
      validate(request, limits);
      const { name: model } = await modelOf(call, request.model);
      const args = { principal: call.principal.name, model, deletionId: mintId(), now: now() };
      const result = await store.trainings.deleteModel(args);
      switch (result.kind) {
        case "deleted":
          options.onDeletion();
          return { deletion: deletionMessage(result.deletion) };
        case "busy":
          throw new AuspexError("failed_precondition", `a training of model ${model} waits or runs`);
        case "unknown":
          throw new AuspexError("not_found", `trained model ${request.model} does not exist`);
        default:
          return result satisfies never;
      }
    },
  };
}

function completeOptions(given: OptionsMessage | undefined): TrainingOptions {
  return {
    epochs: given?.epochs ?? 0,
    learningRate: given?.learningRate || LEARNING_RATE.default,
    trainSplitRatio: given?.trainSplitRatio || TRAIN_SPLIT_RATIO_DEFAULT,
    withFeedback: given?.withFeedback ?? false,
    seed: given?.seed ?? 0,
  };
}

function refusal(kind: Exclude<StartResult["kind"], "started">, what: string): AuspexError {
  switch (kind) {
    case "unknown":
    case "deleted":
      return new AuspexError("not_found", `${what} does not exist`);
    case "importing":
      return new AuspexError(
        "failed_precondition",
        `${what} is importing; train from it when that has ended`,
      );
    case "failed":
      return new AuspexError("failed_precondition", `${what} has no examples: its zip could not be taken up`);
    case "busy":
      return new AuspexError("failed_precondition", `another training of ${what} waits or runs`);
    default:
      return kind satisfies never;
  }
}

/** A part of a model's name that a person recognizes: `My Dogs & Cats` → `my-dogs-cats`. */
export function slugOf(name: string): string {
  const slug = name
    .normalize("NFKD")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, SLUG_LENGTH_MAX)
    .replaceAll(/^-+|-+$/g, "");
  return slug || "model";
}
