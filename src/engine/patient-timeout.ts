/**
 * A timeout for somebody else's answer, which is not theirs to miss while this process stands still: after a pause,
 * timers run before what arrived meanwhile is read.
 */

/** A timer that fires so much too late tells of a pause. */
const LATE_MS = 100;

/** To read what arrived during a pause, large answers too. */
const READING_MS = 1000;

/** Calls back once, at least `ms` from now. Answers the stop. */
export function patientTimeout(ms: number, onTimeout: () => void): () => void {
  const dueAt = performance.now() + ms;
  let timer = setTimeout(() => {
    const late = performance.now() - dueAt;
    timer = setTimeout(onTimeout, late > LATE_MS ? READING_MS : 0);
  }, ms);
  return () => clearTimeout(timer);
}
