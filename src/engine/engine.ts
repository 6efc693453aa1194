/**
 * The inference core: inputs to outputs, in worker processes. It knows models, runtimes, batches and pictures; it
 * knows no SQL, no HTTP and no predictions.
 */
import type { ModelVersion } from "../domain/model.ts";
import type { JsonObject, Payload } from "../domain/payload.ts";
import type { Tensors } from "../domain/tensor.ts";
import type { AheadMs } from "./ahead.ts";
import type { Outlook } from "./pace.ts";
import type { Trainer } from "./trainer.ts";

export interface JobInput {
  readonly json: JsonObject;
  readonly tensors: Tensors;
  /** Bytes by input key; for picture tasks `image`. URLs and image ids are resolved by the caller. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

export interface Job {
  readonly owner: string;
  readonly name: string;
  readonly version: number;
  readonly input: JobInput;
  /** Aborted: queued jobs leave at once, a running one's result is dropped; `run` rejects with `canceled`. */
  readonly signal: AbortSignal;
  /** Milliseconds of performance.now(), which nobody can set; not started after it, and stopped at it when running. */
  readonly deadlineAt: number | undefined;
  /** Times a worker has died with this job before. At 2 it fails instead of running again. */
  readonly deaths: number;
  /** Called before a job runs again because its worker died; the job waits for it. */
  readonly onWorkerDeath: () => Promise<void>;
  /**
   * Has a text embedding answered as the tensor `embeddings`, float32 [texts, width], with no JSON; for callers that
   * go on computing with it. Default false; without meaning for other tasks.
   */
  readonly typedOutput?: boolean;
}

export interface JobResult {
  readonly output: Payload;
  /** Microseconds that a worker took for its batch. */
  readonly executionTime: number;
}

export interface PictureInfo {
  readonly mediaType: string;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

export interface Engine {
  readonly models: ModelRegistry;
  readonly trainer: Trainer;
  /**
   * Runs one job; rejects with AuspexError: `invalid_argument` for an input that the model cannot take,
   * `not_found` for a version that is not ready, `deadline_exceeded`, `canceled`, `resource_exhausted` when it
   * outgrew the worker's memory, `internal` when its workers died.
   */
  run(job: Job): Promise<JobResult>;
  /** Jobs that it would take now without queueing more than it needs to stay busy; below 0 when it has more already. */
  room(): number;
  /** What a job of that version would meet now, by how long batches took of late. */
  outlook(owner: string, name: string, version: number): Outlook;
  /** Reads a picture's header and decodes it, in a worker; `invalid_argument` says what is wrong with it. */
  inspect(bytes: Uint8Array, signal: AbortSignal): Promise<PictureInfo>;
  /** Workers that can take a batch. */
  liveWorkers(): number;
  /** Listens for free room and for changes of live workers. Answers the unsubscribe. */
  onRoom(listener: () => void): () => void;
  /** Counts for /metrics. */
  stats(): EngineStats;
  /** Stops taking jobs, waits for running ones up to `graceMs`, ends the workers. */
  close(graceMs: number): Promise<void>;
}

export interface EngineStats {
  readonly workers: number;
  readonly liveWorkers: number;
  readonly queued: number;
  readonly running: number;
  readonly batches: number;
  readonly items: number;
  /** That TF.js holds in all workers between calls. */
  readonly tensors: number;
  readonly workerDeaths: number;
}

export interface ModelRegistry {
  /** All versions, every owner, failed ones included; ordered by owner, name, then version descending. */
  list(): readonly ModelVersion[];
  get(owner: string, name: string, version: number): ModelVersion | undefined;
  /** The highest ready version. */
  latest(owner: string, name: string): ModelVersion | undefined;
  /**
   * Writes the next version's folder (aside, then renamed into place) and resolves when it is ready or failed.
   * Rejects with `invalid_argument` for file names that are not plain.
   */
  publish(args: {
    readonly owner: string;
    readonly name: string;
    readonly files: Readonly<Record<string, Uint8Array>>;
    readonly signal: AbortSignal;
  }): Promise<ModelVersion>;
  /**
   * Takes the version out of service and deletes its folder. False when there is none. Rejects with
   * `permission_denied` for the catalogue's, with `failed_precondition` when it is the backbone of another.
   */
  remove(owner: string, name: string, version: number): Promise<boolean>;
}

export interface EngineOptions {
  /** The server's own models folder, `<owner>/<name>/<version>/`, watched for changes. Created when missing. */
  readonly modelsDir: string;
  /** Read-only folders of the same form beside it (the catalogue's cache). */
  readonly catalogueDirs: readonly string[];
  /** `owner/name` of the models there that are served; undefined: all. */
  readonly catalogueModels?: ReadonlySet<string> | undefined;
  readonly workers: number;
  /** That a model runs on in each worker, where its runtime has threads. */
  readonly threads: number;
  /** Pins the runtime for every model; undefined: best first. */
  readonly runtime: string | undefined;
  /** Width × height above which a picture is refused from its header. */
  readonly maxPixels: number;
  /** Resident bytes past which a worker is killed and replaced. */
  readonly workerMemoryBytes: number;
  /** A batch that runs longer is killed with its worker. */
  readonly batchTimeoutMs: number;
  /** A version that takes longer to load and warm up is marked failed. */
  readonly loadTimeoutMs: number;
  /** Overrides every model's batch maximum when given (1 switches batching off). */
  readonly batchMax: number | undefined;
  /** How long a batch that is not full waits for more, for models that do not say. 0: not at all. */
  readonly batchDelayMs: number;
  /** Other times than AHEAD_MS; for tests, which cannot know how fast their machine is. */
  readonly aheadMs?: AheadMs | undefined;
  readonly log: EngineLog;
}

export interface EngineLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}
