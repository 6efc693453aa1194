/**
 * When V8 collects everything in the server's process. Pictures and tensors lie outside of V8's heap, and by itself V8
 * starts a whole collection for a few MiB of them. CPU ms per picture of 226 KB, 16 in flight, on two cores that others
 * worked on too:
 *
 *                                     in a row      after 10 s without work
 *     bytes counted as heap           1.6 to 2.9    2.7 to 4.5
 *     and growth as below             1.5 to 2.6    1.9 to 2.4
 *
 * Workers have their own: engine/worker-process.ts.
 */
export const COLLECTOR_FLAGS = [
  /** Bytes outside the heap count towards its limit, as objects do. */
  "--external-memory-accounted-in-global-limit",
  /**
   * How far past what is alive both may grow before everything is marked again. V8 would choose by how fast its own heap
   * grows, which beside the bytes is next to nothing: it came to a tenth or two, and the server's 45 MiB were marked
   * for every 25 pictures.
   */
  "--heap-growing-percent=150",
  /**
   * Objects of one call are made where young ones are. V8 would make those of some places old from the start, as soon as
   * enough of them were met by a collection that came while calls were under way, and what an old object points to is
   * not collected as young: 5.6 KB of each call waited for a whole collection, 2.4 do so, and main's thread took 117 µs
   * for a durable create with wait instead of 109.
   */
  "--no-allocation-site-pretenuring",
  /**
   * By how much the young objects' room grows at a time. V8 takes it away from a server that has had nothing to do for
   * some seconds, down to 1 MiB, and then doubles it now and again: for two seconds and more the next callers pay for
   * young collections every 13 ms. So it is all there again after the first. Bursts of 2 s after 12 s without work, 64
   * durable creates with wait in flight: 6,054 a second and 167 µs of main's process each; with this 7,797 and 104, for
   * up to 64 MiB.
   */
  "--semi-space-growth-factor=64",
  /**
   * A server that has had nothing to do for 8 s is collected, but not down to its least size. For that V8 would also drop
   * the shapes of which no object happens to be alive, with them the compiled code that was made for these (137 to 228
   * functions; "embedded weak objects cleared" with --trace-deopt), and the next callers would run what is interpreted.
   * Bursts of 2 s after 12 s without work, 64 creates in flight: 250 to 450 µs of main's process each on a busy machine;
   * with this 182 to 284. What V8 took under load it keeps meanwhile: after 45 such spells 600 MiB of memory of its own
   * and no more than after 20, where it had had 320 to 470.
   */
  "--no-memory-reducer-favors-memory",
] as const;
