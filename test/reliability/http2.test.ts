/** Row F26: HTTP/2 connections that are used as weapons against the gRPC port, frame by frame. */

import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  CreatePredictionRequestSchema,
  PredictionService,
  WatchPredictionRequestSchema,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import {
  CALM_DOWN,
  FLAG,
  FRAME,
  field,
  frame,
  goAwayCode,
  grpcCall,
  grpcHeaders,
  indexedField,
  openHttp2,
  type RawClient,
  SETTING,
  type Setting,
  settings,
  uint32,
} from "../http2-frames.ts";
import { childrenOf, residentBytes, resume, suspend } from "../processes.ts";

const SERVICE = "/auspex.v1.PredictionService";
const GET = `${SERVICE}/GetPrediction`;
const MIB = 1024 ** 2;
const STREAMS_MAX = 128;
/** Made again so often when the others were held up. */
const ATTACKS_MAX = 3;
let server: TestServer;
let port: number;

beforeAll(async () => {
  server = await startServer({
    settings: { ANSWER_TIMEOUT: "2s", IDLE_TIMEOUT: "4s", MAX_STREAMS: String(STREAMS_MAX) },
  });
  port = Number(new URL(server.grpcUrl).port);
  // A first round, so that what is measured has run before.
  await bystander().quiet();
});
afterAll(() => server?.[Symbol.asyncDispose]());

/** A caller on a connection of its own, one call after the other. */
function bystander() {
  const client = clientOf(server, "grpc", PredictionService);
  const call = async (): Promise<number> => {
    const began = performance.now();
    await client.listPredictions({});
    return performance.now() - began;
  };
  const p99 = (tookMs: number[]) => tookMs.sort((a, b) => a - b)[Math.floor(tookMs.length * 0.99)] ?? 0;
  return {
    async quiet(): Promise<number> {
      const tookMs: number[] = [];
      for (let i = 0; i < 300; i++) tookMs.push(await call());
      return p99(tookMs);
    },
    async during(work: Promise<unknown>): Promise<number> {
      const tookMs: number[] = [];
      let running = true;
      const stopped = work.finally(() => {
        running = false;
      });
      while (running) tookMs.push(await call());
      await stopped;
      return p99(tookMs);
    },
  };
}

/**
 * The others go on while it lasts, and afterwards memory is back. An attack may be over within one call of theirs, and
 * that call fall into something else the machine has to do; what an attack holds up by itself, it does each time.
 */
async function attack(
  work: (client: RawClient) => Promise<void>,
  ...pairs: readonly Setting[]
): Promise<RawClient> {
  const others = bystander();
  const quietMs = await others.quiet();
  const before = residentBytes(server.process.pid ?? 0);
  for (let left = ATTACKS_MAX; ; left--) {
    const client = await openHttp2(port, ...pairs);
    const busyMs = await others.during(work(client));
    expect(residentBytes(server.process.pid ?? 0) - before).toBeLessThan(96 * MIB);
    // Twice, and what a loaded machine of two cores adds by itself.
    const boundMs = 2 * quietMs + 250;
    if (busyMs < boundMs) return client;
    if (left === 1) expect(busyMs).toBeLessThan(boundMs);
    client.socket.destroy();
  }
}

/** Writes the same bytes again and again until it is sent away, at most so often. */
async function flood(client: RawClient, bytes: Buffer, times: number): Promise<void> {
  for (let i = 0; i < times && !client.socket.destroyed; i++) await client.send(bytes);
}

async function expectSentAway(client: RawClient): Promise<void> {
  await client.closed;
  expect(client.socket.destroyed).toBe(true);
}

const repeat = (bytes: Buffer, times: number) => Buffer.concat(Array.from({ length: times }, () => bytes));
const ping = frame(FRAME.ping, 0, 0, Buffer.alloc(8));

test("F26 a rapid reset of 10,000 streams is cut off, and the others go on", async () => {
  const client = await attack(async (attacker) => {
    for (let first = 0; first < 10_000 && !attacker.socket.destroyed; first += 100) {
      const pairs = Array.from({ length: 100 }, (_, i) => {
        const stream = 2 * (first + i) + 1;
        return [
          frame(FRAME.headers, FLAG.endHeaders, stream, grpcHeaders(GET)),
          frame(FRAME.reset, 0, stream, uint32(8)),
        ];
      });
      await attacker.send(Buffer.concat(pairs.flat()));
    }
  });
  // With GOAWAY, which one that is still writing may not get to read.
  await expectSentAway(client);
});

test("F26 streams that make the server reset them count as invalid frames", async () => {
  const client = await attack(async (attacker) => {
    for (let i = 0; i < 10_000 && !attacker.socket.destroyed; i++) {
      const stream = 2 * i + 1;
      await attacker.send(
        Buffer.concat([
          frame(FRAME.headers, FLAG.endHeaders, stream, grpcHeaders(GET)),
          // A window that grows by nothing is an error of the stream (RFC 9113 §6.9).
          frame(FRAME.windowUpdate, 0, stream, uint32(0)),
        ]),
      );
    }
  });
  await expectSentAway(client);
});

test.each([
  ["with fields", (i: number) => field(`x-${i}`, "y".repeat(100))],
  ["empty", () => Buffer.alloc(0)],
])("F26 a CONTINUATION flood, %s, is cut off", async (_name, payload) => {
  const client = await attack(async (attacker) => {
    await attacker.send(frame(FRAME.headers, 0, 1, grpcHeaders(GET)));
    for (let i = 0; i < 10_000 && !attacker.socket.destroyed; i++) {
      await attacker.send(frame(FRAME.continuation, 0, 1, payload(i)));
    }
  });
  await expectSentAway(client);
});

test.each([
  ["PING", ping],
  ["SETTINGS", settings([0x3, 100])],
  // Without the stream's end each is legal and says nothing.
  ["empty DATA", frame(FRAME.data, 0, 1)],
])("F26 a %s flood ends with GOAWAY", async (_name, bytes) => {
  const client = await attack(async (attacker) => {
    await attacker.send(frame(FRAME.headers, FLAG.endHeaders, 1, grpcHeaders(GET)));
    await flood(attacker, repeat(bytes, 500), 200);
  });
  await expectSentAway(client);
  // Whoever still writes may find the connection reset before he has read why.
  expect(goAwayCode(client) ?? CALM_DOWN).toBeGreaterThan(0);
});

test("F26 a PING flood at a pace that is answered in time is told to calm down", async () => {
  const client = await attack(async (attacker) => {
    for (let i = 0; i < 200 && !attacker.socket.destroyed; i++) {
      await attacker.send(repeat(ping, 100));
      const acks = () => attacker.frames.filter(({ type }) => type === FRAME.ping).length;
      await until(() => acks() >= 100 * (i + 1) || attacker.socket.destroyed);
    }
  });
  await expectSentAway(client);
  expect(goAwayCode(client)).toBe(CALM_DOWN);
});

test("F26 a PING flood whose answers nobody reads is cut off", async () => {
  const client = await attack(async (attacker) => {
    attacker.socket.pause();
    const flooding = flood(attacker, repeat(ping, 500), 2_000);
    await Promise.race([flooding, attacker.closed]);
    attacker.socket.resume();
  });
  await expectSentAway(client);
});

test("F26 an HPACK bomb never becomes headers: each of its streams is refused", async () => {
  // 10,000 references, one byte each, to a field of 3.9 KB: 39 MB a call.
  const bomb = grpcHeaders(GET, Buffer.concat(Array.from({ length: 10_000 }, () => indexedField(62))));
  const client = await attack(async (attacker) => {
    const seed = grpcHeaders(GET, field("x-bomb", "z".repeat(3_900), true));
    await attacker.send(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, seed));
    for (let stream = 3; stream < 200 && !attacker.socket.destroyed; stream += 2) {
      await attacker.send(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, stream, bomb));
    }
    const refused = () => attacker.frames.filter(({ type }) => type === FRAME.reset).length;
    await until(() => refused() >= 98 || attacker.socket.destroyed);
  });
  const answered = client.frames.filter(({ type, stream }) => type === FRAME.headers && stream > 1);
  expect(answered).toEqual([]);
  client.socket.destroy();
});

test("F26 headers are taken up to 16 KiB, and not above", async () => {
  // One that is taken waits for its message, one that is refused is answered.
  const isTaken = async (bytes: number) => {
    const client = await openHttp2(port);
    const more = [field("x-a", "a".repeat(bytes / 2)), field("x-b", "b".repeat(bytes / 2))] as const;
    await client.send(
      Buffer.concat([
        frame(FRAME.headers, 0, 1, grpcHeaders(GET, more[0])),
        frame(FRAME.continuation, FLAG.endHeaders, 1, more[1]),
        ping,
      ]),
    );
    // Once more, as the first may come back before the call was looked at.
    await until(() => client.frames.some(({ type }) => type === FRAME.ping));
    await client.send(ping);
    await until(() => client.frames.filter(({ type }) => type === FRAME.ping).length === 2);
    client.socket.destroy();
    return client.frames.every(({ stream }) => stream === 0);
  };
  // Around them are some 500 bytes more.
  expect(await isTaken(15_800)).toBe(true);
  expect(await isTaken(16_384)).toBe(false);
});

test("F26 no more than 128 calls at once on one connection", async () => {
  const { prediction } = await heldPrediction();
  const watch = toBinary(
    WatchPredictionRequestSchema,
    create(WatchPredictionRequestSchema, { id: prediction.id }),
  );
  const client = await openHttp2(port);
  for (let i = 0; i < STREAMS_MAX + 10; i++)
    await client.send(grpcCall(2 * i + 1, `${SERVICE}/WatchPrediction`, watch));
  const streamsOf = (wanted: number) =>
    new Set(client.frames.filter(({ type }) => type === wanted).map(({ stream }) => stream));
  await until(() => streamsOf(FRAME.headers).size >= STREAMS_MAX && streamsOf(FRAME.reset).size >= 10);
  expect(streamsOf(FRAME.headers).size).toBe(STREAMS_MAX);
  client.socket.destroy();
  prediction.release();
});

test("F26 a client that never opens its window is cut off from each answer, and holds no memory", async () => {
  const client = await attack(
    async (attacker) => {
      // Lists of models are some KB each.
      for (let i = 0; i < 100; i++) {
        await attacker.send(grpcCall(2 * i + 1, "/auspex.v1.ModelService/ListModels", Buffer.alloc(0)));
      }
      const resets = () => attacker.frames.filter(({ type }) => type === FRAME.reset);
      await until(() => resets().length >= 100 || attacker.socket.destroyed);
    },
    [SETTING.initialWindow, 0],
  );
  expect(client.dataBytes).toBe(0);
  const codes = client.frames
    .filter(({ type }) => type === FRAME.reset)
    .map(({ payload }) => payload.readUInt32BE());
  expect(new Set(codes)).toEqual(new Set([CALM_DOWN]));
  client.socket.destroy();
});

const IDLE_CONNECTIONS = 4_000;

test(`F26 ${IDLE_CONNECTIONS} idle connections cost little, do not hinder the others, and are closed`, async () => {
  const before = residentBytes(server.process.pid ?? 0);
  const others = bystander();
  const quietMs = await others.quiet();
  const clients: RawClient[] = [];
  const busyMs = await others.during(
    (async () => {
      while (clients.length < IDLE_CONNECTIONS) {
        clients.push(...(await Promise.all(Array.from({ length: 100 }, () => openHttp2(port)))));
      }
    })(),
  );
  expect(busyMs).toBeLessThan(2 * quietMs + 250);
  expect(residentBytes(server.process.pid ?? 0) - before).toBeLessThan(IDLE_CONNECTIONS * 64 * 1024);
  await Promise.all(clients.map(({ closed }) => closed));
  // Told that nothing was wrong with it.
  expect(goAwayCode(clients[0] as RawClient)).toBe(0);
  expect(await others.quiet()).toBeLessThan(2 * quietMs + 250);
});

/** One that stays as it is until it is released: its worker is stopped. */
async function heldPrediction() {
  const workers = childrenOf(server.process.pid ?? 0);
  suspend(workers);
  const request = create(CreatePredictionRequestSchema, { model: "auspex/mobilenet-tiny" });
  const client = clientOf(server, "grpc", PredictionService);
  const { prediction } = await client.createPrediction({
    ...request,
    input: { image: "data:image/png;base64,AAAA" },
  });
  return { prediction: { id: prediction?.id ?? "", release: () => resume(workers) } };
}
