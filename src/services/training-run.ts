/**
 * One training from its examples to its published version. It may be begun several times before it ends once: what is
 * known already is not done again, and the same plan comes to the same bytes. A version in the models folder that
 * names the training as its source is that training's, so a crash between publishing and settling publishes nothing
 * twice.
 */
import type { Dataset } from "../domain/dataset.ts";
import { AuspexError } from "../domain/error.ts";
import { type Manifest, type ModelVersion, parseModelRef } from "../domain/model.ts";
import type { EpochMetrics, EpochResult, Training, TrainingStats } from "../domain/training.ts";
import type { Engine, EngineLog } from "../engine/engine.ts";
import type { Extractor, FitDone, FitRequest, FitStep } from "../engine/trainer.ts";
import { defaultEpochs } from "../engine/trainer.ts";
import type { Store } from "../store/store.ts";
import type { TrainingEnd, TrainingProgress } from "../store/training-store.ts";
import { type EmbeddingContext, embedPictures, extractorKey, fitExamples } from "./training-embeddings.ts";
import { type PlannedPicture, planDigest, planTraining, type TrainingPlan } from "./training-plan.ts";

/** Between two writes of how far it has come. */
const REPORT_MS = 300;
/** Short of 1, which says that a training has succeeded. */
const PROGRESS_MAX = 0.999;

export interface TrainingContext {
  readonly store: Store;
  readonly engine: Engine;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  /** `owner/name` of the model whose embeddings are learned from. */
  readonly featureExtractor: string;
  readonly examplesMax: number;
  /** Aborted when the server stops. */
  readonly stopping: AbortSignal;
  /** Told after each commit. */
  readonly onChange: (id: string) => void;
  readonly log: EngineLog;
}

const TASKS = { image: "image-classification", "image-multi-label": "image-multi-label" } as const;
const ACTIVATIONS = { image: "softmax", "image-multi-label": "sigmoid" } as const;

/** What a published version says of where it came from. */
function sourceOf(trainingId: string): string {
  return `auspex training ${trainingId}`;
}

/** The id of the training that published a version; undefined for other versions. */
export function trainingOf(version: ModelVersion): string | undefined {
  return /^auspex training (.+)$/.exec(version.manifest?.source ?? "")?.[1];
}

export function publishedBy(engine: Engine, training: Training): ModelVersion | undefined {
  return engine.models
    .list()
    .find((version) => modelOf(version) === training.model.name && trainingOf(version) === training.id);
}

export function modelOf({ owner, name }: ModelVersion): string {
  return `${owner}/${name}`;
}

/** Takes back what it published, if it did: nobody was promised it. */
export async function withdraw(engine: Engine, training: Training): Promise<void> {
  const version = publishedBy(engine, training);
  if (version) await engine.models.remove(version.owner, version.name, version.version);
}

/**
 * Rejects with `canceled` when the signal aborts or somebody else ended it, and with `unavailable` while storage or
 * engine are out of order. Every other failure is an end.
 */
export async function runTraining(
  context: TrainingContext,
  training: Training,
  signal: AbortSignal,
): Promise<TrainingEnd> {
  const run = new TrainingRun(context, training, signal);
  try {
    return await run.end();
  } catch (error) {
    signal.throwIfAborted();
    const known = AuspexError.from(error);
    if (known.code === "canceled" || known.code === "unavailable") throw known;
    if (known.code === "internal") {
      context.log.error({ err: error, training: training.id }, "a training failed");
    }
    return { status: "failed", failure: known.message, stats: run.stats() };
  }
}

type Phase = "loadMs" | "embeddingMs" | "trainingMs" | "publishMs";

class TrainingRun {
  readonly #context: TrainingContext;
  readonly #signal: AbortSignal;
  #training: Training;
  #plan: TrainingPlan | undefined;
  #epochs: EpochMetrics[] = [];
  #checkpoint: Uint8Array | undefined;
  #lastEpoch = 0;
  #earlyStopped = false;
  #reportedAt = 0;
  readonly #begunAt = performance.now();
  readonly #times: Record<Phase, number> = { loadMs: 0, embeddingMs: 0, trainingMs: 0, publishMs: 0 };

  constructor(context: TrainingContext, training: Training, signal: AbortSignal) {
    this.#context = context;
    this.#training = training;
    this.#signal = signal;
  }

  async end(): Promise<TrainingEnd> {
    const { extractor, manifest } = this.#extractor();
    const plan = await this.#timed("loadMs", () => this.#load());
    const embedding: EmbeddingContext = {
      ...this.#context,
      extractor,
      signal: this.#signal,
      onProgress: (done, total) => this.#report((0.5 * done) / total),
    };
    const digest = planDigest(plan, this.#training.options, extractorKey(extractor));
    const checkpoint = await this.#takeUp(digest);
    await this.#timed("embeddingMs", () => embedPictures(plan, embedding));
    const done = await this.#timed("trainingMs", () => this.#fit(plan, embedding, { digest, checkpoint }));
    const version = await this.#timed("publishMs", () => this.#publish(plan, done, extractor, manifest));
    const results = resultsOf(plan, done.testDecisions);
    return { status: "succeeded", version: version.version, stats: this.stats(), results };
  }

  stats(): TrainingStats {
    const { train = [], test = [], labels = [] } = this.#plan ?? {};
    const { startedAt } = this.#training;
    const sinceStart = (this.#context.now() - (startedAt ?? this.#context.now())) / 1000;
    return {
      labels: labels.length,
      examples: train.length + test.length,
      trainExamples: train.length,
      testExamples: test.length,
      epochs: this.#lastEpoch,
      totalMs: Math.round(Math.max(sinceStart, performance.now() - this.#begunAt)),
      ...this.#times,
      earlyStopped: this.#earlyStopped,
    };
  }

  #extractor(): { readonly extractor: Extractor; readonly manifest: Manifest } {
    const name = this.#context.featureExtractor;
    const ref = parseModelRef(name);
    const version = ref && this.#context.engine.models.latest(ref.owner, ref.name);
    if (!version?.manifest) {
      throw new AuspexError(
        "failed_precondition",
        `The feature extractor ${name} is not there. It is pulled by: npm run models -- pull ${name}`,
      );
    }
    if (version.manifest.embedding === null) {
      throw new AuspexError("failed_precondition", `The model ${name} names no embedding to train from.`);
    }
    return { extractor: version, manifest: version.manifest };
  }

  async #load(): Promise<TrainingPlan> {
    const { principal, datasetId, options } = this.#training;
    const { datasets } = this.#context.store;
    // The dataset last: whatever label an example has is then known.
    const examples = await datasets.examplesOf(principal, datasetId, options);
    const dataset: Dataset | undefined = await datasets.get(principal, datasetId);
    if (!dataset) throw new AuspexError("failed_precondition", `The dataset ${datasetId} was deleted.`);
    const plan = planTraining(dataset, examples, options, this.#context.examplesMax);
    this.#plan = plan;
    const epochs = options.epochs || defaultEpochs(plan.train.length, plan.labels.length);
    this.#training = { ...this.#training, options: { ...options, epochs } };
    return plan;
  }

  /** What an earlier attempt left of the same plan; of another one nothing is left. */
  async #takeUp(digest: Uint8Array): Promise<Uint8Array | null> {
    const { store, now, engine } = this.#context;
    const stored = await store.trainings.checkpoint(this.#training.id);
    if (stored && Buffer.compare(stored.subarray(0, digest.length), digest) === 0) {
      this.#lastEpoch = this.#training.lastEpoch?.epoch ?? 0;
      return stored.length > digest.length ? stored.slice(digest.length) : null;
    }
    await withdraw(engine, this.#training);
    const running = this.#training;
    this.#ifRunning(await store.trainings.restart({ running, now: now(), checkpoint: digest }));
    return null;
  }

  async #fit(
    plan: TrainingPlan,
    context: EmbeddingContext,
    from: { readonly digest: Uint8Array; readonly checkpoint: Uint8Array | null },
  ): Promise<FitDone> {
    const { options, model } = this.#training;
    const train = await fitExamples(plan.train, plan.labels.length, context);
    const test = await fitExamples(plan.test, plan.labels.length, context);
    const request: FitRequest = {
      extractor: context.extractor,
      activation: ACTIVATIONS[model.type],
      labels: plan.labels,
      width: train.width,
      train: train.examples,
      test: test.examples,
      epochs: options.epochs,
      learningRate: options.learningRate,
      seed: options.seed,
      checkpoint: from.checkpoint,
    };
    for await (const step of this.#context.engine.trainer.fit(request, this.#signal)) {
      await this.#take(step, from.digest);
      if (step.done) return step.done;
    }
    throw new Error("a fit ended before its last epoch");
  }

  async #take({ epoch, metrics, checkpoint, done }: FitStep, digest: Uint8Array): Promise<void> {
    this.#epochs.push({ epoch, metrics });
    this.#lastEpoch = epoch;
    this.#earlyStopped = done?.earlyStopped ?? false;
    // From the last epoch there is nothing to go on to: it comes again from the checkpoint before.
    if (checkpoint && !done) this.#checkpoint = Buffer.concat([digest, checkpoint]);
    // A checkpoint is there to be written.
    const always = done !== null || this.#checkpoint !== undefined;
    await this.#report(0.5 + (0.5 * epoch) / this.#training.options.epochs, always);
  }

  async #publish(
    plan: TrainingPlan,
    done: FitDone,
    extractor: Extractor,
    { picture }: Manifest,
  ): Promise<ModelVersion> {
    const { engine, stopping } = this.#context;
    const { model, name, id } = this.#training;
    const ref = parseModelRef(model.name);
    if (!ref) throw new Error(`${model.name} is no model's name`);
    const manifest = {
      task: TASKS[model.type],
      description: `${name}: trained from dataset ${model.datasetId}`,
      source: sourceOf(id),
      labels: plan.labels,
      picture,
      activation: ACTIVATIONS[model.type],
      backbone: extractorKey(extractor),
    };
    const files = { ...done.files, "auspex.json": Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`) };
    const { owner, name: modelName } = ref;
    // A cancel is not to interrupt it: what was half published could not be found to be taken back.
    const version =
      publishedBy(engine, this.#training) ??
      (await engine.models.publish({ owner, name: modelName, files, signal: stopping }));
    if (version.state.kind === "ready") return version;
    const why = version.state.kind === "failed" ? version.state.reason : "it is being loaded";
    await withdraw(engine, this.#training);
    throw new AuspexError("failed_precondition", `The trained model could not be loaded: ${why}.`);
  }

  /** Writes how far it has come, when that was not done just now. */
  async #report(progress: number, always = false): Promise<void> {
    const at = performance.now();
    if (!always && at - this.#reportedAt < REPORT_MS) return;
    this.#reportedAt = at;
    const { store, now, onChange } = this.#context;
    const next: TrainingProgress = {
      // An attempt that begins anew does not go back.
      progress: Math.max(this.#training.progress, Math.min(progress, PROGRESS_MAX)),
      options: this.#training.options,
      epochs: this.#epochs,
      checkpoint: this.#checkpoint,
    };
    this.#epochs = [];
    this.#checkpoint = undefined;
    this.#ifRunning(await store.trainings.advance({ running: this.#training, now: now(), next }));
    this.#training = { ...this.#training, progress: next.progress };
    onChange(this.#training.id);
  }

  #ifRunning(running: boolean): void {
    if (!running) throw new AuspexError("canceled", "somebody else has ended the training");
  }

  async #timed<T>(name: Phase, work: () => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    const begun = performance.now();
    try {
      return await work();
    } finally {
      this.#times[name] = Math.round(performance.now() - begun);
    }
  }
}

function resultsOf({ test, labels }: TrainingPlan, decisions: Uint8Array): EpochResult[] {
  const named = (indexes: readonly number[]): string => indexes.map((index) => labels[index]).join(",");
  return test.map((picture: PlannedPicture, row) => {
    const given = decisions.subarray(row * labels.length, (row + 1) * labels.length);
    return {
      exampleName: picture.name,
      expectedLabel: named(picture.labels),
      predictedLabel: named([...given.keys()].filter((label) => given[label] === 1)),
    };
  });
}
