/**
 * What the clients of a run were told, and when: the evidence that `checker.ts` holds against the invariants of a
 * prediction's life. Times are milliseconds of one monotonic clock, the test's.
 */

export type Status = "pending" | "started" | "succeeded" | "failed" | "canceled";

const RANK: Readonly<Record<Status, number>> = {
  pending: 0,
  started: 1,
  succeeded: 2,
  failed: 2,
  canceled: 2,
};

/** How far along its life a prediction with this status is. */
export const rankOf = (status: Status): number => RANK[status];
export const isTerminal = (status: Status): boolean => RANK[status] === 2;

/** A prediction as one answer shows it. Dialects show less than RPCs do. */
export interface Seen {
  readonly id: string;
  readonly status: Status;
  readonly revision: number | undefined;
  readonly attempt: number | undefined;
  /** Of the output, in row-major order; undefined where there is none, or no numbers. */
  readonly values: Float32Array | undefined;
  /** "" for none. */
  readonly failure: string;
}

export type Operation = "create" | "get" | "list" | "cancel" | "watch";

interface Call {
  /** One sequential caller: its next call begins when the last one has ended. */
  readonly client: string;
  readonly door: string;
  readonly operation: Operation;
  /** When it was sent, and when the answer was there: what it tells was true somewhere in between. */
  readonly began: number;
  readonly ended: number;
}

/** An answer that shows a prediction. */
export interface Told extends Call {
  readonly kind: "told";
  readonly seen: Seen;
  /** Which of the run's inputs it was created with; undefined where the caller does not know. */
  readonly input: number | undefined;
  /** The idempotency key and what was sent under it; "" for none. */
  readonly requestId: string;
  /** All messages of one watch stream have one number; undefined elsewhere. */
  readonly stream: number | undefined;
  /** What the stream was asked to go on after. */
  readonly afterRevision: number | undefined;
}

/** A watch that the server has ended in order: after this there is nothing more to come. */
export interface StreamEnded extends Omit<Call, "operation"> {
  readonly kind: "stream_ended";
  readonly id: string;
  readonly stream: number;
  readonly afterRevision: number | undefined;
}

/** An answer in words, whether or not it names a prediction: what it says of its input has to be right. */
export interface Answered extends Call {
  readonly kind: "answered";
  /** Which of the run's pictures, or of its questions, it is about. */
  readonly about: "picture" | "question";
  readonly input: number;
  /** A picture's first label; the text of an answer. */
  readonly said: string;
}

/** A call that was refused, or whose connection broke. */
export interface Refused extends Call {
  readonly kind: "refused";
  /** As gRPC names it; `unreachable` for a connection that broke or never was. */
  readonly code: string;
  readonly requestId: string;
}

/** What /readyz said. */
export interface Probed {
  readonly kind: "probed";
  readonly began: number;
  readonly ended: number;
  readonly health: "serving" | "not_serving" | "unreachable";
  /** Processes under the server that were alive before the question and after the answer; undefined: not looked at. */
  readonly workers: number | undefined;
}

/** A webhook as its receiver got it. */
export interface Delivered {
  readonly kind: "delivered";
  readonly at: number;
  readonly webhookId: string;
  readonly predictionId: string;
  readonly status: Status;
  readonly revision: number;
}

export interface Measured {
  readonly kind: "measured";
  readonly at: number;
  /** Resident, of the server's own process. */
  readonly bytes: number;
}

export type Event = Told | StreamEnded | Answered | Refused | Probed | Delivered | Measured;

export interface History {
  readonly events: readonly Event[];
  /** Of the predictions that somebody was told of. */
  readonly ids: ReadonlySet<string>;
  record(event: Event): void;
  /** Milliseconds. */
  now(): number;
  /** A number that no stream of this history has yet. */
  nextStream(): number;
}

export function createHistory(): History {
  const events: Event[] = [];
  const ids = new Set<string>();
  let streams = 0;
  return {
    events,
    ids,
    record(event) {
      events.push(event);
      if (event.kind === "told") ids.add(event.seen.id);
    },
    now: () => performance.now(),
    nextStream: () => ++streams,
  };
}
