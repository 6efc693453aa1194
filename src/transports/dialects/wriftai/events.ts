/**
 * A watch as server-sent events (WHATWG HTML §9.2): our own addition to this API. Each state is an event
 * `prediction` whose id is the revision, so that `Last-Event-ID` resumes a dropped stream. The stream is pulled: a
 * reader that does not read costs one state and the socket's buffers, and wakes nothing up.
 */
import { Readable } from "node:stream";
import type { Prediction } from "../../../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../../domain/error.ts";
import { within } from "../../within.ts";
import { renderPrediction } from "./render.ts";

/** Half of the 30 s after which common proxies drop a silent connection. */
export const HEARTBEAT_MS = 15_000;
/** How long the answer's head waits for the first state, so that a refused watch still gets its own status. */
const OPEN_MS = 1_000;

/**
 * @returns undefined when the stream was resumed after the terminal state: there is nothing left to say
 * @throws AuspexError whatever refused the watch
 */
export async function openEvents(
  states: AsyncIterable<Prediction>,
  quietMs: number = HEARTBEAT_MS,
): Promise<Readable | undefined> {
  const iterator = states[Symbol.asyncIterator]();
  const first = iterator.next();
  const opened = await within(first, Math.min(OPEN_MS, quietMs));
  if (opened?.done) return undefined;
  const stream = Readable.from(frames(iterator, first, quietMs));
  // A reader that is gone before it read anything: the frames never began, and what never began has no `finally`.
  stream.once("close", () => iterator.return?.().catch(() => undefined));
  return stream;
}

async function* frames(
  iterator: AsyncIterator<Prediction>,
  first: Promise<IteratorResult<Prediction>>,
  quietMs: number,
): AsyncGenerator<string> {
  try {
    // Sends the head at once, also when a resumed stream has nothing to tell yet.
    yield ": open\n\n";
    let next = first;
    for (;;) {
      const result = await within(next, quietMs);
      if (result === undefined) {
        yield ": heartbeat\n\n";
        continue;
      }
      if (result.done) return;
      const prediction = result.value;
      const data = JSON.stringify(renderPrediction(prediction));
      yield `event: prediction\nid: ${prediction.revision}\ndata: ${data}\n\n`;
      next = iterator.next();
    }
  } catch (error) {
    // The head is gone: all that is left is to end, and the reader resumes or learns the reason when it asks again.
    yield `: interrupted, ${AuspexError.from(error).code}\n\n`;
  } finally {
    await iterator.return?.();
  }
}
