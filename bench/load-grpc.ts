/** The load generator's unary gRPC calls. */
import { Client, credentials } from "@grpc/grpc-js";
import type { Destination, Send } from "./load.ts";

/** Every server here allows at least this many calls on one connection (AUSPEX_MAX_STREAMS is 128). */
export const CALLS_PER_CONNECTION = 128;
/** A call that takes longer fails the round: a bench that hangs tells nobody anything. */
export const CALL_TIMEOUT_MS = 15_000;

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const keep = (bytes: Buffer): Buffer => bytes;

export function connectGrpc({ address, path }: Destination & { kind: "grpc" }, inFlight: number): Send {
  const clients = Array.from(
    { length: Math.ceil(inFlight / CALLS_PER_CONNECTION) },
    // Channels of one process share connections unless told otherwise.
    () => new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }),
  );
  return (request, slot) =>
    new Promise((resolve, reject) => {
      const deadline = Date.now() + CALL_TIMEOUT_MS;
      clients[slot % clients.length]?.makeUnaryRequest(
        path,
        asBuffer,
        keep,
        request,
        { deadline },
        (error, bytes) => {
          if (bytes) resolve(bytes);
          else reject(new Error(`${path} at ${address}: ${error?.message ?? "no answer"}`));
        },
      );
    });
}
