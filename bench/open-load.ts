/**
 * Load that does not wait: unary gRPC calls that are sent at a fixed rate whatever becomes of them (open loop), by a
 * process of its own. A call's time runs from when it was due, so that a generator that is late hides nothing.
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Client, credentials, status } from "@grpc/grpc-js";

export interface OpenOrder {
  /** `host:port` */
  readonly address: string;
  /** `/package.Service/Method` */
  readonly path: string;
  readonly request: Uint8Array;
  /** Of each call; undefined: none. */
  readonly deadlineMs: number | undefined;
  /** One after the other. */
  readonly phases: readonly { readonly perSecond: number; readonly seconds: number }[];
}

export interface OpenCall {
  readonly phase: number;
  /** Milliseconds since its phase began. */
  readonly dueMs: number;
  readonly tookMs: number;
  /** gRPC's: 0 is OK. What was not answered in the end is CANCELLED. */
  readonly code: number;
}

export interface OpenResult {
  /** In the order of their answers. */
  readonly calls: readonly OpenCall[];
  /** The last good answer's bytes. */
  readonly response: Uint8Array;
  /** CPU microseconds of this process. */
  readonly cpuMicros: number;
}

export type OpenReply =
  | { readonly kind: "result"; readonly result: OpenResult }
  | { readonly kind: "error"; readonly message: string };

/** The server allows 128 calls on each; with so many, calls wait in the server and not here. */
const CONNECTIONS = 32;
/** What is not answered so long after the last phase is canceled. */
const PATIENCE_MS = 1000;

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const keep = (bytes: Buffer): Buffer => bytes;

async function run({ address, path, request, deadlineMs, phases }: OpenOrder): Promise<OpenResult> {
  const clients = Array.from(
    { length: CONNECTIONS },
    // Channels of one process share connections unless told otherwise.
    () => new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }),
  );
  await Promise.all(clients.map(ready));
  const calls: OpenCall[] = [];
  const open = new Set<{ cancel(): void }>();
  let response: Uint8Array = new Uint8Array();
  let sent = 0;
  const send = (phase: number, began: number, dueMs: number): void => {
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    const client = clients[sent++ % CONNECTIONS];
    const call = client?.makeUnaryRequest(path, asBuffer, keep, request, options, (error, bytes) => {
      if (call) open.delete(call);
      const tookMs = performance.now() - began - dueMs;
      calls.push({ phase, dueMs, tookMs, code: error?.code ?? status.OK });
      if (bytes) response = bytes;
    });
    if (call) open.add(call);
  };
  const cpu = process.cpuUsage();
  for (const [phase, { perSecond, seconds }] of phases.entries()) {
    const began = performance.now();
    const total = Math.round(perSecond * seconds);
    for (let next = 0; next < total; await delay(1)) {
      const passed = performance.now() - began;
      for (; next < total && (next * 1000) / perSecond <= passed; next++) {
        send(phase, began, (next * 1000) / perSecond);
      }
    }
  }
  for (const ends = performance.now() + PATIENCE_MS; open.size > 0 && performance.now() < ends; )
    await delay(5);
  const { user, system } = process.cpuUsage(cpu);
  for (const call of open) call.cancel();
  while (open.size > 0) await delay(1);
  for (const client of clients) client.close();
  return { calls, response, cpuMicros: user + system };
}

function ready(client: Client): Promise<void> {
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + 5000, (error) => (error ? reject(error) : resolve()));
  });
}

process.on("message", (order: OpenOrder) => {
  const reply = (message: OpenReply): void => void process.send?.(message);
  run(order).then(
    (result) => reply({ kind: "result", result }),
    (error: unknown) =>
      reply({ kind: "error", message: error instanceof Error ? error.message : String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
