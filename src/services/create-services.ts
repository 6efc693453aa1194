/** Puts the operations together over a store and an engine, and owns their background work. */
import type { Config } from "../config.ts";
import { now, wallClock } from "../domain/clock.ts";
import { createIdMinter } from "../domain/id.ts";
import type { Prediction } from "../domain/prediction.ts";
import type { Engine, EngineLog } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";
import { createAccountOperations } from "./account.ts";
import { createAdmission } from "./admission.ts";
import { createAnswerOperations } from "./answer.ts";
import { createAuthenticator } from "./authenticator.ts";
import { createChatflowAccess } from "./chatflow-access.ts";
import { createAnswering } from "./create-answering.ts";
import { createChatflows } from "./create-chatflows.ts";
import { createDatasetOperations } from "./dataset.ts";
import { createDatasetImports } from "./dataset-import.ts";
import { createDeletionWorker } from "./deletion.ts";
import { createEgress } from "./egress.ts";
import { createFeedbackOperations } from "./feedback.ts";
import { createFileLinks } from "./file-link.ts";
import { createKnowledge } from "./flow/create-knowledge.ts";
import { createHealth } from "./health.ts";
import { createHints } from "./hints.ts";
import { createImageOperations } from "./image.ts";
import type { InputContext } from "./input.ts";
import { createMetrics } from "./metrics.ts";
import { createModelOperations } from "./model.ts";
import { deleteModel } from "./model-deletion.ts";
import { createModelDirectory } from "./model-directory.ts";
import { createPredictionOperations } from "./prediction.ts";
import { createCancel } from "./prediction-cancel.ts";
import { createPredictionCreation } from "./prediction-creation.ts";
import { createTargetResolver } from "./prediction-target.ts";
import { createRateLimiter } from "./rate-limit.ts";
import { startRetention } from "./retention.ts";
import { createRunner } from "./runner.ts";
import { ownSecret } from "./secret.ts";
import type { Services } from "./services.ts";
import { createTokens } from "./token.ts";
import { createTrainingOperations } from "./training.ts";
import { createTrainingRunner } from "./training-runner.ts";
import { createUsage } from "./usage.ts";
import { createWatches } from "./watch.ts";
import { createWebhookDispatcher } from "./webhook.ts";
import { auspexBody, createWebhookEvents, type WebhookBodies } from "./webhook-event.ts";

export interface ServicesOptions {
  readonly store: Store;
  readonly engine: Engine;
  readonly config: Config;
  /** Webhook bodies of the dialects. */
  readonly webhookBodies: Omit<WebhookBodies, "auspex">;
  readonly log: EngineLog;
  readonly logLinesDropped: () => number;
}

export interface RunningServices extends Services {
  /** Takes up what the data folder holds beside the store; before the first call. */
  load(): Promise<void>;
  /** Begins to run what is stored, and then takes creations. Resolves when it takes them. */
  start(): Promise<void>;
  /** From this moment creations are refused, watches end, and health says so. */
  stopAccepting(): void;
  /** Lets running predictions finish for up to `graceMs`, then ends waits, gives back the rest, stops the background. */
  close(graceMs: number): Promise<void>;
}

export function createServices({
  store,
  engine,
  config,
  webhookBodies,
  log,
  logLinesDropped,
}: ServicesOptions): RunningServices {
  const mint = createIdMinter((bytes) => crypto.getRandomValues(bytes));
  const mintId = () => mint(Math.floor(now() / 1000));
  const stopping = new AbortController();
  const ending = new AbortController();
  const hints = createHints();
  const egress = createEgress({ allow: config.EGRESS_ALLOW });
  const health = createHealth(engine, store.health, log);
  const metrics = createMetrics(store, engine, {
    logLinesDropped,
    answersUnfinished: () => answering.inFlight.unfinished(),
    answerStreams: () => answers.streams(),
    watchStreams: () => watches.streams(),
  });
  const rate = createRateLimiter({
    perSecond: config.RATE_LIMIT,
    now: () => now() / 1000,
  });
  const webhooks = createWebhookDispatcher({
    deliveries: store.deliveries,
    egress,
    log,
    now,
    wall: wallClock,
    random: Math.random,
  });
  const input: InputContext = { store, engine, egress, maxPictureBytes: config.MAX_BODY_BYTES };
  const common = {
    input,
    hints,
    now,
    deliveriesFor: createWebhookEvents({ auspex: auspexBody, ...webhookBodies }),
    onDeliveries: () => webhooks.wake(),
    onSettled: (prediction: Prediction) => {
      answering.inFlight.release(prediction.id);
      metrics.settled(prediction);
    },
    log,
  };
  const directory = createModelDirectory(engine.models, store.aliases);
  const knowledge = createKnowledge({
    store,
    engine,
    workers: config.WORKERS,
    passagesMax: config.MAX_UPSERT_PASSAGES,
    now,
    mintId,
    log,
  });
  const answering = createAnswering({ ...common, directory, knowledge, config, mintId });
  const { flows, inFlight, intake } = answering;
  const runner = createRunner({
    ...common,
    flows,
    onLeft: inFlight.release,
    leaseMs: config.LEASE,
    runMaxMs: config.RUN_MAX,
  });
  const secret = ownSecret(config.JWT_SECRET, config.DATA_DIR);
  const tokens = createTokens({
    secret,
    accounts: config.ACCOUNTS_FILE,
    open: config.open,
    now: wallClock,
  });
  const usage = createUsage({ store: store.accounts, quota: config.MONTHLY_QUOTA, now, log });
  const images = createImageOperations({
    input,
    limits: config,
    now,
    mintId,
    stopping: stopping.signal,
    log,
  });
  const watches = createWatches({ hints, watchesMax: config.MAX_WATCHES, stopping: stopping.signal });
  const trainingRunner = createTrainingRunner({
    store,
    engine,
    now,
    trainings: config.TRAININGS,
    featureExtractor: config.FEATURE_EXTRACTOR,
    examplesMax: config.MAX_TRAINING_EXAMPLES,
    onChange: hints.emit,
    log,
  });
  const imports = createDatasetImports({
    store,
    engine,
    egress,
    limits: config,
    hints,
    now,
    stopping: stopping.signal,
    log,
  });
  const deletions = createDeletionWorker({
    store,
    deleteModel: (name) => deleteModel(name, { models: engine.models, trainings: store.trainings }),
    stopping: stopping.signal,
    log,
  });
  const authenticate = createAuthenticator({ open: config.open, apiKeys: config.API_KEYS, tokens });
  const access = createChatflowAccess({
    flows: store.chatflows,
    open: config.open,
    origins: config.CORS_ORIGINS,
    nowMs: () => performance.now(),
  });
  const creation = createPredictionCreation({
    ...common,
    resolveTarget: createTargetResolver({ directory, access, intake, chatflows: store.chatflows }),
    intake,
    inFlight,
    runner,
    admission: createAdmission({
      engine,
      stored: runner.stored,
      queueMaxMs: config.QUEUE_DELAY,
      now: Date.now,
    }),
    rate,
    usage,
    limits: config,
    mintId,
    refuseUnlessServing: health.refuseUnlessServing,
    ending: ending.signal,
  });
  const cancel = createCancel({ ...common, predictions: store.predictions, flows, runner });
  const answers = createAnswerOperations({
    predictions: store.predictions,
    access,
    intake,
    inFlight,
    creation,
    cancel,
    hints,
    limits: config,
    streamsMax: config.MAX_WATCHES,
    ending: ending.signal,
    log,
  });
  const chatflows = createChatflows({
    store,
    engine,
    egress,
    config,
    authenticate,
    access,
    answers,
    knowledge,
    now,
    mintId,
    log,
  });
  let stopRetention = () => Promise.resolve();

  const datasets = createDatasetOperations({
    store,
    engine,
    egress,
    imports,
    hints,
    limits: config,
    now,
    mintId,
    onDeletion: () => deletions.wake(),
    stopping: stopping.signal,
  });

  return {
    predictions: createPredictionOperations({
      predictions: store.predictions,
      creation,
      cancel,
      limits: config,
      watches,
    }),
    models: health.guard(
      createModelOperations({ store, models: engine.models, directory, limits: config }),
      "publishModelVersion",
    ),
    images: health.guard(images, "uploadImage", "importImage"),
    datasets: health.guard(
      datasets,
      "createDataset",
      "uploadDataset",
      "addExamples",
      "createLabel",
      "createExample",
    ),
    files: createFileLinks({ secret, datasets, now: wallClock }),
    feedback: health.guard(
      createFeedbackOperations({ store, engine, limits: config, now }),
      "createFeedback",
    ),
    trainings: createTrainingOperations({
      store,
      runner: trainingRunner,
      watches,
      limits: config,
      now,
      mintId,
      onChange: hints.emit,
      onDeletion: () => deletions.wake(),
      refuseUnlessServing: health.refuseUnlessServing,
    }),
    accounts: createAccountOperations({ store: store.accounts, tokens, usage, limits: config, now }),
    // Those that answer refuse by themselves, where they create predictions.
    chatflows: health.guard(
      chatflows.operations,
      "createChatflow",
      "updateChatflow",
      "createChatflowKey",
      "upsertDocuments",
      "rateMessage",
      "createLead",
      "createAttachments",
    ),
    authenticate,
    authenticateAsker: chatflows.authenticateAsker,
    admitAsker: access.admit,
    renewToken: tokens.renew,
    rateLimit: (principal) => rate.state(principal.name),
    health,
    metrics: () => metrics.text(),
    load: () => chatflows.folder.load(),
    async start() {
      chatflows.folder.start();
      const looked = runner.start();
      webhooks.start();
      trainingRunner.start();
      // Nobody waits for it: a start is over when calls are taken.
      Promise.all([images.resume(), imports.resume()]).catch((error: unknown) =>
        log.error({ err: error }, "imports could not be resumed"),
      );
      deletions.wake();
      stopRetention = startRetention({ store, retentionMs: config.RETENTION, now, log });
      await looked;
      health.started();
    },
    stopAccepting() {
      health.stopping();
      stopping.abort();
    },
    async close(graceMs) {
      // A training goes on with the next start; the time to end is for predictions.
      await Promise.all([
        runner.drain(graceMs),
        stopRetention(),
        trainingRunner.close(),
        chatflows.folder.close(),
        imports.idle(),
        deletions.idle(),
      ]);
      ending.abort();
      // A turn, in which what still runs unwritten is written for those who waited for it.
      await new Promise(setImmediate);
      await runner.close();
      await webhooks.close();
      await knowledge.close();
      await Promise.all([egress.close(), answering.close()]);
      await usage.close();
    },
  };
}
