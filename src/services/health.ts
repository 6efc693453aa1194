/** Whether the server serves, and why not. Truthful: never serving without a worker that could take a batch. */
import { AuspexError } from "../domain/error.ts";
import type { Engine } from "../engine/engine.ts";
import type { Health } from "./services.ts";

export interface HealthControl extends Health {
  started(): void;
  stopping(): void;
  /** @throws AuspexError `unavailable` unless creations are taken */
  refuseUnlessServing(): void;
}

export function createHealth(engine: Engine): HealthControl {
  let phase: "starting" | "running" | "stopping" = "starting";
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of listeners) listener();
  };
  let live = engine.liveWorkers() > 0;
  engine.onRoom(() => {
    if (live === engine.liveWorkers() > 0) return;
    live = !live;
    tell();
  });
  const reason = () => {
    if (phase === "starting") return "the server is starting";
    if (phase === "stopping") return "the server is shutting down";
    return engine.liveWorkers() > 0 ? "" : "no worker is alive";
  };
  return {
    reason,
    serving: () => reason() === "",
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    started() {
      phase = "running";
      tell();
    },
    stopping() {
      phase = "stopping";
      tell();
    },
    refuseUnlessServing() {
      // Without live workers creations still are taken: they are durable, and workers are being replaced.
      if (phase !== "running") throw new AuspexError("unavailable", reason(), { retryAfterMs: 1000 });
    },
  };
}
