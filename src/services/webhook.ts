/**
 * Delivers webhook events. They are rows, written in the transaction that caused them, so nothing is lost with the
 * process: each is posted at least once, always under the same `webhook-id`, until its endpoint answers 2xx, says
 * that it is gone, or 72 h have passed. Attempts for one prediction begin in the order of its revisions; which
 * event that leaves is the store's rule (`DeliveryStore.takeDue`).
 *
 * One loop takes what is due, as much as it has slots for; an event whose endpoint is busy or down is put back
 * with a later time, so that a dead endpoint costs a row's update now and then instead of a slot.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Delivery, DeliveryState } from "../domain/webhook.ts";
import type { EngineLog } from "../engine/engine.ts";
import type { DeliveryStore } from "../store/store.ts";
import type { Egress } from "./egress.ts";
import { attempt, type Verdict } from "./webhook-attempt.ts";
import { createEndpoints, type Experience } from "./webhook-endpoint.ts";
import { gaveUp, isStale, stateAfter } from "./webhook-schedule.ts";

export interface WebhookOptions {
  readonly deliveries: DeliveryStore;
  readonly egress: Egress;
  readonly log: EngineLog;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  /** The same, as others have it: signatures carry it. */
  readonly wall: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** For one attempt, connecting included. */
  readonly attemptTimeoutMs?: number;
  /** Resolves after the time, or as soon as the signal is aborted; never rejects. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Told of every attempt whose end is recorded, for metrics. */
  readonly onAttempt?: (attempt: { readonly delivery: Delivery; readonly state: DeliveryState }) => void;
}

export interface WebhookDispatcher {
  /** Says that deliveries may have been written; to be called after their commit. */
  wake(): void;
  start(): void;
  /**
   * Begins no more attempts, gives the running ones a moment and breaks them off then: those are made again, under
   * the same id, by the next process.
   */
  close(): Promise<void>;
  stats(): WebhookStats;
}

export interface WebhookStats {
  /** Attempts under way. */
  readonly running: number;
  /** Since the start. */
  readonly delivered: number;
  readonly failedAttempts: number;
  readonly abandoned: number;
  readonly postponed: number;
  /** Endpoints that are down now. */
  readonly openCircuits: number;
}

/** What Standard Webhooks recommends as the low end of 15–30 s, less: an event waits for nobody's slow handler. */
const ATTEMPT_TIMEOUT_MS = 10_000;
/** All endpoints together: bounds sockets and bodies in memory. */
export const PARALLEL_MAX = 64;
/** `wake` may have been missed (another process wrote the row): look again at least this often. */
const IDLE_MAX_MS = 60_000;
/** Something is overdue that cannot be taken yet, as it is under way: looked at again after this. */
const OVERDUE_MS = 1000;
/** The store refused: first and longest pause before it is asked again. */
const STORE_RETRY_MS = 500;
const STORE_RETRY_MAX_MS = 30_000;
/** What running attempts are given when the server stops; most answer within it. */
const CLOSE_GRACE_MS = 2000;

interface Flight {
  readonly delivery: Delivery;
  /** A later event of the same prediction has been taken: this one is not tried again. */
  superseded: boolean;
}

export function createWebhookDispatcher(options: WebhookOptions): WebhookDispatcher {
  const { deliveries, egress, log, now, wall, random, onAttempt } = options;
  const { attemptTimeoutMs = ATTEMPT_TIMEOUT_MS, sleep = sleepFor } = options;
  const endpoints = createEndpoints();
  const flights = new Map<string, Flight>();
  const running = new Set<Promise<void>>();
  const closing = new AbortController();
  const interrupt = new AbortController();
  let nap = new AbortController();
  let woken = false;
  let loop: Promise<void> | undefined;
  const counts = { delivered: 0, failedAttempts: 0, abandoned: 0, postponed: 0 };

  const wake = () => {
    woken = true;
    nap.abort();
  };

  async function run(): Promise<void> {
    let trouble = 0;
    while (!closing.signal.aborted) {
      woken = false;
      try {
        const more = await takeAndStart();
        if (!more && !woken) await napFor(await idleMs());
        trouble = 0;
      } catch (error) {
        log.error({ err: error }, "webhook deliveries could not be taken from the store");
        await sleep(storePauseMs(trouble++), closing.signal);
      }
    }
  }

  async function napFor(ms: number): Promise<void> {
    nap = new AbortController();
    if (!woken) await sleep(ms, nap.signal);
  }

  /** How long nothing will be due; a wake or an attempt's end cuts it short. */
  async function idleMs(): Promise<number> {
    if (flights.size >= PARALLEL_MAX) return IDLE_MAX_MS;
    const dueAt = await deliveries.nextDueAt();
    if (dueAt === undefined) return IDLE_MAX_MS;
    const ms = Math.ceil((dueAt - now()) / 1000);
    return ms <= 0 ? OVERDUE_MS : Math.min(ms, IDLE_MAX_MS);
  }

  /** True when there may be more to take at once. */
  async function takeAndStart(): Promise<boolean> {
    const room = PARALLEL_MAX - flights.size;
    if (room === 0) return false;
    const taken = await deliveries.takeDue({ now: now(), limit: room });
    const writes: Promise<void>[] = [];
    for (const delivery of taken) {
      if (closing.signal.aborted) break;
      // Still under way when its minute was over: only its record is late.
      if (flights.has(delivery.id)) continue;
      const admission = endpoints.admit(endpointOf(delivery), now());
      if (admission.kind === "go") begin(delivery);
      else if (admission.kind === "down" && isStale(delivery, now()))
        writes.push(giveUp(delivery, admission.reason));
      else writes.push(postpone(delivery, admission.until));
    }
    await Promise.all(writes);
    return taken.length === room;
  }

  async function postpone(delivery: Delivery, until: number): Promise<void> {
    counts.postponed += 1;
    await deliveries.record({
      id: delivery.id,
      state: { kind: "due", attempts: attemptsOf(delivery), nextAt: until },
    });
  }

  async function giveUp(delivery: Delivery, why: string): Promise<void> {
    const attempts = attemptsOf(delivery);
    const state: DeliveryState = { kind: "abandoned", attempts, reason: gaveUp(attempts, why) };
    await deliveries.record({ id: delivery.id, state });
    report(delivery, state);
  }

  function begin(delivery: Delivery): void {
    const { predictionId, revision } = delivery;
    for (const other of flights.values()) {
      const earlier = other.delivery.predictionId === predictionId && other.delivery.revision < revision;
      if (earlier) other.superseded = true;
    }
    const flight: Flight = { delivery, superseded: false };
    flights.set(delivery.id, flight);
    const flown = fly(flight).finally(() => {
      flights.delete(delivery.id);
      running.delete(flown);
      wake();
    });
    running.add(flown);
  }

  async function fly(flight: Flight): Promise<void> {
    const { delivery } = flight;
    const began = now();
    const verdict = await attempt(delivery, {
      egress,
      timeoutMs: attemptTimeoutMs,
      now: wall(),
      signal: interrupt.signal,
    });
    endpoints.done(endpointOf(delivery), experienceOf(verdict), now(), now() - began);
    // The row stays due: whether the event arrived is not known, and twice is better than never.
    if (verdict.kind === "interrupted") return;
    const { createdAt } = delivery;
    const attempts = attemptsOf(delivery);
    const next = stateAfter(verdict, { attempts, createdAt, now: now(), random: random() });
    const state: DeliveryState =
      flight.superseded && next.kind === "due"
        ? { kind: "abandoned", attempts: next.attempts, reason: "superseded" }
        : next;
    if (await record(delivery.id, state)) report(delivery, state, verdict);
  }

  /** Keeps the slot until it succeeds: a row that were taken again unrecorded would be posted again and again. */
  async function record(id: string, state: DeliveryState): Promise<boolean> {
    for (let tries = 0; ; tries += 1) {
      try {
        await deliveries.record({ id, state });
        return true;
      } catch (error) {
        log.error({ err: error, id }, "the end of a webhook attempt could not be recorded");
        if (closing.signal.aborted) return false;
        await sleep(storePauseMs(tries), closing.signal);
      }
    }
  }

  function report(delivery: Delivery, state: DeliveryState, verdict?: Verdict): void {
    const { id, predictionId } = delivery;
    // The origin alone: paths and queries of webhook URLs often hold secrets.
    const fields = { id, predictionId, endpoint: originOf(delivery), attempts: state.attempts };
    switch (state.kind) {
      case "delivered":
        counts.delivered += 1;
        break;
      case "due":
        counts.failedAttempts += 1;
        log.info(
          { ...fields, reason: verdict?.kind === "failed" ? verdict.reason : "" },
          "a webhook attempt failed and will be repeated",
        );
        break;
      case "abandoned":
        counts.abandoned += 1;
        log.warn({ ...fields, reason: state.reason }, "a webhook event was given up");
        break;
      default:
        state satisfies never;
    }
    onAttempt?.({ delivery, state });
  }

  return {
    wake,
    start: () => {
      loop ??= run();
    },
    close: async () => {
      closing.abort();
      wake();
      await loop;
      const graceOver = new AbortController();
      await Promise.race([Promise.all(running), sleep(CLOSE_GRACE_MS, graceOver.signal)]);
      graceOver.abort();
      interrupt.abort();
      await Promise.all(running);
    },
    stats: () => ({ running: flights.size, ...counts, openCircuits: endpoints.open(now()) }),
  };
}

async function sleepFor(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {});
}

function storePauseMs(tries: number): number {
  return Math.min(STORE_RETRY_MS * 2 ** tries, STORE_RETRY_MAX_MS);
}

function attemptsOf({ state }: Delivery): number {
  return state.attempts;
}

function originOf({ url }: Delivery): string {
  return URL.parse(url)?.origin ?? "";
}

function endpointOf(delivery: Delivery): string {
  return `${delivery.principal} ${originOf(delivery)}`;
}

function experienceOf(verdict: Verdict): Experience {
  switch (verdict.kind) {
    case "delivered":
      return { kind: "up" };
    case "failed":
      return verdict.down
        ? { kind: "down", reason: verdict.reason, retryAfterMs: verdict.retryAfterMs }
        : { kind: "up" };
    case "refused":
    case "interrupted":
      return { kind: "unknown" };
    default:
      return verdict satisfies never;
  }
}
