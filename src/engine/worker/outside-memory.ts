/**
 * Bytes outside of V8's heap: pictures and tensors, as they come and as they are read. V8 collects them as the worker goes
 * on, and never while nothing comes, however much the last call has left.
 */

/** Without a call for so long, a worker is idle, and a collection of some 20 ms is in nobody's way. */
const IDLE_MS = 1000;
/** What may lie about in an idle worker. Weights that a runtime keeps there count as well, and are kept. */
const OUTSIDE_BYTES_MAX = 16 * 1024 ** 2;

const timer = setTimeout(collect, IDLE_MS).unref();

/** To be called with each answer. */
export function collectWhenIdle(): void {
  timer.refresh();
}

/** Needs `--expose-gc`. */
function collect(): void {
  if (process.memoryUsage().arrayBuffers > OUTSIDE_BYTES_MAX) globalThis.gc?.();
}
