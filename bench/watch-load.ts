/**
 * The watchers of the bench: a process that holds many WatchPrediction streams and tells how long after its commit each
 * change was here. HTTP/2 as Node has it, without a gRPC library, so that as little as possible of the time is its own.
 *
 * A change's time is the prediction's `update_time`, which the server sets just before it writes: so what is told
 * includes the commit. The server's clock starts with the system's whole millisecond, this one with its microsecond: what
 * is told is up to a millisecond too long, and never too short.
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  PredictionService,
  PredictionStatus,
  WatchPredictionRequestSchema,
  WatchPredictionResponseSchema,
} from "../gen/auspex/v1/prediction_pb.ts";

export type WatchOrder =
  /** Opens a stream for each id (one may come often); done when each has had its prediction's present state. */
  | { readonly kind: "open"; readonly url: string; readonly ids: readonly string[] }
  /** The same, but of what the server sends on them nothing is ever taken. Done when they are begun. */
  | { readonly kind: "open deaf"; readonly url: string; readonly ids: readonly string[] }
  /** Done when so many changes have come since the last such order: answers their delays. */
  | { readonly kind: "take"; readonly changes: number };

export type WatchReply =
  | {
      readonly kind: "done";
      /** Microseconds from each change to its arrival; empty for the other orders. */
      readonly delays: readonly number[];
      /** CPU microseconds of this process since the last reply. */
      readonly cpuMicros: number;
    }
  | { readonly kind: "error"; readonly message: string };

/** Microseconds since the epoch. */
const now = (): number => (performance.timeOrigin + performance.now()) * 1000;

const PATH = `/${PredictionService.typeName}/${PredictionService.method.watchPrediction.name}`;
/** The server allows 128 (AUSPEX_MAX_STREAMS). */
const STREAMS_PER_CONNECTION = 125;
const HEAD_BYTES = 5;
/** Longer is no figure but a fault. */
const PATIENCE_MS = 20_000;

interface Change {
  readonly bytes: Buffer;
  /** Microseconds since the epoch. */
  readonly at: number;
}

let begun = 0;
let changes: Change[] = [];
/** Told of every first state and every change. */
let onMessage = (): void => {};

function openStream(session: ClientHttp2Session, id: string): ClientHttp2Stream {
  const message = toBinary(WatchPredictionRequestSchema, create(WatchPredictionRequestSchema, { id }));
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  const stream = session.request({
    ":method": "POST",
    ":path": PATH,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", fail);
  stream.end(Buffer.concat([head, message]));
  return stream;
}

/** Resolves when the stream has ended. */
async function listen(stream: ClientHttp2Stream): Promise<void> {
  let pending: Buffer = Buffer.alloc(0);
  let messages = 0;
  stream.on("data", (chunk: Buffer) => {
    const at = now();
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= HEAD_BYTES && pending.length >= HEAD_BYTES + pending.readUInt32BE(1)) {
      const end = HEAD_BYTES + pending.readUInt32BE(1);
      if (messages++ === 0) begun++;
      else changes.push({ bytes: pending.subarray(HEAD_BYTES, end), at });
      pending = pending.subarray(end);
      onMessage();
    }
  });
  await once(stream, "close");
}

/** Resolves once the condition holds; it is looked at after each message. */
function until(condition: () => boolean, what: () => string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error(`gave up waiting: ${what()}`)), PATIENCE_MS);
  onMessage = () => {
    if (condition()) resolve();
  };
  onMessage();
  return promise.finally(() => clearTimeout(timer));
}

async function connectSession(url: string, initialWindowSize?: number): Promise<ClientHttp2Session> {
  const session = connect(url, initialWindowSize === undefined ? {} : { settings: { initialWindowSize } });
  session.on("error", fail);
  await once(session, "remoteSettings");
  return session;
}

async function open(url: string, ids: readonly string[]): Promise<void> {
  const wanted = begun + ids.length;
  for (let first = 0; first < ids.length; first += STREAMS_PER_CONNECTION) {
    const session = await connectSession(url);
    const streams = ids
      .slice(first, first + STREAMS_PER_CONNECTION)
      .map((id) => listen(openStream(session, id)));
    void Promise.all(streams).then(() => session.close(), fail);
  }
  await until(
    () => begun >= wanted,
    () => `${wanted - begun} streams have not begun`,
  );
}

async function openDeaf(url: string, ids: readonly string[]): Promise<void> {
  // With a window of nothing the server may not send a byte of a message; its headers it may.
  const session = await connectSession(url, 0);
  await Promise.all(ids.map((id) => once(openStream(session, id), "response")));
}

async function take(count: number): Promise<readonly number[]> {
  await until(
    () => changes.length >= count,
    () => `${count - changes.length} changes have not come`,
  );
  const taken = changes;
  changes = [];
  if (taken.length > count) throw new Error(`${taken.length} changes came where ${count} were expected`);
  return taken.map(({ bytes, at }) => {
    const { prediction } = fromBinary(WatchPredictionResponseSchema, bytes);
    if (prediction?.status !== PredictionStatus.CANCELED || !prediction.updateTime) {
      throw new Error(`a change came with the status ${prediction?.status}`);
    }
    const { updateTime } = prediction;
    return at - (timestampMs({ ...updateTime, nanos: 0 }) * 1000 + updateTime.nanos / 1000);
  });
}

async function obey(order: WatchOrder): Promise<readonly number[]> {
  switch (order.kind) {
    case "open":
      await open(order.url, order.ids);
      return [];
    case "open deaf":
      await openDeaf(order.url, order.ids);
      return [];
    case "take":
      return take(order.changes);
    default:
      return order satisfies never;
  }
}

function reply(message: WatchReply): void {
  process.send?.(message);
}

/** A stream or a connection that breaks makes the round worthless. */
function fail(error: Error): void {
  reply({ kind: "error", message: error.message });
}

let used = process.cpuUsage();
process.on("message", (order: WatchOrder) => {
  obey(order).then((delays) => {
    const { user, system } = process.cpuUsage(used);
    used = process.cpuUsage();
    reply({ kind: "done", delays, cpuMicros: user + system });
  }, fail);
});
process.on("disconnect", () => process.exit(0));
