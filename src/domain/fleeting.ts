/**
 * Collections of what comes and goes by the thousand a second: calls, predictions, jobs.
 *
 * A Map or a Set makes itself a new table each time it has filled the last one with what was deleted, and the old table,
 * which still holds what was in it, points to the new one. As soon as one of those outlives two collections of V8's young
 * generation it is old, and what an old object points to is not young garbage: from then on every table is kept until
 * the next full collection, and with them everything that ever was in one. Measured by itself, 64 items at a time: half of
 * their bytes were promoted with a Map or a Set, none with this. So here a table holds seats,
 * which are emptied when they are left.
 */

interface Seat<V> {
  value: V | undefined;
}

export class FleetingMap<K extends string | number, V extends object> {
  readonly #seats = new Map<K, Seat<V>>();

  get size(): number {
    return this.#seats.size;
  }

  get(key: K): V | undefined {
    return this.#seats.get(key)?.value;
  }

  set(key: K, value: V): void {
    const seat = this.#seats.get(key);
    if (seat) seat.value = value;
    else this.#seats.set(key, { value });
  }

  /** Answers what was there. */
  delete(key: K): V | undefined {
    const seat = this.#seats.get(key);
    if (!seat) return undefined;
    this.#seats.delete(key);
    const { value } = seat;
    seat.value = undefined;
    return value;
  }

  clear(): void {
    for (const key of [...this.#seats.keys()]) this.delete(key);
  }

  /** As they are now. */
  values(): V[] {
    return [...this.#seats.values()].flatMap(({ value }) => value ?? []);
  }
}

/** What `FleetingSet.add` gives out, to leave with. */
export type SeatIn<V> = Seat<V>;

export class FleetingSet<V extends object> {
  readonly #seats = new Set<Seat<V>>();

  get size(): number {
    return this.#seats.size;
  }

  add(value: V): SeatIn<V> {
    const seat = { value };
    this.#seats.add(seat);
    return seat;
  }

  /** Once is enough. */
  leave(seat: SeatIn<V>): void {
    this.#seats.delete(seat);
    seat.value = undefined;
  }

  /** As they are now. */
  values(): V[] {
    return [...this.#seats].flatMap(({ value }) => value ?? []);
  }
}
