/** The few figures that a table of rounds needs. */

/** The value below which the share `p` (0 to 1) of the ascending values lies: nearest rank, no interpolation. */
export function percentile(ascending: readonly number[], p: number): number {
  const index = Math.min(ascending.length - 1, Math.max(0, Math.ceil(p * ascending.length) - 1));
  return ascending[index] ?? Number.NaN;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Medians rather than means: one round that a neighbour disturbed must not move the figure. */
export function spread(values: readonly number[]): Spread {
  const ascending = values.toSorted((a, b) => a - b);
  const middle = (ascending.length - 1) / 2;
  const low = ascending[Math.floor(middle)] ?? Number.NaN;
  const high = ascending[Math.ceil(middle)] ?? Number.NaN;
  return {
    median: (low + high) / 2,
    min: ascending[0] ?? Number.NaN,
    max: ascending.at(-1) ?? Number.NaN,
  };
}
