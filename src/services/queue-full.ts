import { AuspexError } from "../domain/error.ts";

/** The store holds as many unfinished predictions as it may. */
export function queueFull(): AuspexError {
  return new AuspexError(
    "resource_exhausted",
    "the queue of unfinished predictions is full; try again later",
    { retryAfterMs: 1000 },
  );
}
