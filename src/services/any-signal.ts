/**
 * One signal for several, for a while. AbortSignal.any never lets go of what it derived from a signal that lives as
 * long as the server (some 320 bytes each, 800 with a listener): with one for each call that waits, that is a leak.
 */
export interface AnySignal {
  readonly signal: AbortSignal;
  /** To be called when nobody looks at the signal any more. */
  release(): void;
}

export function anySignal(...sources: readonly AbortSignal[]): AnySignal {
  const joint = new AbortController();
  const abort = () => joint.abort();
  for (const source of sources) {
    if (source.aborted) abort();
    source.addEventListener("abort", abort, { once: true });
  }
  return {
    signal: joint.signal,
    release() {
      for (const source of sources) source.removeEventListener("abort", abort);
    },
  };
}
