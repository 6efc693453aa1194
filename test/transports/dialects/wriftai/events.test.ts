/** Watching a prediction as server-sent events: the stream alone, then over real sockets. */
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  type Prediction,
  PredictionSchema,
  PredictionStatus,
} from "../../../../gen/auspex/v1/prediction_pb.ts";
import { AuspexError } from "../../../../src/domain/error.ts";
import { openEvents } from "../../../../src/transports/dialects/wriftai/events.ts";

import { predictionId } from "./memory-services.ts";
import { ask, listen, serve, UUID_V4 } from "./served.ts";

const ID = predictionId(1);

const state = (revision: number) =>
  create(PredictionSchema, { id: "x", model: "a/b", revision, status: PredictionStatus.STARTED });

it("beats while nothing happens", async () => {
  const end = Promise.withResolvers<void>();
  async function* states(): AsyncGenerator<Prediction> {
    yield state(1);
    await end.promise;
  }
  const stream = await openEvents(states(), 5);
  const seen: string[] = [];
  for await (const frame of stream ?? []) {
    seen.push(String(frame));
    if (seen.filter((text) => text === ": heartbeat\n\n").length === 3) end.resolve();
  }
  expect(seen[0]).toBe(": open\n\n");
  expect(seen[1]).toMatch(/^event: prediction\nid: 1\ndata: \{.*\}\n\n$/);
  expect(seen.slice(2).every((text) => text === ": heartbeat\n\n")).toBe(true);
});

it("lets go of the watch when its reader is gone before it read anything", async () => {
  const released = Promise.withResolvers<string>();
  async function* states(): AsyncGenerator<Prediction> {
    try {
      yield state(1);
    } finally {
      released.resolve("released");
    }
  }
  const stream = await openEvents(states());
  stream?.destroy();
  expect(await Promise.race([released.promise, delay(10_000, "held")])).toBe("released");
});

it("asks for no state that its reader has not made room for, and lets go of the watch", async () => {
  let asked = 0;
  let released = false;
  async function* states(): AsyncGenerator<Prediction> {
    try {
      for (;;) yield state(++asked);
    } finally {
      released = true;
    }
  }
  const stream = await openEvents(states());
  stream?.read();
  await expect.poll(() => stream?.readableLength).toBe(1);
  await delay(0);
  expect(asked).toBeLessThan(4);
  stream?.destroy();
  await expect.poll(() => released).toBe(true);
});

it("passes on what refuses the watch, and ends when it breaks later", async () => {
  // biome-ignore lint/correctness/useYield: it refuses before its first state
  async function* refused(): AsyncGenerator<Prediction> {
    throw new AuspexError("not_found", "no");
  }
  await expect(openEvents(refused())).rejects.toThrow("no");
  async function* broken(): AsyncGenerator<Prediction> {
    yield state(1);
    throw new AuspexError("unavailable", "stopping");
  }
  const frames: string[] = [];
  for await (const frame of (await openEvents(broken())) ?? []) frames.push(String(frame));
  expect(frames.at(-1)).toBe(": interrupted, unavailable\n\n");
});

describe("events", () => {
  /** Reads until the text holds so many events. */
  async function readEvents(reader: ReadableStreamDefaultReader<Uint8Array>, count: number) {
    const decoder = new TextDecoder();
    let text = "";
    while (text.split("event: ").length <= count) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    return text;
  }

  const parse = (text: string) =>
    [...text.matchAll(/^event: ([^\n]*)\nid: ([^\n]*)\ndata: ([^\n]*)\n\n/gm)].map(
      ([, event, id, data = ""]) => ({
        event,
        id,
        status: JSON.parse(data).status,
      }),
    );

  it("tell every change and end after the last", async () => {
    const services = serve();
    services.put({});
    const response = await fetch(`${await listen()}/predictions/${ID}/events`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("cache-control")).toBe("no-cache");
    expect(response.headers.get("x-request-id")).toMatch(UUID_V4);
    const reader = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    let text = await readEvents(reader, 1);
    services.change(ID, { status: PredictionStatus.STARTED });
    text += await readEvents(reader, 1);
    services.change(ID, { status: PredictionStatus.SUCCEEDED, output: { text: "a\nb\u2028" } });
    text += await readEvents(reader, 99);
    expect(parse(text)).toEqual([
      { event: "prediction", id: "1", status: "pending" },
      { event: "prediction", id: "2", status: "started" },
      { event: "prediction", id: "3", status: "succeeded" },
    ]);
    const [, data] = /data: ([^\n]*)\n\n$/.exec(text) ?? [];
    expect(data).toBe((await ask("GET", `/predictions/${ID}`)).body);
  });

  it("resume after Last-Event-ID", async () => {
    const services = serve();
    services.put({ revision: 4, status: PredictionStatus.STARTED });
    services.change(ID, { status: PredictionStatus.SUCCEEDED });
    const path = `/predictions/${ID}/events`;
    const at = async (id: string) => ask("GET", path, { headers: { "last-event-id": id } });
    expect(parse((await at("4")).body)).toEqual([{ event: "prediction", id: "5", status: "succeeded" }]);
    // 204 stops a browser from connecting again and again.
    expect((await at("5")).statusCode).toBe(204);
    expect(parse((await at("")).body)).toHaveLength(1);
    expect((await at("x")).json().detail[0].loc).toEqual(["header", "last-event-id"]);
    expect((await at("-1")).statusCode).toBe(422);
    expect((await at(String(2 ** 32))).statusCode).toBe(422);
  });

  it("open at once when a resumed stream has nothing to tell, and end with their reader", async () => {
    const services = serve();
    services.put({});
    const abort = new AbortController();
    const response = await fetch(`${await listen()}/predictions/${ID}/events`, {
      headers: { "last-event-id": "1" },
      signal: abort.signal,
    });
    expect(response.status).toBe(200);
    abort.abort();
    await expect.poll(() => services.calls[0]?.signal.aborted).toBe(true);
  });

  it("cost a reader that does not read a bounded amount", async () => {
    const services = serve();
    services.put({});
    const base = await listen();
    const socket = connect(Number(new URL(base).port), "127.0.0.1");
    // Nothing reads from it before the loop at the end.
    socket.write(`GET /v1/predictions/${ID}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    await expect.poll(() => services.calls.length).toBe(1);
    // 64 changes of 1 MiB each: far more than sockets hold.
    const output = { text: "x".repeat(1024 ** 2) };
    for (let i = 0; i < 64; i++) {
      services.change(ID, {
        status: i === 63 ? PredictionStatus.SUCCEEDED : PredictionStatus.STARTED,
        output,
        input: output,
      });
      await new Promise(setImmediate);
    }
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk);
    const received = Buffer.concat(chunks).toString();
    const ids = [...received.matchAll(/^id: ([0-9]+)$/gm)].map(([, id]) => Number(id));
    // It missed states in between, never the last one, and what it got rises.
    expect(ids.at(-1)).toBe(65);
    expect(ids.length).toBeLessThan(64);
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
  });
});
