/** Which batches a worker may be given while it still has another one. */

/**
 * Batches in a worker at once: the one that runs, and one that is there when it is done; the way of an answer and of the
 * next batch through main took a sixth of a worker's time with batches of 2 ms.
 */
export const BATCHES_MAX = 2;

/** Milliseconds that a version's batches take, both ends included. */
export interface AheadMs {
  readonly min: number;
  readonly max: number;
}

/**
 * Of a batch that may go ahead. Of shorter ones a worker has time enough: what there is too little of then is this process,
 * which only has more to do. A longer one gains next to nothing by being there; and what is ahead cannot be called back, so
 * that the worker runs it for nobody when its callers have given up meanwhile.
 */
export const AHEAD_MS: AheadMs = { min: 1, max: 20 };

/** @param ms that a batch takes; undefined when that is not known, and then none goes ahead */
export function mayGoAhead(ms: number | undefined, { min, max }: AheadMs = AHEAD_MS): boolean {
  return ms !== undefined && ms >= min && ms <= max;
}
