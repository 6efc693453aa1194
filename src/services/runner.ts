/**
 * Runs predictions: claims as many as the engine has room for, keeps their leases alive, and sees each to its end.
 *
 * A new one that nothing waits before is written as claimed already (`write`): two writes instead of three. For a create
 * that waits it may even run before it was ever written (`runUnwritten`), with one write. It is then written the moment
 * somebody has to be able to find it: when it is finished, or when the wait runs out.
 */
import { setTimeout as delay } from "node:timers/promises";
import { AuspexError } from "../domain/error.ts";
import { FleetingMap } from "../domain/fleeting.ts";
import type { Image } from "../domain/image.ts";
import { isTerminal, type Lease, leaseToken, type Prediction } from "../domain/prediction.ts";
import type { Claim, InsertResult, NewPrediction } from "../store/store.ts";
import { type AcceptedInput, namesPicture } from "./input.ts";
import { createLeases } from "./leases.ts";
import { ended } from "./outcome.ts";
import { queueFull } from "./queue-full.ts";
import { type RunContext, run } from "./run.ts";
import { createSettlement, type SettlementOptions, type Unsettled } from "./settlement.ts";

/** Predictions taken by one claim: bounds the bytes that cross from the store at once. */
const CLAIM_MAX = 256;
/** Looks for leases that ran out elsewhere at least this often. */
const IDLE_POLL_MS = 1000;
/** And never more often than this. */
const LOOKS_APART_MS = 10;
/**
 * Predictions whose input is being fetched at once. The engine's room does not count them yet, so without a bound of
 * their own slow pictures would let the whole queue be claimed.
 */
export const PREPARING_MAX = 512;

/**
 * Jobs by which the engine may have more than it has room for, so that predictions whose callers wait need not be
 * written before they run: that takes three commits' work instead of one's. Past it the store is the queue. What such
 * a caller sent is in memory until it is answered anyway; a picture that is yet to be fetched is not, and waits for
 * room.
 */
export const UNWRITTEN_MAX = 1024;

export interface RunnerOptions extends RunContext, Omit<SettlementOptions, "store" | "log"> {
  readonly leaseMs: number;
  /** Told when one does not run here any more, settled or not. */
  readonly onLeft: (id: string) => void;
}

/** A prediction that runs before it was written. */
export interface Unwritten {
  /** The finished prediction once it is durable; rejects with `canceled` after `abandon`. */
  readonly settled: Promise<Prediction>;
  /** Makes it durable as it is now, running on; answers it, or undefined when its end is being written already. */
  write(images: readonly Image[]): Promise<Prediction | undefined>;
  /** Nobody waits any more and nothing was written: it never was. */
  abandon(): void;
}

export interface Runner {
  /**
   * Resolves when it has looked for what an earlier process left: from then on what is new may run at once where there
   * was nothing.
   */
  start(): Promise<void>;
  /** Something became pending that was not written here. */
  wake(): void;
  /** Makes a new one durable, terminal or to be run: at once where nothing waits before it, else in its turn. */
  write(next: Omit<NewPrediction, "lease">): Promise<InsertResult>;
  /** Predictions in the store that do not run here yet. */
  stored(): number;
  /** Whether a prediction may run at once without overtaking one that waits in the store. */
  canRunUnwritten(accepted: AcceptedInput): boolean;
  runUnwritten(
    prediction: Prediction,
    accepted: AcceptedInput,
    images: () => Promise<readonly Image[]>,
  ): Unwritten;
  /** Stops a running one; its row is terminal already. */
  abort(id: string): void;
  /** Claims nothing more, and waits for what runs up to `graceMs`. */
  drain(graceMs: number): Promise<void>;
  /** Stops what still runs and gives its leases back. */
  close(): Promise<void>;
}

interface Running extends Unsettled {
  readonly done: Promise<void>;
  /** Its input is there, or is not needed any more; further calls do nothing. */
  readonly prepared: () => void;
}

export function createRunner(options: RunnerOptions): Runner {
  const { input, hints, now, leaseMs, deliveriesFor, log } = options;
  const { store, engine } = input;
  const running = new FleetingMap<string, Running>();
  let closing = false;
  let pulling = false;
  let pulled = Promise.resolve();
  const looked = Promise.withResolvers<void>();
  let preparing = 0;
  /** Of those that run here, the ones that are not in the store. */
  let unwritten = 0;
  /** Something waits in the store, for all that is known. */
  let backlog = true;
  /** While the next claim is under way more may wait than it brings: the last one brought all that it might, or there was none. */
  let more = true;
  let timer: NodeJS.Timeout | undefined;
  let heartbeat: NodeJS.Timeout | undefined;
  let unsubscribe = () => {};

  const { raiseAttempt, settle } = createSettlement({ ...options, store: store.predictions });
  const leases = createLeases({ running, store: store.predictions, now, leaseMs, log });
  /** Unwritten ones take none from those in the store, which would else wait for all of them. */
  const room = () => Math.min(engine.room() + unwritten, PREPARING_MAX - preparing);

  // ---- pulling -----------------------------------------------------------------------------------------------

  function pull(): void {
    if (pulling || closing || !backlog) return;
    pulling = true;
    pulled = claimAll();
  }

  /** Never rejects. */
  async function claimAll(): Promise<void> {
    try {
      for (;;) {
        const limit = Math.min(room(), CLAIM_MAX);
        if (limit <= 0 || closing) {
          more = true;
          break;
        }
        // Cleared before the claim: what becomes pending while it runs sets it again.
        backlog = false;
        // When this thread or the disk stood still for longer than a lease, what runs here must not be claimed as
        // lost. Writes apply in order.
        if (leases.lapsed()) void leases.renew();
        const claims = await store.predictions.claim({ limit, now: now(), leaseExpiresAt: leases.end() });
        more = claims.length === limit;
        if (more) backlog = true;
        for (const claim of claims) begin(claim);
        looked.resolve();
        if (!backlog) break;
      }
    } catch (error) {
      backlog = true;
      log.error({ err: error }, "claiming predictions failed; trying again");
      schedule(IDLE_POLL_MS);
    } finally {
      pulling = false;
      looked.resolve();
    }
    if (!backlog) schedule(await nextClaimIn());
  }

  /** Milliseconds until something can be claimed that nobody tells of: what a lost lease or another process left. */
  async function nextClaimIn(): Promise<number> {
    const at = await store.predictions.nextClaimAt().catch(() => undefined);
    return at === undefined ? IDLE_POLL_MS : Math.min(Math.max((at - now()) / 1000, 0), IDLE_POLL_MS);
  }

  function schedule(ms: number): void {
    if (closing) return;
    clearTimeout(timer);
    timer = setTimeout(() => void look(), Math.max(ms, LOOKS_APART_MS));
  }

  async function look(): Promise<void> {
    const ms = backlog ? 0 : await nextClaimIn();
    if (ms > 0) return schedule(ms);
    backlog = true;
    pull();
  }

  /** A claim that is under way is committed, and what it brings has to end before the engine does. */
  async function stopPulling(): Promise<void> {
    closing = true;
    clearTimeout(timer);
    unsubscribe();
    await pulled;
  }

  // ---- running -----------------------------------------------------------------------------------------------

  function begin({ prediction, lease }: Claim): void {
    leases.took(lease.expiresAt);
    // Its lease was lost without anybody noticing: what it would settle is not taken any more.
    running.get(prediction.id)?.abort.abort();
    hints.emit(prediction.id);
    const deliveries = deliveriesFor(prediction);
    if (deliveries.length > 0) {
      store.deliveries.insert(deliveries).then(options.onDeliveries, (error: unknown) => {
        log.error({ err: error, id: prediction.id }, "a webhook event could not be written");
      });
    }
    const entry = enter(prediction, lease.token, async () => {
      const accepted: AcceptedInput = { payload: prediction.input, picture: null };
      const outcome = await runEntry(entry, accepted);
      if (outcome) await settle(entry, outcome);
    });
  }

  function enter(prediction: Prediction, lease: string | undefined, work: () => Promise<void>): Running {
    const { promise, resolve } = Promise.withResolvers<void>();
    let waiting = true;
    const prepared = () => {
      if (!waiting) return;
      waiting = false;
      preparing -= 1;
      pull();
    };
    const entry: Running = { prediction, lease, abort: new AbortController(), done: promise, prepared };
    preparing += 1;
    running.set(prediction.id, entry);
    // Begun in the next turn, so that the caller has the entry that the work speaks of.
    queueMicrotask(async () => {
      try {
        await work();
      } catch (error) {
        log.error(
          { err: error, id: prediction.id },
          "a prediction could not be settled; its lease will run out",
        );
      } finally {
        // It may have been claimed again meanwhile, and then this is another one's place.
        if (running.get(prediction.id) === entry) {
          running.delete(prediction.id);
          options.onLeft(prediction.id);
        }
        prepared();
        resolve();
      }
    });
    return entry;
  }

  const runEntry = (entry: Running, accepted: AcceptedInput) =>
    run(options, entry.prediction, accepted, {
      signal: entry.abort.signal,
      onPrepared: entry.prepared,
      onWorkerDeath: () => raiseAttempt(entry),
    });

  // ---- writing what is new -----------------------------------------------------------------------------------

  /** Nothing that waits in the store would be overtaken. */
  const isNext = () => !closing && !backlog && !more && preparing < PREPARING_MAX && engine.liveWorkers() > 0;

  function wake(): void {
    backlog = true;
    pull();
  }

  async function write(next: Omit<NewPrediction, "lease">): Promise<InsertResult> {
    const isEnded = isTerminal(next.prediction.status);
    // Whoever is told of its states by webhook is told of each.
    if (!isEnded && next.deliveries.length === 0 && isNext() && room() > 0) return writeStarted(next);
    // From here on it is one that waits; it can be claimed once it is there.
    if (!isEnded) backlog = true;
    const result = await store.predictions.insert({ ...next, lease: null });
    if (!isEnded) wake();
    return result;
  }

  /** Written under a lease of this process, and run once that is committed. */
  function writeStarted(next: Omit<NewPrediction, "lease">): Promise<InsertResult> {
    const { promise, resolve, reject } = Promise.withResolvers<InsertResult>();
    const entry = enter(started(next.prediction, now()), undefined, async () => {
      const inserted = store.predictions.insert({
        ...next,
        prediction: entry.prediction,
        lease: take(entry),
      });
      inserted.then(resolve, reject);
      // What could not be written is its caller's to hear.
      const result = await inserted.catch(() => undefined);
      if (result?.kind !== "inserted" || entry.abort.signal.aborted) return;
      const outcome = await runEntry(entry, { payload: entry.prediction.input, picture: null });
      if (outcome) await settle(entry, outcome);
    });
    return promise;
  }

  /** A lease for what is being written. Writes apply in order, so that a settle that comes after it finds the row. */
  function take(entry: Running): Lease {
    const { id, attempt } = entry.prediction;
    const lease = { token: leaseToken(attempt, `written-${id}`), expiresAt: leases.end() };
    entry.lease = lease.token;
    leases.took(lease.expiresAt);
    return lease;
  }

  // ---- running before writing --------------------------------------------------------------------------------

  function runUnwritten(
    prediction: Prediction,
    accepted: AcceptedInput,
    images: () => Promise<readonly Image[]>,
  ): Unwritten {
    const { promise: settled, resolve, reject } = Promise.withResolvers<Prediction>();
    // Whoever stopped waiting has no use for the rejection.
    settled.catch(() => {});
    let ending = false;
    unwritten += 1;
    const entry = enter(started(prediction, now()), undefined, async () => {
      try {
        const outcome = await runEntry(entry, accepted);
        if (!outcome) throw new AuspexError("canceled", "the caller went away");
        if (entry.lease !== undefined) {
          await settle(entry, outcome);
          return;
        }
        ending = true;
        const next = ended(entry.prediction, outcome, now());
        await store.predictions.insert({
          prediction: next,
          lease: null,
          deliveries: [],
          images: await images(),
        });
        options.onSettled(next);
        resolve(next);
      } catch (error) {
        reject(error);
      } finally {
        if (entry.lease === undefined) unwritten -= 1;
      }
    });
    return {
      settled,
      async write(stored) {
        if (ending || entry.abort.signal.aborted) return undefined;
        const lease = take(entry);
        unwritten -= 1;
        const written = entry.prediction;
        const result = await store.predictions.insert({
          prediction: written,
          lease,
          deliveries: [],
          images: stored,
        });
        if (result.kind === "inserted") return written;
        entry.abort.abort();
        throw queueFull();
      },
      abandon() {
        if (entry.lease === undefined && !ending) entry.abort.abort();
      },
    };
  }

  return {
    runUnwritten,
    start() {
      unsubscribe = engine.onRoom(pull);
      heartbeat = setInterval(() => void leases.renew(), leaseMs / 3);
      pull();
      return looked.promise;
    },
    wake,
    write,
    stored: () => Math.max(0, store.predictions.unfinished() - (running.size - unwritten)),
    canRunUnwritten: (accepted) => isNext() && engine.room() > (namesPicture(accepted) ? 0 : -UNWRITTEN_MAX),
    abort(id) {
      running.get(id)?.abort.abort();
    },
    async drain(graceMs) {
      await stopPulling();
      const all = Promise.all(running.values().map((entry) => entry.done));
      const grace = new AbortController();
      await Promise.race([all, delay(graceMs, undefined, { signal: grace.signal }).catch(() => {})]);
      grace.abort();
    },
    async close() {
      clearInterval(heartbeat);
      await stopPulling();
      await leases.giveBack();
      for (const entry of running.values()) entry.abort.abort();
      await Promise.all(running.values().map((entry) => entry.done));
    },
  };
}

/** As its first claim would have it. */
function started(pending: Prediction, startedAt: number): Prediction {
  return { ...pending, status: "started", revision: 2, attempt: 1, startedAt, updatedAt: startedAt };
}
