/**
 * How each endpoint (one principal's events to one origin) fares, so that a slow or dead one neither takes the
 * slots of others nor is called in vain: a bounded number of attempts at once, and a circuit.
 *
 *     closed ──(CIRCUIT_FAILURES in a row)──▶ open ──(its time is over)──▶ one probe
 *       ▲                                      ▲─────────(it fails)─────────│
 *       └─────────────────────────────(it is answered)──────────────────────┘
 *
 * By principal, so that nobody's broken receiver holds back another's events to the same host.
 */

export type Admission =
  | { readonly kind: "go" }
  /** As many attempts as it is given are running. Times are microseconds since the epoch. */
  | { readonly kind: "busy"; readonly until: number }
  /** It is down, for the reason of its last failure. */
  | { readonly kind: "down"; readonly until: number; readonly reason: string };

export type Experience =
  /** Answered, whether it liked the event or not. */
  | { readonly kind: "up" }
  | { readonly kind: "down"; readonly reason: string; readonly retryAfterMs: number | undefined }
  | { readonly kind: "unknown" };

export interface Endpoints {
  /** Asks for an attempt now. After "go" the caller owes a `done`. */
  admit(key: string, now: number): Admission;
  /** Ends an attempt that took so many microseconds. */
  done(key: string, experience: Experience, now: number, took: number): void;
  /** Endpoints that nothing but a probe is sent to. */
  open(now: number): number;
  /** Endpoints that are remembered: those that are busy or failing. */
  readonly size: number;
}

/** A receiver rarely has more workers than this for one sender; of 64 slots it leaves 56 to others. */
export const PARALLEL_PER_ENDPOINT = 8;
/** Fewer would open the circuit for the hiccup of a restart. */
export const CIRCUIT_FAILURES = 5;
const SECOND = 1_000_000;
/** First pause of an open circuit; each failed probe doubles it. */
export const CIRCUIT_PAUSE = 30 * SECOND;
/** Longest pause: events arrive at most this much (and LINE_MAX) after the endpoint's return. */
export const CIRCUIT_PAUSE_MAX = 300 * SECOND;
/** Longest pause that an endpoint's Retry-After brings all its events. */
const ASKED_PAUSE_MAX = 3600 * SECOND;
/** A probe may take its whole timeout; waiting events look again this often meanwhile. */
const PROBE_WAIT = 5 * SECOND;
/** Longest place in the line: then an event looks again, as the line may have moved faster than expected. */
const LINE_MAX = 60 * SECOND;
/** What an attempt is thought to take before one was measured: optimistic, since a wrong place costs little. */
const FIRST_LATENCY = 10_000;
/** Share of the newest measurement in the mean. */
const LATENCY_GAIN = 0.2;
/** Failing endpoints that are remembered, about 200 bytes each; past it the longest unused is forgotten. */
export const ENDPOINTS_MAX = 10_000;

interface Endpoint {
  running: number;
  /** In a row. */
  failures: number;
  reason: string;
  /** Nothing goes out before. */
  pausedUntil: number;
  /** The next pause of the circuit. */
  pause: number;
  /** Mean microseconds of an attempt. */
  latency: number;
  /** When whoever waits last in line will have its turn. */
  lineEnd: number;
}

export function createEndpoints(): Endpoints {
  /** In the order of their last use. */
  const endpoints = new Map<string, Endpoint>();

  const used = (key: string): Endpoint => {
    const endpoint = endpoints.get(key) ?? {
      running: 0,
      failures: 0,
      reason: "",
      pausedUntil: 0,
      pause: CIRCUIT_PAUSE,
      latency: FIRST_LATENCY,
      lineEnd: 0,
    };
    endpoints.delete(key);
    endpoints.set(key, endpoint);
    if (endpoints.size > ENDPOINTS_MAX) forgetOldest();
    return endpoint;
  };
  const forgetOldest = () => {
    for (const [key, { running }] of endpoints) {
      if (running > 0) continue;
      endpoints.delete(key);
      return;
    }
  };

  return {
    admit: (key, now) => {
      const endpoint = used(key);
      const { failures, running, pausedUntil, reason } = endpoint;
      if (now < pausedUntil) return { kind: "down", until: queue(endpoint, pausedUntil), reason };
      if (failures >= CIRCUIT_FAILURES && running > 0) {
        return { kind: "down", until: queue(endpoint, now + PROBE_WAIT), reason };
      }
      if (running >= PARALLEL_PER_ENDPOINT) return { kind: "busy", until: queue(endpoint, now) };
      endpoint.running += 1;
      return { kind: "go" };
    },
    done: (key, experience, now, took) => {
      const endpoint = used(key);
      endpoint.running -= 1;
      learn(endpoint, experience, now, took);
      const idle = endpoint.running === 0 && now >= Math.max(endpoint.pausedUntil, endpoint.lineEnd);
      if (idle && endpoint.failures === 0) endpoints.delete(key);
    },
    open: (now) => {
      let open = 0;
      for (const { failures, pausedUntil } of endpoints.values()) {
        if (failures >= CIRCUIT_FAILURES || now < pausedUntil) open += 1;
      }
      return open;
    },
    get size() {
      return endpoints.size;
    },
  };
}

/** Gives out the next place in the line of those who wait for slots from a time on, and answers its time. */
function queue(endpoint: Endpoint, from: number): number {
  const turn = Math.max(endpoint.lineEnd, from) + Math.ceil(endpoint.latency / PARALLEL_PER_ENDPOINT);
  endpoint.lineEnd = Math.min(turn, from + LINE_MAX);
  return endpoint.lineEnd;
}

function learn(endpoint: Endpoint, experience: Experience, now: number, took: number): void {
  switch (experience.kind) {
    case "unknown":
      return;
    case "up":
      endpoint.failures = 0;
      endpoint.pausedUntil = 0;
      endpoint.pause = CIRCUIT_PAUSE;
      endpoint.latency += LATENCY_GAIN * (took - endpoint.latency);
      return;
    case "down": {
      endpoint.failures += 1;
      endpoint.reason = experience.reason;
      // Attempts that were under way when the circuit opened fail as well; they must not lengthen its pause.
      if (endpoint.failures >= CIRCUIT_FAILURES && now >= endpoint.pausedUntil) {
        endpoint.pausedUntil = now + endpoint.pause;
        endpoint.pause = Math.min(endpoint.pause * 2, CIRCUIT_PAUSE_MAX);
      }
      const asked = Math.min((experience.retryAfterMs ?? 0) * 1000, ASKED_PAUSE_MAX);
      if (asked > 0) endpoint.pausedUntil = Math.max(endpoint.pausedUntil, now + asked);
      return;
    }
    default:
      experience satisfies never;
  }
}
