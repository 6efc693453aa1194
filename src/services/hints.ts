/**
 * "Something about this id changed": told after the commit, in this process. A hint carries no state; whoever is
 * told reads the row. So a hint that is missed, doubled or late never shows anybody a state that was not committed.
 */
export interface Hints {
  emit(id: string): void;
  /**
   * Listens to all of the ids. Starts at once, so that a change between reading the row and waiting is not missed.
   */
  subscribe(...ids: readonly string[]): Subscription;
}

export interface Subscription {
  /** Resolves at the next hint since the last call, or when the signal aborts. */
  next(signal: AbortSignal): Promise<void>;
  close(): void;
}

export function createHints(): Hints {
  const listeners = new Map<string, Set<() => void>>();
  return {
    emit(id) {
      for (const listener of listeners.get(id) ?? []) listener();
    },
    subscribe(...ids) {
      // However many hints arrive while nobody waits, one flag remembers them: a slow reader costs nothing more.
      let hinted = false;
      let wake: (() => void) | undefined;
      const listener = () => {
        hinted = true;
        wake?.();
      };
      for (const id of ids) listeners.set(id, (listeners.get(id) ?? new Set()).add(listener));
      return {
        async next(signal) {
          if (!hinted && !signal.aborted) {
            await new Promise<void>((resolve) => {
              wake = resolve;
              signal.addEventListener("abort", listener, { once: true });
            });
            wake = undefined;
            signal.removeEventListener("abort", listener);
          }
          hinted = false;
        },
        close() {
          for (const id of ids) {
            const set = listeners.get(id);
            set?.delete(listener);
            if (set?.size === 0) listeners.delete(id);
          }
        },
      };
    },
  };
}
