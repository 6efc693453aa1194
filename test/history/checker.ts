/**
 * Holds a run's history and what the server was left with against the invariants I1 to I10 of a prediction's life.
 * It knows nothing of the server but what its clients were told, so it can be tried on histories that are wrong.
 */
import type { FinalState } from "./final-state.ts";
import {
  type Answered,
  type Event,
  isTerminal,
  type Probed,
  rankOf,
  type Seen,
  type Told,
} from "./history.ts";

export interface Violation {
  readonly invariant: `I${1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10}`;
  readonly message: string;
}

export interface Expected {
  /** The right output for each input of the run. */
  readonly values: readonly Float32Array[];
  /** The right label for each picture, and the right answer to each question. */
  readonly words: Readonly<Record<Answered["about"], readonly string[]>>;
  /** Resident bytes that the server's own process may have at any time. */
  readonly memoryMax: number;
}

/** Batches of other sizes may add in another order. */
const TOLERANCE = 1e-5;

/** Everything that is wrong, by invariant. */
export function check(events: readonly Event[], final: FinalState, expected: Expected): readonly Violation[] {
  const told = events.filter((event) => event.kind === "told");
  const byId = Map.groupBy(told, ({ seen }) => seen.id);
  return [
    ...lost(byId, final),
    ...[...byId].flatMap(([id, answers]) => {
      const last = final.predictions.get(id);
      return [...settledTwice(id, answers, last), ...wentBack(id, answers), ...revisions(answers, last)];
    }),
    ...requests(told),
    ...webhooks(events, final),
    ...streams(events, told, final),
    ...outputs(events, told, final, expected),
    ...health(events),
    ...memory(events, expected),
  ];
}

/** I1: what was acknowledged is there, and came to an end. */
function lost(byId: ReadonlyMap<string, readonly Told[]>, final: FinalState): Violation[] {
  return [...byId].flatMap(([id, [first]]) => {
    const last = final.predictions.get(id);
    if (!last) return violation("I1", `${id}, told of by ${first?.operation} over ${first?.door}, is gone`);
    return isTerminal(last.status) ? [] : violation("I1", `${id} never came to an end: it is ${last.status}`);
  });
}

/** I2: one terminal state, which never changes. */
function settledTwice(id: string, answers: readonly Told[], last: Seen | undefined): Violation[] {
  const ends = answers.map(({ seen }) => seen).filter(({ status }) => isTerminal(status));
  const all = last ? [...ends, last] : ends;
  const [first, ...others] = all;
  if (!first) return [];
  const other = others.find((each) => !isSameEnd(first, each));
  return other
    ? violation("I2", `${id} ended as ${describe(first)}, and was shown to have ended as ${describe(other)}`)
    : [];
}

/** What one of the two does not show cannot differ. */
function isSameEnd(a: Seen, b: Seen): boolean {
  return (
    a.status === b.status &&
    (a.revision === undefined || b.revision === undefined || a.revision === b.revision) &&
    (a.values === undefined || b.values === undefined || isClose(a.values, b.values)) &&
    (a.failure === "" || b.failure === "" || a.failure === b.failure)
  );
}

/** I3: an answer that began after another had ended shows no earlier state; attempts only rise. */
function wentBack(id: string, answers: readonly Told[]): Violation[] {
  const byEnd = answers.toSorted((a, b) => a.ended - b.ended);
  const byBeginning = answers.toSorted((a, b) => a.began - b.began);
  let known: Told | undefined;
  let attempt = 0;
  let next = 0;
  for (const answer of byBeginning) {
    for (let done = byEnd[next]; done && done.ended <= answer.began; done = byEnd[++next]) {
      if (!known || rankOf(done.seen.status) > rankOf(known.seen.status)) known = done;
      attempt = Math.max(attempt, done.seen.attempt ?? 0);
    }
    if (known && rankOf(answer.seen.status) < rankOf(known.seen.status)) {
      return violation("I3", `${id} was ${known.seen.status}, and ${answer.seen.status} after that`);
    }
    if (answer.seen.attempt !== undefined && answer.seen.attempt < attempt) {
      return violation("I3", `${id} had attempt ${attempt}, and ${answer.seen.attempt} after that`);
    }
  }
  return [];
}

/**
 * I5: each write is one revision: the creation, each attempt, the one settle. A result of a holder of a lease that had
 * run out would be one more. One revision shows one state to everybody.
 */
function revisions(answers: readonly Told[], last: Seen | undefined): Violation[] {
  const found: Violation[] = [];
  const byRevision = new Map<number, Seen>();
  for (const seen of [...answers.map((answer) => answer.seen), ...(last ? [last] : [])]) {
    const { id, status, revision, attempt } = seen;
    if (revision === undefined || attempt === undefined) continue;
    const writes = 1 + attempt + (isTerminal(status) ? 1 : 0);
    // A failure that is decided at creation is the first write.
    if (revision !== writes && !(revision === 1 && isTerminal(status))) {
      found.push(
        ...violation("I5", `${id} is ${describe(seen)} after ${revision} writes instead of ${writes}`),
      );
    }
    const same = byRevision.get(revision) ?? seen;
    byRevision.set(revision, same);
    if (same.status !== status || same.attempt !== attempt) {
      found.push(...violation("I5", `${id} has two states of revision ${revision}`));
    }
  }
  return found;
}

/** I4: a request id stands for one prediction. */
function requests(told: readonly Told[]): Violation[] {
  const created = told.filter(({ operation, requestId }) => operation === "create" && requestId !== "");
  return [...Map.groupBy(created, ({ requestId }) => requestId)].flatMap(([requestId, answers]) => {
    const ids = new Set(answers.map(({ seen }) => seen.id));
    return ids.size === 1
      ? []
      : violation("I4", `request ${requestId} was answered with ${[...ids].join(" and ")}`);
  });
}

/** I6: every end that was to be told of is delivered, still due, or given up where it can be seen; under one id. */
function webhooks(events: readonly Event[], final: FinalState): Violation[] {
  const found: Violation[] = [];
  for (const [id, deliveries] of final.deliveries) {
    const last = final.predictions.get(id);
    if (!last || !isTerminal(last.status)) continue;
    const terminal = deliveries.filter((delivery) => delivery.terminal);
    if (terminal.length !== 1) {
      found.push(...violation("I6", `${id} has ended, with ${terminal.length} webhooks that say so`));
    }
  }
  const received = events.filter((event) => event.kind === "delivered");
  for (const [key, same] of Map.groupBy(received, (event) => `${event.predictionId} ${event.revision}`)) {
    const ids = new Set(same.map(({ webhookId }) => webhookId));
    if (ids.size !== 1)
      found.push(...violation("I6", `${key} was delivered under ${[...ids].join(" and ")}`));
  }
  for (const { predictionId, status } of received) {
    const last = final.predictions.get(predictionId);
    if (last && isTerminal(status) && status !== last.status) {
      found.push(...violation("I6", `${predictionId} was delivered as ${status} and is ${last.status}`));
    }
  }
  return found;
}

/** I7: revisions rise strictly, from the one that a stream goes on after; a stream that ends has told the end. */
function streams(events: readonly Event[], told: readonly Told[], final: FinalState): Violation[] {
  const found: Violation[] = [];
  const byStream = Map.groupBy(
    told.filter(({ stream }) => stream !== undefined),
    ({ stream }) => stream,
  );
  for (const messages of byStream.values()) {
    let before = messages[0]?.afterRevision ?? 0;
    for (const { seen, client } of messages) {
      if (seen.revision === undefined) continue;
      if (seen.revision <= before) {
        found.push(
          ...violation("I7", `${client} was told revision ${seen.revision} of ${seen.id} after ${before}`),
        );
      }
      before = seen.revision;
    }
  }
  for (const event of events) {
    if (event.kind !== "stream_ended") continue;
    const last = byStream.get(event.stream)?.at(-1)?.seen;
    const end = final.predictions.get(event.id);
    // Whoever goes on after the end is told nothing more.
    const wasTold = last ? isTerminal(last.status) : event.afterRevision === (end?.revision ?? 0);
    if (!wasTold) {
      found.push(
        ...violation("I7", `a watch of ${event.id} ended before its end (${end?.status ?? "gone"}) was told`),
      );
    }
  }
  return found;
}

/** I8: everybody has the output of his own input. */
function outputs(
  events: readonly Event[],
  told: readonly Told[],
  final: FinalState,
  expected: Expected,
): Violation[] {
  const found: Violation[] = [];
  const inputs = new Map(told.flatMap(({ seen, input }) => (input === undefined ? [] : [[seen.id, input]])));
  const shown = [...told.map(({ seen }) => seen), ...final.predictions.values()];
  for (const { id, values } of shown) {
    const right = expected.values[inputs.get(id) ?? -1];
    if (values && right && !isClose(values, right)) {
      found.push(...violation("I8", `${id} has the output of another input`));
    }
  }
  for (const event of events) {
    if (event.kind !== "answered") continue;
    const right = expected.words[event.about][event.input];
    if (event.said !== right) {
      found.push(
        ...violation("I8", `${event.about} ${event.input} over ${event.door}: ${event.said}; not: ${right}`),
      );
    }
  }
  return found;
}

/**
 * I9: health tells the truth: whoever asks after a call was refused because the server stops is not told that it
 * serves, and it never serves without a worker.
 */
function health(events: readonly Event[]): Violation[] {
  const found: Violation[] = [];
  const probes = events.filter((event) => event.kind === "probed").toSorted((a, b) => a.began - b.began);
  for (const { health: state, workers, began } of probes) {
    if (state === "serving" && workers === 0) {
      found.push(...violation("I9", `it said at ${Math.round(began)} ms that it serves, without a worker`));
    }
  }
  const refusals = events.filter((event) => event.kind === "refused");
  for (const refusal of refusals.filter(({ code }) => code === "unavailable")) {
    const next = firstAfter(probes, refusal.ended);
    const before = probes.findLast(({ ended }) => ended < refusal.began);
    // Between two probes that both say it serves, nobody may have been refused as by a server that stops.
    if (next?.health === "serving" && before?.health === "serving") {
      const hasBeenAway = probes.some(
        (probe) => probe.began > before.began && probe.began < next.began && probe.health !== "serving",
      );
      if (!hasBeenAway) {
        found.push(
          ...violation(
            "I9",
            `a ${refusal.operation} was refused at ${Math.round(refusal.ended)} ms while it said that it serves`,
          ),
        );
      }
    }
  }
  return found;
}

function firstAfter(probes: readonly Probed[], time: number): Probed | undefined {
  return probes.find(({ began }) => began >= time);
}

/** I10: memory stays within its bound. */
function memory(events: readonly Event[], { memoryMax }: Expected): Violation[] {
  const most = Math.max(0, ...events.flatMap((event) => (event.kind === "measured" ? [event.bytes] : [])));
  if (most <= memoryMax) return [];
  const mib = (bytes: number) => Math.round(bytes / 1024 ** 2);
  return violation("I10", `the server had ${mib(most)} MiB; its bound is ${mib(memoryMax)} MiB`);
}

function violation(invariant: Violation["invariant"], message: string): Violation[] {
  return [{ invariant, message }];
}

function describe({ status, revision, failure }: Seen): string {
  return `${status}${revision === undefined ? "" : ` (revision ${revision})`}${failure && `: ${failure}`}`;
}

function isClose(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((value, i) => Math.abs(value - (b[i] ?? Number.NaN)) <= TOLERANCE);
}
