/** Whether two runs of a model gave the same, as far as numbers can be told apart that were added in another order. */

/** @param errorMax the largest difference, relative to the largest number */
export function isNear(some: ArrayLike<number>, others: ArrayLike<number>, errorMax: number): boolean {
  let largest = 0;
  let apart = 0;
  for (let i = 0; i < some.length; i++) {
    const [a, b] = [some[i] ?? Number.NaN, others[i] ?? Number.NaN];
    largest = Math.max(largest, Math.abs(b));
    apart = Math.max(apart, Math.abs(a - b));
  }
  return some.length === others.length && apart <= errorMax * largest;
}
