/**
 * Load in which each call counts by itself: a fixed number of creates over gRPC in flight, as in load.ts, but a call
 * that fails is counted rather than the end, and of each the answer says when it was and by which version.
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { CreatePredictionResponseSchema, PredictionStatus } from "../gen/auspex/v1/prediction_pb.ts";
import { connectGrpc } from "./load-grpc.ts";

export interface TimedOrder {
  /** `host:port` */
  readonly address: string;
  readonly path: string;
  readonly request: Uint8Array;
  readonly inFlight: number;
  readonly seconds: number;
}

export interface TimedCall {
  /** Milliseconds since the round began. */
  readonly sentMs: number;
  readonly tookMs: number;
  /** Of the model; undefined for a call that failed or whose prediction did. */
  readonly version: number | undefined;
}

export type TimedReply =
  | { readonly kind: "result"; readonly calls: readonly TimedCall[]; readonly failures: readonly string[] }
  | { readonly kind: "error"; readonly message: string };

/** Of failures that are told. */
const FAILURES_MAX = 10;

interface Kept {
  readonly sentMs: number;
  readonly tookMs: number;
  readonly answer: Uint8Array | undefined;
}

async function run({ address, path, request, inFlight, seconds }: TimedOrder) {
  const send = connectGrpc({ kind: "grpc", address, path }, inFlight);
  const kept: Kept[] = [];
  const failures: string[] = [];
  const began = performance.now();
  const caller = async (slot: number): Promise<void> => {
    for (;;) {
      const sent = performance.now();
      if (sent >= began + seconds * 1000) return;
      const answer = await send(request, slot).catch((error: unknown) => {
        failures.push(String(error));
        return undefined;
      });
      kept.push({ sentMs: sent - began, tookMs: performance.now() - sent, answer });
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, slot) => caller(slot)));
  // Decoded when nothing is timed any more.
  const calls = kept.map(({ answer, ...times }) => ({ ...times, version: versionOf(answer, failures) }));
  return { calls, failures: failures.slice(0, FAILURES_MAX) };
}

function versionOf(answer: Uint8Array | undefined, failures: string[]): number | undefined {
  if (!answer) return undefined;
  const { prediction } = fromBinary(CreatePredictionResponseSchema, answer);
  if (prediction?.status === PredictionStatus.SUCCEEDED) return prediction.version;
  failures.push(prediction?.error?.message ?? `a prediction's status is ${prediction?.status}`);
  return undefined;
}

process.on("message", (order: TimedOrder) => {
  const reply = (message: TimedReply): void => void process.send?.(message);
  run(order).then(
    (result) => reply({ kind: "result", ...result }),
    (error: unknown) => reply({ kind: "error", message: String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
