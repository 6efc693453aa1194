/** Row F18: callers that cancel or vanish, while queued and while running. */
import { readFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, photograph, startServer, type TestServer, until } from "../harness.ts";
import { childrenOf, resume, suspend } from "../processes.ts";

const MODEL = "auspex/mobilenet-tiny";
let server: TestServer;
let image: Uint8Array<ArrayBuffer>;

beforeEach(async () => {
  server = await startServer({ settings: { WORKERS: "1" } });
  image = new Uint8Array(await readFile(photograph("zebra")));
});
afterEach(() => server?.[Symbol.asyncDispose]());

async function metrics(): Promise<{ queued: number; running: number; unfinished: number }> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const read = (name: string) => Number(text.match(new RegExp(`^${name} (\\d+)`, "m"))?.[1]);
  return {
    queued: read("auspex_engine_queued"),
    running: read("auspex_engine_running"),
    unfinished: read("auspex_predictions_unfinished"),
  };
}

function hold(): () => void {
  const pids = childrenOf(server.process.pid ?? 0);
  suspend(pids);
  return () => resume(pids);
}

test.each(DOORS)(
  "F18 a caller over %s that leaves frees its place, and nothing of it is written",
  async (door) => {
    const release = hold();
    const client = clientOf(server, door, PredictionService);
    const leaving = new AbortController();
    const calls = Array.from({ length: 40 }, () =>
      client
        .createPrediction(
          { model: MODEL, files: { image }, wait: { seconds: 60n } },
          { signal: leaving.signal },
        )
        .catch((thrown: unknown) => ConnectError.from(thrown)),
    );
    await until(async () => (await metrics()).queued > 0);
    leaving.abort();
    for (const outcome of await Promise.all(calls)) {
      expect(outcome).toBeInstanceOf(ConnectError);
      expect((outcome as ConnectError).code).toBe(Code.Canceled);
    }
    await until(async () => (await metrics()).queued === 0);
    release();
    await until(async () => (await metrics()).running === 0);
    // The batcher is not wedged, and those that left are nowhere.
    const { prediction } = await client.createPrediction({
      model: MODEL,
      files: { image },
      wait: { seconds: 30n },
    });
    expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
    const { predictions } = await client.listPredictions({});
    expect(predictions.map(({ id }) => id)).toEqual([prediction?.id]);
  },
);

test("F18 a REST caller that closes its socket is a caller that left", async () => {
  const release = hold();
  const body = JSON.stringify({
    input: { image: `data:image/jpeg;base64,${Buffer.from(image).toString("base64")}` },
  });
  const socket = createConnection(Number(new URL(server.url).port), "127.0.0.1");
  socket.write(
    `POST /v1/models/${MODEL}/predictions HTTP/1.1\r\nhost: localhost\r\nprefer: wait=60\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await until(async () => (await metrics()).queued + (await metrics()).running > 0);
  socket.destroy();
  release();
  await until(async () => (await metrics()).running === 0);
  const { predictions } = await clientOf(server, "grpc", PredictionService).listPredictions({});
  expect(predictions).toEqual([]);
});

test("F18 canceling: a queued one never runs, a running one's result is dropped, a watcher is told", async () => {
  const release = hold();
  const client = clientOf(server, "grpc", PredictionService);
  const ids: string[] = [];
  for (let i = 0; i < 60; i++) {
    ids.push((await client.createPrediction({ model: MODEL, files: { image } })).prediction?.id ?? "");
  }
  const watched = (async () => {
    const states: (PredictionStatus | undefined)[] = [];
    for await (const { prediction } of client.watchPrediction({ id: ids[0] ?? "" }))
      states.push(prediction?.status);
    return states;
  })();
  await Promise.all(ids.map((id) => client.cancelPrediction({ id })));
  expect((await watched).at(-1)).toBe(PredictionStatus.CANCELED);
  expect((await metrics()).unfinished).toBe(0);
  release();
  await until(async () => {
    const { queued, running } = await metrics();
    return queued + running === 0;
  });
  for (const id of ids) {
    const { prediction } = await client.getPrediction({ id });
    expect(prediction?.status).toBe(PredictionStatus.CANCELED);
    expect(prediction?.output).toBeUndefined();
  }
  const { prediction } = await client.createPrediction({
    model: MODEL,
    files: { image },
    wait: { seconds: 30n },
  });
  expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
});
