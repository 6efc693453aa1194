/**
 * Keeps a number of workers alive, each with every served version loaded, and lets the free ones take batches.
 *
 * Each worker's place in the pool has one loop: bring the loaded versions in line with the served ones, then take
 * a batch, or sleep until there is something to do. A worker with a short batch is given the next one of that version ahead
 * when as much waits as makes a full one for every worker: it would not go sooner elsewhere, or with more. When the worker dies the loop begins anew with another one,
 * after a pause that doubles while workers do not live long. A new worker takes batches once it has loaded
 * everything.
 */
import { setTimeout as delay } from "node:timers/promises";
import { AuspexError } from "../domain/error.ts";
import { type AheadMs, BATCHES_MAX, mayGoAhead } from "./ahead.ts";
import type { Batch, Batcher, Limits, LimitsOf } from "./batcher.ts";
import type { EngineLog } from "./engine.ts";
import type { LoadedVersion, LoadRequest } from "./protocol.ts";
import type { Ticket } from "./ticket.ts";
import { deathText, WorkerDied, type WorkerProcess } from "./worker-process.ts";

/** A worker that is at work already, and the versions that it has loaded. */
export interface Incumbent {
  readonly worker: WorkerProcess;
  readonly holds: readonly string[];
}

/** A version that the engine serves. */
export interface Served {
  readonly key: string;
  readonly request: LoadRequest;
  readonly loaded: LoadedVersion;
  readonly limits: Limits;
}

export interface WorkerPoolOptions {
  readonly workers: number;
  readonly start: () => WorkerProcess;
  readonly batcher: Batcher<Ticket>;
  /** Runs a batch in a worker, behind those that it has; resolves at the end, be it the worker's. */
  readonly run: (worker: WorkerProcess, batch: Batch<Ticket>, served: Served) => Promise<void>;
  /** Milliseconds that a batch of the version takes; undefined when that is not known. */
  readonly batchMs: (key: string) => number | undefined;
  readonly aheadMs: AheadMs | undefined;
  readonly loadTimeoutMs: number;
  /** Told what a worker found that loaded a version after its trial. */
  readonly onLoaded: (key: string, loaded: LoadedVersion) => void;
  /** Told when live workers, or what they are busy with, changed. */
  readonly onChange: () => void;
  readonly log: EngineLog;
}

/** A worker that lived this long was no part of a crash loop. */
const LONG_LIFE_MS = 10_000;
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 10_000;

/** A version that passed its trial and then kills workers that load it is given up after so many. */
const LOAD_DEATHS_MAX = 3;

interface Slot {
  worker: WorkerProcess | undefined;
  live: boolean;
  loading: boolean;
  work: Work;
  /** Loaded in the present worker. */
  readonly holds: Set<string>;
  /** Not loadable in the present worker. */
  readonly refused: Set<string>;
  wake: () => void;
}

/** What one worker has been given. */
interface Work {
  /** That it has not answered. */
  batches: number;
  /** The version of the last one. */
  key: string;
  /** Whether that was an item that must run alone. */
  isAlone: boolean;
}

const noWork = (): Work => ({ batches: 0, key: "", isAlone: false });

/** A served version and where its loading stands. */
interface Adoption {
  readonly served: Served;
  readonly adopted: PromiseWithResolvers<void>;
  loadDeaths: number;
  /** Why it could not be loaded the last time; "" when it could. */
  fault: string;
}

type Step =
  | { readonly kind: "unload"; readonly key: string }
  | { readonly kind: "load"; readonly adoption: Adoption };

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #slots: readonly Slot[];
  readonly #adoptions = new Map<string, Adoption>();
  readonly #closing = new AbortController();
  #loops: readonly Promise<void>[] = [];
  #deaths = 0;
  #loading = 0;
  #waking = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.workers }, () => ({
      worker: undefined,
      live: false,
      loading: false,
      work: noWork(),
      holds: new Set<string>(),
      refused: new Set<string>(),
      wake: () => undefined,
    }));
  }

  /** Begins to keep workers, the given one among them. */
  open(first: Incumbent): void {
    this.#loops = this.#slots.map((slot, index) => this.#keep(slot, index === 0 ? first : undefined));
  }

  live(): number {
    // A dead worker is none from the moment it is known, not from when its loop has noticed.
    return this.#slots.filter((slot) => slot.live && !slot.worker?.death).length;
  }

  get tensors(): number {
    return this.#slots.reduce((sum, { worker }) => sum + (worker?.tensors ?? 0), 0);
  }

  get deaths(): number {
    return this.#deaths;
  }

  /** Has the workers load a version; resolves once every live one has, rejects when none can. */
  add(served: Served): Promise<void> {
    const adopted = Promise.withResolvers<void>();
    adopted.promise.catch(() => undefined);
    this.#adoptions.set(served.key, { served, adopted, loadDeaths: 0, fault: "" });
    this.wake();
    return adopted.promise;
  }

  /** Has the workers forget a version. Its queued items are the caller's to take out. */
  drop(key: string): void {
    this.#adoptions.get(key)?.adopted.reject(new Error("the version was taken out of service"));
    this.#adoptions.delete(key);
    this.wake();
  }

  /** Why no worker can run the version, now or soon; "" when one can. */
  fault(key: string): string {
    const adoption = this.#adoptions.get(key);
    if (!adoption || adoption.fault === "") return "";
    const live = this.#slots.filter((slot) => slot.live);
    const isRefused = live.length > 0 && live.every((slot) => slot.refused.has(key));
    return isRefused || adoption.loadDeaths >= LOAD_DEATHS_MAX ? adoption.fault : "";
  }

  /** There is something to do. In the next turn of the event loop, so that all that arrives in this one goes together. */
  wake(): void {
    if (this.#waking) return;
    this.#waking = true;
    setImmediate(() => {
      this.#waking = false;
      this.#wakeAll();
    });
  }

  /**
   * An item of the version joined the queue. Once as many wait as all free workers can take they go at once: callers
   * on one connection come in one turn by the dozen, and a worker is then done with the first before the last is read.
   */
  queued(key: string): void {
    const { batcher } = this.#options;
    const maximum = this.#adoptions.get(key)?.served.limits.maximum ?? 1;
    const free = this.#slots.filter((slot) => isFree(slot) && slot.holds.has(key)).length;
    if (free > 0 && batcher.waiting(key).weight >= maximum * free) this.#wakeAll();
    else this.wake();
  }

  #wakeAll(): void {
    for (const slot of this.#slots) slot.wake();
  }

  /** A worker that answers soon: an idle one if there is one. */
  responsive(): WorkerProcess | undefined {
    const live = this.#slots.filter((slot) => slot.live);
    return (live.find(isFree) ?? live[0])?.worker;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const slot of this.#slots) slot.worker?.kill({ kind: "closed" });
    this.wake();
    await Promise.all(this.#loops);
  }

  async #keep(slot: Slot, first?: Incumbent): Promise<void> {
    let shortLives = 0;
    let incumbent = first;
    while (!this.#closing.signal.aborted) {
      const worker = incumbent?.worker ?? this.#options.start();
      const startedAt = performance.now();
      slot.worker = worker;
      slot.holds.clear();
      for (const key of incumbent?.holds ?? []) slot.holds.add(key);
      incumbent = undefined;
      slot.refused.clear();
      slot.work = noWork();
      void worker.gone.then(() => slot.wake());
      try {
        await worker.up;
        await this.#serve(slot, worker);
      } catch (error) {
        if (!(error instanceof WorkerDied)) this.#giveUp(worker, error);
      }
      slot.live = false;
      const death = await worker.gone;
      if (this.#closing.signal.aborted) return;
      this.#deaths += 1;
      this.#settleAdoptions();
      this.#options.onChange();
      shortLives = performance.now() - startedAt < LONG_LIFE_MS ? shortLives + 1 : 0;
      // One short life is an accident; from the second on there may be a loop.
      const pauseMs = shortLives < 2 ? 0 : Math.min(BACKOFF_FIRST_MS * 2 ** (shortLives - 2), BACKOFF_MAX_MS);
      this.#options.log.warn({ worker: worker.pid, pauseMs }, `${deathText(death)}; starting another`);
      await delay(pauseMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  /** Ends by throwing WorkerDied. */
  async #serve(slot: Slot, worker: WorkerProcess): Promise<never> {
    const { batcher, onChange } = this.#options;
    for (;;) {
      if (worker.death) throw new WorkerDied(worker.death);
      if (slot.work.batches === 0 && (await this.#reconcile(slot, worker))) continue;
      // Nothing is awaited from here to the sleep, so no wake is missed.
      if (worker.death) throw new WorkerDied(worker.death);
      if (!slot.live) {
        slot.live = true;
        this.#settleAdoptions();
        onChange();
      }
      const limitsOf: LimitsOf = (key) =>
        slot.holds.has(key) ? this.#adoptions.get(key)?.served.limits : undefined;
      const batch = this.#take(slot, limitsOf);
      const served = batch && this.#adoptions.get(batch.key)?.served;
      if (served) void this.#run(slot, worker, batch, served);
      else await sleep(slot, slot.work.batches === 0 ? batcher.dueIn(limitsOf) : undefined);
    }
  }

  /** The next batch for the worker; undefined when there is none that it may have now. */
  #take(slot: Slot, limitsOf: LimitsOf): Batch<Ticket> | undefined {
    const { batcher } = this.#options;
    if (slot.work.batches === 0) return batcher.take(limitsOf, this.#slots.filter(isFree).length);
    // What it has to load or to unload has its turn once it is done with what it has.
    if (slot.work.batches >= BATCHES_MAX || this.#nextStep(slot)) return undefined;
    const key = batcher.turn(limitsOf);
    return key !== undefined && this.#mayGoAhead(key, slot) ? batcher.take(limitsOf) : undefined;
  }

  #mayGoAhead(key: string, { work }: Slot): boolean {
    const { batcher, batchMs, aheadMs } = this.#options;
    // How long what it has takes is known of its own kind; and a suspect is alone with a worker.
    if (work.key !== key || work.isAlone) return false;
    if (!mayGoAhead(batchMs(key), aheadMs)) return false;
    const maximum = this.#adoptions.get(key)?.served.limits.maximum ?? 1;
    const holders = this.#slots.filter((slot) => slot.live && slot.holds.has(key));
    const { alone, weight } = batcher.waiting(key);
    return alone === 0 && !holders.some(isFree) && weight >= maximum * holders.length;
  }

  async #run(slot: Slot, worker: WorkerProcess, batch: Batch<Ticket>, served: Served): Promise<void> {
    const { work } = slot;
    work.batches += 1;
    work.key = batch.key;
    work.isAlone = batch.items.some(({ alone }) => alone);
    try {
      await this.#options.run(worker, batch, served);
    } catch (error) {
      this.#giveUp(worker, error);
    }
    work.batches -= 1;
    this.#options.onChange();
    slot.wake();
  }

  #giveUp(worker: WorkerProcess, error: unknown): void {
    this.#options.log.error({ err: error }, "a worker's loop failed");
    worker.kill({ kind: "crash", detail: "its loop failed" });
  }

  /** One step towards having loaded what is served; false when nothing is to be done now. */
  async #reconcile(slot: Slot, worker: WorkerProcess): Promise<boolean> {
    const step = this.#nextStep(slot);
    switch (step?.kind) {
      case "unload":
        slot.holds.delete(step.key);
        await worker.call("unload", { key: step.key }, this.#options.loadTimeoutMs);
        return true;
      case "load":
        await this.#load(slot, worker, step.adoption);
        return true;
      case undefined:
        return false;
      default:
        return step satisfies never;
    }
  }

  #nextStep(slot: Slot): Step | undefined {
    for (const key of slot.holds) if (!this.#adoptions.has(key)) return { kind: "unload", key };
    for (const [key, adoption] of this.#adoptions) {
      if (slot.holds.has(key) || slot.refused.has(key) || adoption.loadDeaths >= LOAD_DEATHS_MAX) continue;
      // While there is work, one worker loads at a time and the others serve.
      const mayLoad = !slot.live || this.#loading === 0 || this.#options.batcher.size === 0;
      return mayLoad ? { kind: "load", adoption } : undefined;
    }
    return undefined;
  }

  async #load(slot: Slot, worker: WorkerProcess, adoption: Adoption): Promise<void> {
    const { served } = adoption;
    this.#loading += 1;
    slot.loading = true;
    try {
      const loaded = await worker.call("load", served.request, this.#options.loadTimeoutMs);
      slot.holds.add(served.key);
      this.#options.onLoaded(served.key, loaded);
      adoption.loadDeaths = 0;
      adoption.fault = "";
    } catch (error) {
      adoption.fault = error instanceof Error ? error.message : String(error);
      this.#options.log.warn(
        { model: served.key, reason: adoption.fault },
        "a worker could not load a version",
      );
      if (error instanceof WorkerDied) {
        adoption.loadDeaths += 1;
        throw error;
      }
      slot.refused.add(served.key);
    } finally {
      slot.loading = false;
      this.#loading -= 1;
      this.#settleAdoptions();
      this.wake();
    }
  }

  /** Tells those who wait for a version, and fails what is queued for one that nobody can run. */
  #settleAdoptions(): void {
    const live = this.#slots.filter((slot) => slot.live);
    for (const [key, { adopted, fault, loadDeaths }] of this.#adoptions) {
      const isGivenUp = loadDeaths >= LOAD_DEATHS_MAX;
      const isTried = (slot: Slot): boolean => isGivenUp || slot.holds.has(key) || slot.refused.has(key);
      if (live.length === 0 || !live.every(isTried)) continue;
      if (live.some((slot) => slot.holds.has(key))) {
        adopted.resolve();
        continue;
      }
      adopted.reject(new Error(fault));
      for (const ticket of this.#options.batcher.drain(key)) {
        ticket.fail(new AuspexError("unavailable", `no worker could load the model: ${fault}`));
      }
    }
  }
}

function isFree({ live, loading, work }: Slot): boolean {
  return live && !loading && work.batches === 0;
}

/** Until it is woken, or for so many milliseconds. */
function sleep(slot: Slot, forMs: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    slot.wake = resolve;
    if (forMs === undefined) return;
    const timer = setTimeout(resolve, Math.max(1, Math.ceil(forMs)));
    slot.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}
