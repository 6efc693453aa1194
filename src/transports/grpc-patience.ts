/** How long a call over gRPC may take to arrive, and its answer to be taken; grpc-js waits for ever. */
import { constants, type ServerHttp2Stream } from "node:http2";
import type { Config } from "../config.ts";
import { AuspexError } from "../domain/error.ts";
import { FleetingSet } from "../domain/fleeting.ts";
import type { Arrival } from "./grpc-intake.ts";

export interface Patience {
  /** Looks after a call, from its headers on, until what it answers is called. */
  watch(stream: ServerHttp2Stream, arrival: Arrival): () => void;
  stop(): void;
}

interface Progress {
  readonly stream: ServerHttp2Stream;
  readonly arrival: Arrival;
  readonly openedAt: number;
  /** Whether it was told that its time is over. */
  isLate: boolean;
  /** Bytes that wait for the caller, and since when it has taken none of them. */
  pending: number;
  since: number;
}

/** Calls are looked at this often, or twice in the shorter time where that is more often. */
const CHECK_MS = 2_000;

export function createPatience({ REQUEST_TIMEOUT, ANSWER_TIMEOUT }: Config): Patience {
  const calls = new FleetingSet<Progress>();
  const check = () => {
    const now = performance.now();
    for (const progress of calls.values()) {
      const { stream } = progress;
      if (!stream.readableEnded && now - progress.openedAt > REQUEST_TIMEOUT) {
        // Who does not end after the answer either is cut off.
        if (progress.isLate) cutOff(stream);
        else
          progress.arrival.refuse(
            new AuspexError("deadline_exceeded", "the request took too long to arrive"),
          );
        progress.isLate = true;
        continue;
      }
      const pending = stream.writableLength;
      if (pending === 0 || pending !== progress.pending) {
        progress.pending = pending;
        progress.since = now;
      } else if (now - progress.since > ANSWER_TIMEOUT) {
        cutOff(stream);
      }
    }
  };
  const timer = setInterval(check, Math.min(CHECK_MS, REQUEST_TIMEOUT / 2, ANSWER_TIMEOUT / 2));
  timer.unref();
  return {
    watch(stream, arrival) {
      const now = performance.now();
      const call = calls.add({ stream, arrival, openedAt: now, isLate: false, pending: 0, since: now });
      return () => calls.leave(call);
    },
    stop: () => clearInterval(timer),
  };
}

/** gRPC clients make RESOURCE_EXHAUSTED of this; a status of ours would wait behind what is not taken. */
function cutOff(stream: ServerHttp2Stream): void {
  stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  stream.destroy();
}
