/**
 * The trainer's process: one worker at the system's lowest priority, started when it is first asked for, ended when
 * nobody has asked for a while, replaced when it dies. What is asked of it is done in turns, so that a death is the
 * doing of the one whose turn it was, or had been just before.
 */
import { AuspexError } from "../domain/error.ts";
import type { EngineLog } from "./engine.ts";
import { orAbort } from "./or-abort.ts";
import type { FitPiece, FitPlan, LoadRequest, Outcome } from "./protocol.ts";
import type { Embedded, Extractor, FitRequest, FitStep, Trainer } from "./trainer.ts";
import { deathText, WorkerDied, type WorkerProcess } from "./worker-process.ts";

export interface TrainerOptions {
  /** A worker with the lowest priority and one thread. */
  readonly start: () => WorkerProcess;
  /** How a ready version is loaded; undefined when there is none. */
  readonly find: (key: string) => LoadRequest | undefined;
  /** Resident bytes past which the worker is killed. */
  readonly memoryBytes: number;
  readonly loadTimeoutMs: number;
  /** Of a worker that serves, as is the one above; for everything but loading. */
  readonly callTimeoutMs: number;
  /** How long the process stays when nobody asks anything of it. */
  readonly idleMs: number;
  readonly log: EngineLog;
}

export interface RunningTrainer extends Trainer {
  /** Processes that ended without being told to. */
  readonly deaths: number;
  /** That its worker holds now. */
  readonly tensors: number;
  close(): Promise<void>;
}

/** Milliseconds of one turn of a fit: others wait for so long, and a canceled fit ends so soon. */
const FIT_TURN_MS = 200;

/** Bytes of examples in one message. */
const PIECE_BYTES = 8 * 1024 ** 2;

/** What the examples of a fit may take of the worker's memory: the rest is its runtimes' and the mini-batches'. */
const EXAMPLES_SHARE = 0.5;

/** A turn in which the worker dies is tried once more. */
const ATTEMPTS_MAX = 2;

/**
 * A call may take so many times as long as one of a worker that serves: beside busy workers, the lowest priority is
 * some 3 % of a core.
 */
const PATIENCE = 10;

export function createTrainer(options: TrainerOptions): RunningTrainer {
  return new TrainerProcess(options);
}

class TrainerProcess implements RunningTrainer {
  readonly #options: TrainerOptions;
  readonly #closing = new AbortController();
  #worker: WorkerProcess | undefined;
  /** The extractor that the worker has loaded. */
  #loaded = "";
  #last: Promise<unknown> = Promise.resolve();
  #turns = 0;
  /** Who had the last turn. */
  #lastOwner: object | undefined;
  #fits = 0;
  #deaths = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: TrainerOptions) {
    this.#options = options;
  }

  get tensors(): number {
    return this.#worker?.tensors ?? 0;
  }

  get deaths(): number {
    return this.#deaths;
  }

  async embed(
    extractor: Extractor,
    images: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<readonly Embedded[]> {
    const request = this.#requestOf(extractor);
    const embed = (some: readonly Uint8Array[]): Promise<readonly Embedded[]> =>
      this.#inTurn(() => this.#embed(request, some), signal, request);
    try {
      return await embed(images);
    } catch (error) {
      if (!(error instanceof WorkerDied)) throw error;
    }
    // One of them may have done it: alone, each gets its own outcome.
    const outcomes: Embedded[] = [];
    let deaths = 0;
    for (const image of images) {
      try {
        outcomes.push(...(await embed([image])));
      } catch (error) {
        if (!(error instanceof WorkerDied)) throw error;
        deaths += 1;
        outcomes.push({ ok: false, reason: `while it was looked at, ${error.message}` });
        // Whatever kills it with every picture is not the pictures.
        if (deaths > 1 && deaths === images.length) throw diedTwice(error);
      }
    }
    return outcomes;
  }

  async *fit(request: FitRequest, signal: AbortSignal): AsyncGenerator<FitStep> {
    this.#requestOf(request.extractor);
    checkSize(request, this.#options.memoryBytes * EXAMPLES_SHARE);
    let { checkpoint } = request;
    let epochs = 0;
    for (let attempt = 1; ; ) {
      const fit = new OpenFit(request, ++this.#fits, this.#options.callTimeoutMs * PATIENCE);
      try {
        for (;;) {
          const steps = await this.#inTurn(
            (last) => fit.go(this.#living(), checkpoint, last === fit),
            signal,
            fit,
          );
          for (const step of steps) {
            checkpoint = step.checkpoint ?? checkpoint;
            // What another process has said already comes again when this one goes on from before it.
            if (step.epoch > epochs) yield step;
            epochs = Math.max(epochs, step.epoch);
            if (step.done) return;
          }
        }
      } catch (error) {
        if (!(error instanceof WorkerDied)) throw error;
        if (attempt === ATTEMPTS_MAX) throw diedTwice(error);
        attempt += 1;
      } finally {
        fit.close();
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new AuspexError("unavailable", "the server is shutting down"));
    clearTimeout(this.#idle);
    this.#worker?.kill({ kind: "closed" });
    await this.#worker?.gone;
  }

  #requestOf({ owner, name, version }: Extractor): LoadRequest {
    const key = `${owner}/${name}:${version}`;
    const request = this.#options.find(key);
    if (!request) throw new AuspexError("not_found", `the model version ${key} is not ready`);
    if (request.manifest.embedding === null) {
      throw new AuspexError("failed_precondition", `the auspex.json of ${key} names no embedding`);
    }
    return request;
  }

  async #embed(request: LoadRequest, images: readonly Uint8Array[]): Promise<readonly Embedded[]> {
    await this.#load(request);
    const timeoutMs = this.#options.callTimeoutMs * PATIENCE;
    const outcomes = await this.#living().call("embed", { key: request.key, images }, timeoutMs);
    return outcomes.map(embeddedOf);
  }

  /** Tries twice: a death while a version is loaded is nothing that a picture has done. */
  async #load(request: LoadRequest): Promise<void> {
    const timeoutMs = this.#options.loadTimeoutMs * PATIENCE;
    for (let attempt = 1; ; attempt++) {
      const worker = this.#living();
      if (this.#loaded === request.key) return;
      try {
        if (this.#loaded !== "") await worker.call("unload", { key: this.#loaded }, timeoutMs);
        this.#loaded = "";
        await worker.call("load", request, timeoutMs);
        this.#loaded = request.key;
        return;
      } catch (error) {
        if (!(error instanceof WorkerDied)) throw error;
        if (attempt === ATTEMPTS_MAX) throw diedTwice(error);
      }
    }
  }

  /**
   * Rejects with `canceled` at once when the signal says so; the turn itself goes on to its end.
   * @param work is told who had the turn before
   */
  #inTurn<T>(work: (last: object | undefined) => Promise<T>, signal: AbortSignal, owner: object): Promise<T> {
    const ends = AbortSignal.any([signal, this.#closing.signal]);
    this.#turns += 1;
    clearTimeout(this.#idle);
    const mine = this.#last.then(() => {
      ends.throwIfAborted();
      const last = this.#lastOwner;
      this.#lastOwner = owner;
      return work(last);
    });
    this.#last = mine
      .catch(() => undefined)
      .then(() => {
        this.#turns -= 1;
        if (this.#turns === 0) this.#endWhenIdle();
      });
    return orAbort(mine, ends).catch((error: unknown) => {
      this.#closing.signal.throwIfAborted();
      if (signal.aborted) throw new AuspexError("canceled", "the caller went away", { cause: error });
      throw error;
    });
  }

  #endWhenIdle(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#worker?.kill({ kind: "closed" }), this.#options.idleMs);
    this.#idle.unref();
  }

  #living(): WorkerProcess {
    if (this.#worker && !this.#worker.death) return this.#worker;
    const worker = this.#options.start();
    this.#worker = worker;
    this.#loaded = "";
    void worker.gone.then((death) => {
      if (death.kind === "closed") return;
      this.#deaths += 1;
      this.#options.log.warn({ worker: worker.pid }, `the trainer: ${deathText(death)}`);
    });
    return worker;
  }
}

/** A fit in the process that it was opened in; in another one it is opened anew. */
class OpenFit {
  readonly #request: FitRequest;
  readonly #id: number;
  readonly #timeoutMs: number;
  #worker: WorkerProcess | undefined;

  constructor(request: FitRequest, id: number, timeoutMs: number) {
    this.#request = request;
    this.#id = id;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * One turn.
   * @param isAgain nobody else had one since the last
   */
  async go(
    worker: WorkerProcess,
    checkpoint: Uint8Array | null,
    isAgain: boolean,
  ): Promise<readonly FitStep[]> {
    const death = this.#worker?.death;
    // It may have died right after its answer, of what it had just done, and not have been ended for idling.
    if (isAgain && death && death.kind !== "closed") throw new WorkerDied(death);
    if (this.#worker !== worker) await this.#open(worker);
    return worker.call("fitRun", { id: this.#id, checkpoint, forMs: FIT_TURN_MS }, this.#timeoutMs);
  }

  close(): void {
    if (this.#worker && !this.#worker.death) {
      this.#worker.call("fitClose", { id: this.#id }, this.#timeoutMs).catch(() => undefined);
    }
  }

  async #open(worker: WorkerProcess): Promise<void> {
    await worker.call("fitOpen", planOf(this.#request, this.#id), this.#timeoutMs);
    this.#worker = worker;
    for (const piece of piecesOf(this.#request, this.#id)) {
      await worker.call("fitExamples", piece, this.#timeoutMs);
    }
  }
}

function planOf(request: FitRequest, id: number): FitPlan {
  const { activation, labels, width, epochs, learningRate, seed } = request;
  return {
    id,
    activation,
    labels,
    width,
    epochs,
    learningRate,
    seed,
    trainRows: request.train.embeddings.length / width,
    testRows: request.test.embeddings.length / width,
  };
}

function* piecesOf(request: FitRequest, id: number): Generator<FitPiece> {
  const { width, labels } = request;
  const rows = Math.max(1, Math.floor(PIECE_BYTES / (width * Float32Array.BYTES_PER_ELEMENT)));
  for (const part of ["train", "test"] as const) {
    const { embeddings, targets } = request[part];
    for (let first = 0; first * width < embeddings.length; first += rows) {
      yield {
        id,
        part,
        embeddings: embeddings.subarray(first * width, (first + rows) * width),
        targets: targets.subarray(first * labels.length, (first + rows) * labels.length),
      };
    }
  }
}

/** @throws AuspexError `resource_exhausted` */
function checkSize({ train, test }: FitRequest, bytesMax: number): void {
  const bytes = [train, test].reduce(
    (sum, { embeddings, targets }) => sum + embeddings.byteLength + targets.byteLength,
    0,
  );
  if (bytes > bytesMax) {
    throw new AuspexError(
      "resource_exhausted",
      `the examples take ${mebibytes(bytes)} MiB of memory; at most ${mebibytes(bytesMax)} MiB are allowed`,
    );
  }
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 1024 ** 2);
}

function embeddedOf(outcome: Outcome<Float32Array>): Embedded {
  return outcome.ok ? { ok: true, embedding: outcome.value } : { ok: false, reason: outcome.error.message };
}

function diedTwice(cause: WorkerDied): AuspexError {
  return new AuspexError("internal", `the trainer died twice; the last time, ${cause.message}`, { cause });
}
