/**
 * Whether the server serves, and why not. Truthful: never serving without a worker that could take a batch, or while
 * the storage takes no writes; what is stored can be read all the same.
 */
import { AuspexError } from "../domain/error.ts";
import type { Engine, EngineLog } from "../engine/engine.ts";
import type { StorageHealth } from "../store/storage-health.ts";
import type { Health } from "./services.ts";

export interface HealthControl extends Health {
  started(): void;
  stopping(): void;
  /** @throws AuspexError `unavailable` unless what is created can be kept */
  refuseUnlessServing(): void;
  /** The same operations, of which those named, which keep what they are given, are refused so. */
  guard<T extends object>(operations: T, ...names: readonly (keyof T)[]): T;
}

export function createHealth(engine: Engine, storage: StorageHealth, log: EngineLog): HealthControl {
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
  storage.onChange(() => {
    const why = storage.reason();
    if (why === "") log.info({}, "the storage takes writes again");
    else log.error({ reason: why }, "nothing more is accepted");
    tell();
  });
  const reason = () => {
    if (phase === "starting") return "the server is starting";
    if (phase === "stopping") return "the server is shutting down";
    if (storage.reason() !== "") return storage.reason();
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
    guard(operations, ...names) {
      const guarded = { ...operations };
      for (const name of names) {
        const method = operations[name];
        if (typeof method !== "function") throw new Error(`${String(name)} is no operation`);
        const refusing = async (...args: readonly unknown[]) => {
          refuseUnlessServing();
          return method(...args);
        };
        guarded[name] = refusing as typeof method;
      }
      return guarded;
    },
    refuseUnlessServing,
  };

  function refuseUnlessServing(): void {
    // Without live workers creations still are taken: they are durable, and workers are being replaced.
    if (phase === "running" && storage.reason() === "") return;
    throw new AuspexError("unavailable", reason(), { retryAfterMs: 1000 });
  }
}
