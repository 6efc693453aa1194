/** Joins the engine's parts: registry, trial worker, worker pool and batcher. */
import { AuspexError } from "../domain/error.ts";
import { FleetingSet } from "../domain/fleeting.ts";
import { runBatch } from "./batch-run.ts";
import { type Batch, Batcher } from "./batcher.ts";
import { createTrainer, type RunningTrainer } from "./create-trainer.ts";
import type { Engine, EngineOptions, EngineStats, Job, JobResult, PictureInfo } from "./engine.ts";
import {
  createModelRegistry,
  type FoundFiles,
  type FoundVersion,
  LOADS_AT_ONCE,
  type RunningModelRegistry,
} from "./model-registry.ts";
import { orAbort } from "./or-abort.ts";
import { type Outlook, Pace } from "./pace.ts";
import type { LoadedVersion, ModelSource, WorkerSettings } from "./protocol.ts";
import { type TaskInput, taskInput } from "./task-input.ts";
import { runTextParts, textParts } from "./text-parts.ts";
import { type Holder, Ticket } from "./ticket.ts";
import { Trial } from "./trial.ts";
import { type Served, WorkerPool } from "./worker-pool.ts";
import { startWorkerProcess, WorkerDied, type WorkerProcess } from "./worker-process.ts";

/**
 * Jobs per live worker that `room` asks for: two batches of the common maximum of 32, so that a worker finds the
 * next one waiting when it is done.
 */
const ROOM_PER_WORKER = 64;

/** Unfinished jobs past which `run` refuses: nobody who looks at `room` comes near. */
const JOBS_MAX = 16_384;

/** Leaves half to jobs that were on their way when room was asked for. */
const ROOM_MAX = JOBS_MAX / 2;

/** The lowest priority that there is: training takes the time that predictions leave. */
const TRAINER_NICENESS = 19;

/** Long enough to span the pauses within a training; then its memory, some 200 MB, is given back. */
const TRAINER_IDLE_MS = 60_000;

/**
 * Resolves when every version that is found at start is ready or failed and one worker can run them all. The other
 * workers come up behind it.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const core = new EngineCore(options);
  try {
    const models = await createModelRegistry({
      modelsDir: options.modelsDir,
      catalogueDirs: options.catalogueDirs,
      catalogueModels: options.catalogueModels,
      load: (found, signal) => core.load(found, signal),
      unload: async (owner, name, version) => core.unload(keyOf(owner, name, version)),
      // Versions are tried one after the other, and the one before may take all of its time.
      loadTimeoutMs: LOADS_AT_ONCE * options.loadTimeoutMs,
      log: options.log,
    });
    core.onLoaded = (key, loaded) => models.reloaded(key, loaded);
    await core.open();
    return engineOf(core, models);
  } catch (error) {
    await core.close();
    throw error;
  }
}

function engineOf(core: EngineCore, models: RunningModelRegistry): Engine {
  return {
    models,
    trainer: core.trainer,
    run: (job) => core.run(job),
    room: () => core.room(),
    outlook: (owner, name, version) => core.outlook(keyOf(owner, name, version)),
    inspect: (bytes, signal) => core.inspect(bytes, signal),
    liveWorkers: () => core.stats().liveWorkers,
    onRoom: (listener) => core.onRoom(listener),
    stats: () => core.stats(),
    async close(graceMs) {
      await core.drain(graceMs);
      await Promise.all([models.close(), core.close()]);
    },
  };
}

function keyOf(owner: string, name: string, version: number): string {
  return `${owner}/${name}:${version}`;
}

function sourceOf({ owner, name, version, folder, manifest, digest }: FoundFiles): ModelSource {
  return { key: keyOf(owner, name, version), folder, manifest, digest };
}

class EngineCore {
  readonly #options: EngineOptions;
  readonly #batcher = new Batcher<Ticket>();
  readonly #pace = new Pace();
  readonly #served = new Map<string, Served>();
  /** What a worker that loaded a version found last; perhaps another runtime than its trial. */
  readonly #found = new Map<string, LoadedVersion>();
  readonly #tickets = new FleetingSet<Ticket>();
  readonly #listeners = new Set<() => void>();
  readonly #pool: WorkerPool;
  readonly #trial: Trial;
  readonly trainer: RunningTrainer;
  /** Told when a worker has loaded a version that was ready before. */
  onLoaded: (key: string, loaded: LoadedVersion) => void = () => undefined;
  readonly #queue: Holder = { letGo: (ticket) => void this.#batcher.remove(ticket) };
  /** The line of pictures that were in a worker when it died. */
  #suspects: Promise<unknown> = Promise.resolve();
  #isOpen = false;
  #closing = false;
  #announced = false;
  #batches = 0;
  #items = 0;

  constructor(options: EngineOptions) {
    this.#options = options;
    const { log, loadTimeoutMs } = options;
    const settings: WorkerSettings = {
      runtime: options.runtime ?? null,
      threads: options.threads,
      maxPixels: options.maxPixels,
      memoryBytes: options.workerMemoryBytes,
    };
    const start = (): WorkerProcess => startWorkerProcess(settings, log);
    this.trainer = createTrainer({
      start: () => startWorkerProcess({ ...settings, threads: 1 }, log, TRAINER_NICENESS),
      find: (key) => this.#served.get(key)?.request,
      memoryBytes: options.workerMemoryBytes,
      loadTimeoutMs,
      callTimeoutMs: options.batchTimeoutMs,
      idleMs: TRAINER_IDLE_MS,
      log,
    });
    this.#trial = new Trial(start, loadTimeoutMs);
    this.#pool = new WorkerPool({
      workers: options.workers,
      start,
      batcher: this.#batcher,
      run: (worker, batch, served) => this.#runBatch(worker, batch, served),
      batchMs: (key) => this.#pace.batchMs(key),
      aheadMs: options.aheadMs,
      loadTimeoutMs,
      onLoaded: (key, loaded) => {
        this.#found.set(key, loaded);
        this.onLoaded(key, loaded);
      },
      onChange: () => this.#announce(),
      log,
    });
  }

  /** Resolves when a worker takes batches. */
  async open(): Promise<void> {
    this.#isOpen = true;
    this.#pool.open(this.#trial.handOver());
    while (this.#pool.live() === 0) {
      await new Promise<void>((resolve) => {
        const unsubscribe = this.onRoom(() => {
          unsubscribe();
          resolve();
        });
      });
    }
  }

  async load(found: FoundVersion, signal: AbortSignal): Promise<LoadedVersion> {
    const { manifest } = found;
    const source = sourceOf(found);
    const { key } = source;
    const backbone = found.backbone && sourceOf(found.backbone);
    const loaded = await this.#trial.load({ ...source, backbone, known: null }, signal);
    const request = { ...source, backbone, known: loaded.signature };
    // Texts go to the worker together even where it then runs them one by one.
    const isBatched = loaded.signature.joinable || manifest.text !== null;
    const limits = {
      maximum: isBatched ? (this.#options.batchMax ?? manifest.batchMax) : 1,
      delayMs: manifest.batchDelayMs ?? this.#options.batchDelayMs,
    };
    const served: Served = { key, request, loaded, limits };
    signal.throwIfAborted();
    this.#served.set(key, served);
    const adopted = this.#pool.add(served);
    // Before the pool is open nobody can adopt it; the worker that has just tried it is going to be the first.
    if (this.#isOpen) await orAbort(adopted, signal);
    const { runtime, notes } = this.#found.get(key) ?? loaded;
    return runtime === loaded.runtime ? loaded : { ...loaded, runtime, notes };
  }

  unload(key: string): void {
    if (!this.#served.delete(key)) return;
    this.#found.delete(key);
    this.#pool.drop(key);
    this.#pace.forget(key);
    for (const ticket of this.#batcher.drain(key)) ticket.fail(outOfService(key));
  }

  async run(job: Job): Promise<JobResult> {
    if (this.#closing) throw shuttingDown();
    const key = keyOf(job.owner, job.name, job.version);
    const served = this.#served.get(key);
    if (!served) throw new AuspexError("not_found", `the model version ${key} is not ready`);
    const fault = this.#pool.fault(key);
    if (fault) throw new AuspexError("unavailable", `no worker could load the model: ${fault}`);
    const input = taskInput(job.input, served.request.manifest, served.loaded.signature);
    if (input.kind !== "texts") return this.#runTicket(key, job, input);
    const parts = textParts(input, served.limits.maximum);
    const atOnce = this.#pool.live() + 1;
    return runTextParts(parts, atOnce, job, (part, partJob) => this.#runTicket(key, partJob, part));
  }

  async #runTicket(key: string, job: Job, input: TaskInput): Promise<JobResult> {
    if (this.#tickets.size >= JOBS_MAX) {
      throw new AuspexError("resource_exhausted", `the engine has ${JOBS_MAX} jobs already`);
    }
    const ticket = new Ticket(key, job, input);
    const seat = this.#tickets.add(ticket);
    if (!ticket.settled) this.#enqueue(ticket);
    try {
      return await ticket.result;
    } finally {
      this.#tickets.leave(seat);
      this.#announce();
    }
  }

  room(): number {
    if (this.#closing) return Number.NEGATIVE_INFINITY;
    let largest = 0;
    for (const { limits } of this.#served.values()) largest = Math.max(largest, limits.maximum);
    const perWorker = Math.max(ROOM_PER_WORKER, 2 * largest);
    // With many workers or long batches less than they could take, for `run` must not refuse what was asked for.
    return Math.min(this.#pool.live() * perWorker, ROOM_MAX) - this.#tickets.size;
  }

  outlook(key: string): Outlook {
    const others = this.#batcher
      .keys()
      .flatMap((other) =>
        other === key ? [] : [{ key: other, batches: Math.ceil(this.#batchesOf(other)) }],
      );
    return this.#pace.outlook(key, Math.floor(this.#batchesOf(key)), others, this.#pool.live());
  }

  /** That what waits of a version makes; the last may be a part of one. */
  #batchesOf(key: string): number {
    const { alone, weight } = this.#batcher.waiting(key);
    return alone + weight / (this.#served.get(key)?.limits.maximum ?? 1);
  }

  async inspect(bytes: Uint8Array, signal: AbortSignal): Promise<PictureInfo> {
    try {
      return await this.#inspectOnce(bytes, signal);
    } catch (error) {
      if (!(error instanceof WorkerDied)) throw error;
    }
    // Pictures are looked at side by side, and one of them killed the worker: now each is alone with one.
    const alone = this.#suspects.then(() => this.#inspectOnce(bytes, signal));
    this.#suspects = alone.catch(() => undefined);
    try {
      return await orAbort(alone, signal);
    } catch (error) {
      if (signal.aborted) throw callerGone();
      if (!(error instanceof WorkerDied)) throw error;
      throw new AuspexError("internal", "the worker died twice while looking at this picture", {
        cause: error,
      });
    }
  }

  async #inspectOnce(bytes: Uint8Array, signal: AbortSignal): Promise<PictureInfo> {
    const { loadTimeoutMs, batchTimeoutMs } = this.#options;
    if (signal.aborted) throw callerGone();
    if (this.#closing) throw shuttingDown();
    const worker = (this.#trial.loading ? this.#pool.responsive() : undefined) ?? this.#trial.living();
    try {
      // It may have to wait for a load or a batch, which have limits of their own.
      return await orAbort(worker.call("inspect", { bytes }, loadTimeoutMs + batchTimeoutMs), signal);
    } catch (error) {
      throw signal.aborted ? callerGone() : error;
    }
  }

  onRoom(listener: () => void): () => void {
    // A function of its own, so that one listener given twice is two.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  stats(): EngineStats {
    return {
      workers: this.#options.workers,
      liveWorkers: this.#pool.live(),
      queued: this.#batcher.size,
      running: this.#tickets.size - this.#batcher.size,
      batches: this.#batches,
      items: this.#items,
      tensors: this.#pool.tensors + this.#trial.tensors + this.trainer.tensors,
      workerDeaths: this.#pool.deaths + this.#trial.deaths + this.trainer.deaths,
    };
  }

  /** No new jobs; resolves when the present ones are settled, of themselves or after the grace time. */
  async drain(graceMs: number): Promise<void> {
    this.#closing = true;
    this.#announce();
    const results = this.#tickets.values().map(({ result }) => result);
    const timer = setTimeout(() => {
      for (const ticket of this.#tickets.values()) ticket.fail(shuttingDown());
    }, graceMs);
    await Promise.allSettled(results);
    clearTimeout(timer);
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([this.#pool.close(), this.#trial.close(), this.trainer.close()]);
  }

  #enqueue(ticket: Ticket): void {
    // Its version may have gone while it waited to run again.
    if (!this.#served.has(ticket.key)) {
      ticket.fail(outOfService(ticket.key));
      return;
    }
    ticket.holder = this.#queue;
    this.#batcher.add(ticket);
    this.#pool.queued(ticket.key);
  }

  async #runBatch(worker: WorkerProcess, batch: Batch<Ticket>, { loaded }: Served): Promise<void> {
    const items = batch.items.filter((ticket) => ticket.leaveQueue());
    if (items.length === 0) return;
    this.#batches += 1;
    this.#items += items.length;
    const paced = this.#pace.give(batch.key);
    let hasBegun = false;
    let ran: number | undefined;
    const death = await runBatch(
      worker,
      { ...batch, items },
      {
        signature: loaded.signature,
        timeoutMs: this.#options.batchTimeoutMs,
        turn: {
          onBegin() {
            hasBegun = true;
            paced.begin();
          },
          onEnd(ranMs) {
            ran = ranMs;
          },
        },
      },
    );
    paced.end(ran);
    if (!death) return;
    for (const ticket of items) {
      void ticket.survives(death, hasBegun).then((again) => {
        if (again) this.#enqueue(ticket);
      });
    }
  }

  /** Tells the listeners, once for everything that happens in one go. */
  #announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    queueMicrotask(() => {
      this.#announced = false;
      for (const listener of [...this.#listeners]) listener();
    });
  }
}

function callerGone(): AuspexError {
  return new AuspexError("canceled", "the caller went away");
}

function shuttingDown(): AuspexError {
  return new AuspexError("unavailable", "the server is shutting down");
}

function outOfService(key: string): AuspexError {
  return new AuspexError("not_found", `the model version ${key} was taken out of service`);
}
