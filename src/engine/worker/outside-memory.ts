/**
 * Bytes outside of V8's heap: of pictures and tensors, as they come and as they are read. Nearly all are done with when
 * their call is answered, and held by objects that are young still; a collection of those takes a millisecond or two,
 * and one of everything ten times as long. V8 by itself would do the latter for every 34 photographs, and none at all while
 * nothing comes, however much the last call has left.
 */
import { getHeapStatistics } from "node:v8";

/** Of 70 photographs, or one large picture. */
const OUTSIDE_BYTES_MAX = 16 * 1024 ** 2;

let kept = 0;

/** To be called after each answer. Needs `--expose-gc`. */
export function collectOutside(): void {
  if (getHeapStatistics().external_memory - kept < OUTSIDE_BYTES_MAX) return;
  globalThis.gc?.({ type: "minor" });
  kept = getHeapStatistics().external_memory;
}
