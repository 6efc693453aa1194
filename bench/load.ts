/**
 * The load generator: a process of its own, so that what it costs is not charged to a server and one generator drives
 * every target of a comparison alike. It keeps a fixed number of unary gRPC calls or HTTP requests in flight for a
 * fixed time (closed loop) and answers one result per order. Request bytes are made by the caller and sent as they
 * are; responses stay bytes, but for a sample that is decoded and checked.
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { checkAnswer, type Expectation } from "./load-answer.ts";
import { connectGrpc } from "./load-grpc.ts";
import { connectHttp } from "./load-http.ts";
import { connectHttp2 } from "./load-http2.ts";
import { percentile } from "./statistics.ts";

/** What is sent, and where to, on loopback and without TLS. */
export type Destination =
  | {
      readonly kind: "grpc";
      /** `host:port` */
      readonly address: string;
      /** `/package.Service/Method` */
      readonly path: string;
    }
  | {
      /** HTTP/1.1, a connection for each request in flight. */
      readonly kind: "http";
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
      /** A status by which the server refuses for the moment: the request is sent again, and its time goes on. */
      readonly again?: number;
      /** POST unless it says GET, which sends no body. */
      readonly method?: "GET" | "POST";
    }
  | {
      /** POST over bare HTTP/2. */
      readonly kind: "http2";
      readonly url: string;
    };

/** One round of load. */
export interface LoadOrder {
  readonly to: Destination;
  readonly request: Uint8Array;
  /** What a sampled answer must be. */
  readonly expect: Expectation;
  readonly inFlight: number;
  readonly seconds: number;
}

export interface LoadResult {
  readonly requests: number;
  /** Wall time until the last answer. */
  readonly seconds: number;
  /** Microseconds. */
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** CPU microseconds of this process during the round, all threads. */
  readonly cpuMicros: number;
  /** Answers that were decoded and found right. */
  readonly checked: number;
  /** The last answer's bytes. */
  readonly response: Uint8Array;
}

export type LoadReply =
  | { readonly kind: "result"; readonly result: LoadResult }
  | { readonly kind: "error"; readonly message: string };

/** Decoding all answers would charge the targets for the generator's own work; a wrong one shows in a sample. */
const CHECK_EVERY = 50;

/** Sends one request; rejects unless it is answered well and in time. `slot` is below the number in flight. */
export type Send = (request: Uint8Array, slot: number) => Promise<Uint8Array>;

const connections = new Map<string, Send>();

/** Connections are kept from round to round. */
function connect(to: Destination, inFlight: number): Send {
  const key = JSON.stringify([to, inFlight]);
  const send = connections.get(key) ?? connectAnew(to, inFlight);
  connections.set(key, send);
  return send;
}

function connectAnew(to: Destination, inFlight: number): Send {
  switch (to.kind) {
    case "grpc":
      return connectGrpc(to, inFlight);
    case "http":
      return connectHttp(to, inFlight);
    case "http2":
      return connectHttp2(to, inFlight);
    default:
      return to satisfies never;
  }
}

async function run({ to, request, expect, inFlight, seconds }: LoadOrder): Promise<LoadResult> {
  const send = connect(to, inFlight);
  const latencies: number[] = [];
  let checked = 0;
  let last: Uint8Array = new Uint8Array();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const until = began + seconds * 1000;
  let failed = false;
  const caller = async (slot: number): Promise<void> => {
    for (let sent = performance.now(); sent < until && !failed; sent = performance.now()) {
      last = await send(request, slot);
      latencies.push((performance.now() - sent) * 1000);
      if (latencies.length % CHECK_EVERY === 1 && checkAnswer(expect, last)) checked++;
    }
  };
  try {
    await Promise.all(Array.from({ length: inFlight }, (_, slot) => caller(slot)));
  } catch (error) {
    failed = true;
    throw error;
  }
  const ended = performance.now();
  const used = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  return {
    requests: latencies.length,
    seconds: (ended - began) / 1000,
    p50: percentile(latencies, 0.5),
    p95: percentile(latencies, 0.95),
    p99: percentile(latencies, 0.99),
    cpuMicros: used.user + used.system,
    checked,
    response: last,
  };
}

process.on("message", (order: LoadOrder) => {
  const reply = (message: LoadReply): void => void process.send?.(message);
  run(order).then(
    (result) => reply({ kind: "result", result }),
    (error: unknown) =>
      reply({ kind: "error", message: error instanceof Error ? error.message : String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
