/**
 * The leases of what runs in this process: renewed while it runs, so that nobody else claims it, and noticed when they
 * are lost.
 */
import type { FleetingMap } from "../domain/fleeting.ts";
import type { Prediction } from "../domain/prediction.ts";
import type { EngineLog } from "../engine/engine.ts";
import type { PredictionStore } from "../store/store.ts";

/** Something that runs here. */
export interface Leased {
  readonly prediction: Prediction;
  /** The lease's token; undefined until there is a row to hold one. */
  readonly lease: string | undefined;
  readonly abort: AbortController;
}

export interface LeasesOptions {
  readonly running: Pick<FleetingMap<string, Leased>, "get" | "values">;
  readonly store: Pick<PredictionStore, "renew">;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly leaseMs: number;
  readonly log: Pick<EngineLog, "error">;
}

export interface Leases {
  /** When a lease runs out that is taken now; microseconds since the epoch. */
  end(): number;
  /** One more is held, until then. */
  took(expiresAt: number): void;
  /** Whether one may have run out. */
  lapsed(): boolean;
  /** Never rejects. Aborts what was lost. */
  renew(): Promise<void>;
  /** Has all run out now, so that the next server can claim them at once. */
  giveBack(): Promise<void>;
}

export function createLeases({ running, store, now, leaseMs, log }: LeasesOptions): Leases {
  /** Until then no lease that is held here runs out. */
  let until = Number.POSITIVE_INFINITY;

  async function move(expiresAt: number): Promise<void> {
    const leases = running
      .values()
      .flatMap(({ prediction, lease }) => (lease === undefined ? [] : [{ id: prediction.id, token: lease }]));
    until = leases.length === 0 ? Number.POSITIVE_INFINITY : expiresAt;
    if (leases.length === 0) return;
    for (const id of await store.renew({ leases, expiresAt })) {
      const entry = running.get(id);
      const held = leases.find((lease) => lease.id === id);
      // A prediction that was settled meanwhile holds no lease either, and is not lost.
      if (entry && entry.lease === held?.token) entry.abort.abort();
    }
  }

  const end = () => now() + leaseMs * 1000;
  return {
    end,
    took(expiresAt) {
      until = Math.min(until, expiresAt);
    },
    lapsed: () => now() >= until,
    async renew() {
      try {
        await move(end());
      } catch (error) {
        // Tried again before the next claim, and with the next beat.
        until = 0;
        log.error({ err: error }, "leases could not be renewed");
      }
    },
    giveBack: () => move(now()).catch(() => undefined),
  };
}
