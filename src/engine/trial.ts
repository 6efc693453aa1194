/**
 * Where a version is loaded for the first time: in a worker of its own, which takes no batches. A version that
 * crashes, hangs or outgrows its memory there harms nobody. In between, the worker looks into pictures, which so
 * need not wait for a batch to end.
 *
 * Before the engine opens there is nobody to harm and only the start to be over with. The worker then keeps what it
 * loads and at the end becomes the pool's first one, so that a start loads every model once before it is ready.
 */
import { orAbort } from "./or-abort.ts";
import type { LoadedVersion, LoadRequest } from "./protocol.ts";
import type { Incumbent } from "./worker-pool.ts";
import type { Death, WorkerProcess } from "./worker-process.ts";

export class Trial {
  readonly #start: () => WorkerProcess;
  readonly #loadTimeoutMs: number;
  #worker: WorkerProcess;
  #last: Promise<unknown> = Promise.resolve();
  #loading = false;
  #deaths = 0;
  #closed = false;
  /** What the worker keeps; undefined once the engine has opened. */
  #kept: Set<string> | undefined = new Set();
  /**
   * The last version with a backbone that was loaded: it stays until the next one is, and with it the backbone, which
   * takes some ten times as long to load as what stands on it.
   */
  #lastHead = "";

  constructor(start: () => WorkerProcess, loadTimeoutMs: number) {
    this.#start = start;
    this.#loadTimeoutMs = loadTimeoutMs;
    this.#worker = start();
  }

  get tensors(): number {
    return this.#worker.tensors;
  }

  get deaths(): number {
    return this.#deaths;
  }

  /** Whether a call would have to wait for a model to load. */
  get loading(): boolean {
    return this.#loading;
  }

  /** Loads a version and forgets it (not before the hand-over), one at a time. Rejects with why it cannot serve. */
  load(request: LoadRequest, signal: AbortSignal): Promise<LoadedVersion> {
    const mine = this.#last.then(() => this.#load(request, signal));
    this.#last = mine.catch(() => undefined);
    return orAbort(mine, signal);
  }

  /** The worker, replaced if it has died. */
  living(): WorkerProcess {
    if (this.#worker.death && !this.#closed) {
      this.#deaths += 1;
      this.#startAnew();
    }
    return this.#worker;
  }

  /** Gives the worker away with all that it has loaded, and goes on with another one. Once, when the engine opens. */
  handOver(): Incumbent {
    const incumbent = { worker: this.living(), holds: [...(this.#kept ?? [])] };
    this.#kept = undefined;
    this.#startAnew();
    return incumbent;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#worker.kill({ kind: "closed" });
    await this.#worker.gone;
  }

  /** What a model that failed has left behind, in the memory that all share, is not to fail the next one. */
  #replace(worker: WorkerProcess): void {
    if (worker.death || worker !== this.#worker || this.#closed) return;
    worker.kill({ kind: "abandoned" });
    this.#startAnew();
  }

  #startAnew(): void {
    this.#kept?.clear();
    this.#lastHead = "";
    this.#worker = this.#start();
  }

  async #unload(worker: WorkerProcess, { key, backbone }: LoadRequest): Promise<void> {
    const past = backbone ? this.#lastHead : key;
    if (backbone) this.#lastHead = key;
    if (past !== "" && past !== this.#lastHead)
      await worker.call("unload", { key: past }, this.#loadTimeoutMs);
  }

  async #load(request: LoadRequest, signal: AbortSignal): Promise<LoadedVersion> {
    signal.throwIfAborted();
    const worker = this.living();
    this.#loading = true;
    // A load cannot be stopped but with its worker.
    const stop = (): void => worker.kill({ kind: "abandoned" });
    signal.addEventListener("abort", stop, { once: true });
    // Its start counts, too: it may be the one that hangs.
    const late: Death = { kind: "timeout", afterMs: this.#loadTimeoutMs };
    const timer = setTimeout(() => worker.kill(late), this.#loadTimeoutMs);
    try {
      await worker.up;
      const loaded = await worker.call("load", request, this.#loadTimeoutMs);
      if (this.#kept) this.#kept.add(request.key);
      else await this.#unload(worker, request);
      return loaded;
    } catch (error) {
      this.#replace(worker);
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      this.#loading = false;
    }
  }
}
