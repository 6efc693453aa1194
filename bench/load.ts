/**
 * The load generator: a process of its own, so that what it costs is not charged to a server and one generator drives
 * every target of a comparison alike. It keeps a fixed number of unary gRPC calls in flight for a fixed time (closed
 * loop) and answers one result per order. Request bytes are made by the caller and sent as they are; responses stay
 * bytes, but for a sample that is decoded and checked.
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { CreatePredictionResponseSchema, PredictionStatus } from "../gen/auspex/v1/prediction_pb.ts";
import { percentile } from "./statistics.ts";

/** One round of load. */
export interface LoadOrder {
  /** `host:port` on loopback, without TLS. */
  readonly address: string;
  /** `/package.Service/Method` */
  readonly path: string;
  readonly request: Uint8Array;
  /** What a sampled answer must be. */
  readonly expect: "succeeded prediction" | "bytes";
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

/** Every server here allows at least this many calls on one connection (AUSPEX_MAX_STREAMS is 128). */
const CALLS_PER_CONNECTION = 128;
/** Decoding all answers would charge the targets for the generator's own work; a wrong one shows in a sample. */
const CHECK_EVERY = 50;
/** A call that takes longer fails the round: a bench that hangs tells nobody anything. */
const CALL_TIMEOUT_MS = 15_000;

const connections = new Map<string, readonly Client[]>();

function connect(address: string, inFlight: number): readonly Client[] {
  const count = Math.ceil(inFlight / CALLS_PER_CONNECTION);
  const key = `${address}×${count}`;
  const open =
    connections.get(key) ??
    Array.from(
      { length: count },
      // Channels of one process share connections unless told otherwise.
      () => new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }),
    );
  connections.set(key, open);
  return open;
}

const send = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const keep = (bytes: Buffer): Buffer => bytes;

function check(response: Uint8Array): void {
  const { prediction } = fromBinary(CreatePredictionResponseSchema, response);
  if (prediction?.status !== PredictionStatus.SUCCEEDED) {
    const why = prediction?.error?.message ?? `its status is ${prediction?.status}`;
    throw new Error(`a prediction did not succeed: ${why}`);
  }
}

function run({ address, path, request, expect, inFlight, seconds }: LoadOrder): Promise<LoadResult> {
  const clients = connect(address, inFlight);
  const latencies: number[] = [];
  const cpu = process.cpuUsage();
  const began = performance.now();
  const until = began + seconds * 1000;
  let open = 0;
  let checked = 0;
  let last: Buffer | undefined;
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      if (!last) return;
      const ended = performance.now();
      const used = process.cpuUsage(cpu);
      latencies.sort((a, b) => a - b);
      resolve({
        requests: latencies.length,
        seconds: (ended - began) / 1000,
        p50: percentile(latencies, 0.5),
        p95: percentile(latencies, 0.95),
        p99: percentile(latencies, 0.99),
        cpuMicros: used.user + used.system,
        checked,
        response: last,
      });
    };
    const call = (client: Client): void => {
      const sent = performance.now();
      open++;
      const done = (error: ServiceError | null, response?: Buffer): void => {
        open--;
        if (error || !response) {
          reject(new Error(`${path} at ${address}: ${error?.message ?? "no answer"}`));
          return;
        }
        const now = performance.now();
        latencies.push((now - sent) * 1000);
        last = response;
        if (expect === "succeeded prediction" && latencies.length % CHECK_EVERY === 1) {
          try {
            check(response);
          } catch (wrong) {
            reject(wrong);
            return;
          }
          checked++;
        }
        if (now < until) call(client);
        else if (open === 0) finish();
      };
      client.makeUnaryRequest(path, send, keep, request, { deadline: Date.now() + CALL_TIMEOUT_MS }, done);
    };
    for (let i = 0; i < inFlight; i++) {
      const client = clients[i % clients.length];
      if (client) call(client);
    }
  });
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
