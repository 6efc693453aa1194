/**
 * One signal for several, for a while. AbortSignal.any never lets go of what it derived from a signal that lives as
 * long as the server (some 320 bytes each, 800 with a listener): with one for each call that waits, that is a leak.
 */
export interface AnySignal {
  readonly signal: AbortSignal;
  /** To be called when nobody looks at the signal any more. */
  release(): void;
}

/**
 * By source, what follows it. A signal looks through all of its listeners whenever one comes or goes, and a thousand
 * watches follow one; so it gets one from here, whoever follows.
 */
const followers = new WeakMap<AbortSignal, Followers>();

interface Followers {
  readonly aborts: Set<() => void>;
  readonly listener: () => void;
}

export function anySignal(...sources: readonly AbortSignal[]): AnySignal {
  const joint = new AbortController();
  const abort = () => joint.abort();
  for (const source of sources) {
    if (source.aborted) abort();
    follow(source, abort);
  }
  return {
    signal: joint.signal,
    release() {
      for (const source of sources) unfollow(source, abort);
    },
  };
}

function follow(source: AbortSignal, abort: () => void): void {
  let known = followers.get(source);
  if (!known) {
    const aborts = new Set<() => void>();
    const listener = () => {
      for (const each of aborts) each();
    };
    known = { aborts, listener };
    followers.set(source, known);
    source.addEventListener("abort", listener, { once: true });
  }
  known.aborts.add(abort);
}

function unfollow(source: AbortSignal, abort: () => void): void {
  const known = followers.get(source);
  known?.aborts.delete(abort);
  if (known?.aborts.size !== 0) return;
  source.removeEventListener("abort", known.listener);
  followers.delete(source);
}
