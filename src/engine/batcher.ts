/**
 * Greedy batching, one queue per model version: a worker that has become free takes whatever is there, up to the
 * version's maximum, so a lone item runs at once and batches grow by themselves under load. Where several workers are
 * free they share what is there.
 *
 * A version may have a delay. Its items are then held back until the eldest has waited for so long, or until there
 * are as many as go together, and are not shared. Nothing here has a timer: `dueIn` says when to ask again.
 *
 * Contract. An item is taken once, or removed before that, never both. Items of two versions never share a batch.
 * Versions are served in turn: one that has just had a batch goes behind all others that wait. Within a version
 * items leave in the order in which they came, except that those which must run alone (because a worker died with
 * them) go first, each as a batch of its own. Adding and removing take constant time, taking takes the length of
 * the batch.
 *
 * Implementation follows.
 */

export interface BatchItem {
  /** The version. */
  readonly key: string;
  /** What it counts towards the version's maximum: its rows, at least 1. */
  readonly weight: number;
  readonly alone: boolean;
}

/** How a version is batched. */
export interface Limits {
  /** What goes together, by weight. */
  readonly maximum: number;
  /** Milliseconds; 0 for none. */
  readonly delayMs: number;
}

/** What the asking worker may take of a version; undefined when it cannot run it. */
export type LimitsOf = (key: string) => Limits | undefined;

export interface Batch<T> {
  readonly key: string;
  readonly items: readonly T[];
}

/** A set and a map, for they keep the order of arrival and forget an item from the middle at no cost. */
interface Queue<T> {
  readonly alone: Set<T>;
  /** By the time of arrival. */
  readonly together: Map<T, number>;
  /** Of those together. */
  weight: number;
}

export class Batcher<T extends BatchItem> {
  /** Versions that have items, the one to be served next first. */
  readonly #queues = new Map<string, Queue<T>>();
  readonly #now: () => number;
  #size = 0;

  /** @param now milliseconds that never go back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    let queue = this.#queues.get(item.key);
    if (!queue) {
      queue = { alone: new Set(), together: new Map(), weight: 0 };
      this.#queues.set(item.key, queue);
    }
    if (item.alone) queue.alone.add(item);
    else {
      queue.together.set(item, this.#now());
      queue.weight += item.weight;
    }
    this.#size += 1;
  }

  /** False when the item is not in the queue (any more). */
  remove(item: T): boolean {
    const queue = this.#queues.get(item.key);
    if (!queue) return false;
    if (queue.together.delete(item)) queue.weight -= item.weight;
    else if (!queue.alone.delete(item)) return false;
    this.#size -= 1;
    this.#dropIfEmpty(item.key, queue);
    return true;
  }

  /**
   * The next batch for a worker; undefined when there is nothing that it can run now.
   *
   * @param takers free workers, this one included: what waits is shared out evenly among them
   */
  take(limitsOf: LimitsOf, takers = 1): Batch<T> | undefined {
    const key = this.turn(limitsOf);
    const queue = key === undefined ? undefined : this.#queues.get(key);
    const limits = key === undefined ? undefined : limitsOf(key);
    if (key === undefined || !queue || !limits) return undefined;
    const share = limits.delayMs > 0 ? queue.together.size : Math.ceil(queue.together.size / takers);
    const items = pick(queue, limits.maximum, share);
    this.#size -= items.length;
    this.#queues.delete(key);
    if (queue.alone.size + queue.together.size > 0) this.#queues.set(key, queue);
    return { key, items };
  }

  /** The version that `take` would take of. */
  turn(limitsOf: LimitsOf): string | undefined {
    for (const [key, queue] of this.#queues) {
      const limits = limitsOf(key);
      if (limits && this.#heldFor(queue, limits) <= 0) return key;
    }
    return undefined;
  }

  /** Milliseconds until something that the worker can run is no longer held back; undefined when nothing is. */
  dueIn(limitsOf: LimitsOf): number | undefined {
    const waits = [...this.#queues].flatMap(([key, queue]) => {
      const limits = limitsOf(key);
      return limits ? [this.#heldFor(queue, limits)] : [];
    });
    return waits.length > 0 ? Math.min(...waits) : undefined;
  }

  /** Takes out everything of one version. */
  drain(key: string): readonly T[] {
    const queue = this.#queues.get(key);
    if (!queue) return [];
    this.#queues.delete(key);
    const items = [...queue.alone, ...queue.together.keys()];
    this.#size -= items.length;
    return items;
  }

  /** Of one version, by weight; what must run alone is a batch of its own, whatever it weighs. */
  waiting(key: string): { readonly alone: number; readonly weight: number } {
    const queue = this.#queues.get(key);
    return { alone: queue?.alone.size ?? 0, weight: queue?.weight ?? 0 };
  }

  keys(): readonly string[] {
    return [...this.#queues.keys()];
  }

  /** Milliseconds; 0 or less when a batch may go. */
  #heldFor({ alone, together, weight }: Queue<T>, { maximum, delayMs }: Limits): number {
    if (delayMs === 0 || alone.size > 0 || weight >= maximum) return 0;
    const [since = 0] = together.values();
    return since + delayMs - this.#now();
  }

  #dropIfEmpty(key: string, queue: Queue<T>): void {
    if (queue.alone.size + queue.together.size === 0) this.#queues.delete(key);
  }
}

function pick<T extends BatchItem>(queue: Queue<T>, maximum: number, share: number): T[] {
  const { alone, together } = queue;
  for (const item of alone) {
    alone.delete(item);
    return [item];
  }
  const items: T[] = [];
  let weight = 0;
  for (const item of together.keys()) {
    weight += item.weight;
    // The first one goes however large it is.
    if (items.length > 0 && (weight > maximum || items.length >= share)) break;
    together.delete(item);
    queue.weight -= item.weight;
    items.push(item);
  }
  return items;
}
