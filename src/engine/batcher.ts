/**
 * Greedy batching, one queue per model version. Nothing here waits: a worker that has become free takes whatever
 * is there, up to the version's maximum, so a lone item runs at once and batches grow by themselves under load.
 * Where several workers are free they share what is there.
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

export interface Batch<T> {
  readonly key: string;
  readonly items: readonly T[];
}

/** Sets, for they keep the order of arrival and forget an item from the middle at no cost. */
interface Queue<T> {
  readonly alone: Set<T>;
  readonly together: Set<T>;
}

export class Batcher<T extends BatchItem> {
  /** Versions that have items, the one to be served next first. */
  readonly #queues = new Map<string, Queue<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    let queue = this.#queues.get(item.key);
    if (!queue) {
      queue = { alone: new Set(), together: new Set() };
      this.#queues.set(item.key, queue);
    }
    (item.alone ? queue.alone : queue.together).add(item);
    this.#size += 1;
  }

  /** False when the item is not in the queue (any more). */
  remove(item: T): boolean {
    const queue = this.#queues.get(item.key);
    if (!queue) return false;
    if (!queue.alone.delete(item) && !queue.together.delete(item)) return false;
    this.#size -= 1;
    this.#dropIfEmpty(item.key, queue);
    return true;
  }

  /**
   * The next batch for a worker; undefined when there is nothing that it can run.
   *
   * @param maximumOf how much of a version goes together; 0 when this worker cannot run it
   * @param takers free workers, this one included: what waits is shared out evenly among them
   */
  take(maximumOf: (key: string) => number, takers = 1): Batch<T> | undefined {
    for (const [key, queue] of this.#queues) {
      const maximum = maximumOf(key);
      if (maximum === 0) continue;
      const items = pick(queue, maximum, Math.ceil(queue.together.size / takers));
      this.#size -= items.length;
      this.#queues.delete(key);
      if (queue.alone.size + queue.together.size > 0) this.#queues.set(key, queue);
      return { key, items };
    }
    return undefined;
  }

  /** Takes out everything of one version. */
  drain(key: string): readonly T[] {
    const queue = this.#queues.get(key);
    if (!queue) return [];
    this.#queues.delete(key);
    const items = [...queue.alone, ...queue.together];
    this.#size -= items.length;
    return items;
  }

  keys(): readonly string[] {
    return [...this.#queues.keys()];
  }

  #dropIfEmpty(key: string, queue: Queue<T>): void {
    if (queue.alone.size + queue.together.size === 0) this.#queues.delete(key);
  }
}

function pick<T extends BatchItem>({ alone, together }: Queue<T>, maximum: number, share: number): T[] {
  for (const item of alone) {
    alone.delete(item);
    return [item];
  }
  const items: T[] = [];
  let weight = 0;
  for (const item of together) {
    weight += item.weight;
    // The first one goes however large it is.
    if (items.length > 0 && (weight > maximum || items.length >= share)) break;
    together.delete(item);
    items.push(item);
  }
  return items;
}
