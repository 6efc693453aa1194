/** Row F12: webhook targets that are down, failing or silent. */

import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { writeMlp } from "../models/mlp.ts";

const MODEL = "local/mlp";
const SECRET = `whsec_${Buffer.from("a secret of a webhook receiver.").toString("base64")}`;
const tensors = {
  x: { dtype: DataType.FLOAT32, shape: [1, 64], data: new Uint8Array(new Float32Array(64).fill(0.5).buffer) },
};
let models: string;
let server: TestServer;

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), "auspex-models-"));
  await writeMlp(join(models, MODEL, "1"));
  server = await startServer({
    settings: { MODELS_DIR: models, CATALOGUE: "0", EGRESS_ALLOW: "127.0.0.0/8" },
  });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(models, { recursive: true, force: true });
});

interface Received {
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A listener that keeps what it was sent; `port` 0 takes a free one. */
async function listen(port: number, answer: (count: number) => number | undefined) {
  const received: Received[] = [];
  const handler: RequestListener = async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    received.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
    const status = answer(received.length);
    // undefined: keeps the caller waiting.
    if (status !== undefined) response.writeHead(status).end();
  };
  const listener: Server = createServer(handler).listen(port, "127.0.0.1");
  await once(listener, "listening");
  return {
    port: (listener.address() as AddressInfo).port,
    received,
    async close() {
      listener.closeAllConnections();
      listener.close();
      await once(listener, "close");
    },
  };
}

const statusOf = ({ body }: Received): string => JSON.parse(body).status;

test("F12 a target that is down does not touch the prediction, and gets its events when it is back", async () => {
  const reserved = await listen(0, () => 200);
  await reserved.close();
  const client = clientOf(server, "grpc", PredictionService);
  const began = performance.now();
  const { prediction } = await client.createPrediction({
    model: MODEL,
    tensors,
    wait: { seconds: 30n },
    webhook: { url: `http://127.0.0.1:${reserved.port}/hook`, secret: SECRET },
  });
  expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
  expect(performance.now() - began).toBeLessThan(5000);
  const back = await listen(reserved.port, () => 200);
  try {
    const terminal = await until(() =>
      back.received.find((event) => statusOf(event) === "PREDICTION_STATUS_SUCCEEDED"),
    );
    expect(JSON.parse(terminal.body).id).toBe(prediction?.id);
    expect(() =>
      new Webhook(SECRET).verify(terminal.body, terminal.headers as Record<string, string>),
    ).not.toThrow();
    expect(terminal.headers["webhook-id"]).toBe(`msg_${prediction?.id}_${prediction?.revision}`);
  } finally {
    await back.close();
  }
});

test("F12 a target that fails is tried again under one id, and a silent one holds nobody else back", async () => {
  const failing = await listen(0, (count) => (count <= 2 ? 500 : 200));
  const silent = await listen(0, () => undefined);
  const healthy = await listen(0, () => 200);
  try {
    const client = clientOf(server, "grpc", PredictionService);
    const create = (port: number) =>
      client.createPrediction({
        model: MODEL,
        tensors,
        webhook: { url: `http://127.0.0.1:${port}/`, secret: SECRET },
      });
    await Promise.all(Array.from({ length: 20 }, () => create(silent.port)));
    await create(failing.port);
    await create(healthy.port);
    await until(() => healthy.received.some((event) => statusOf(event) === "PREDICTION_STATUS_SUCCEEDED"));
    const done = await until(() =>
      failing.received.find((event, i) => i >= 2 && statusOf(event) === "PREDICTION_STATUS_SUCCEEDED"),
    );
    const ids = new Set(
      failing.received
        .filter((event) => statusOf(event) === statusOf(done))
        .map(({ headers }) => headers["webhook-id"]),
    );
    expect(ids.size).toBe(1);
    // Cancelling works while a delivery hangs.
    const { prediction } = await create(silent.port);
    await client.cancelPrediction({ id: prediction?.id ?? "" }).catch(() => {});
    const { prediction: after } = await client.getPrediction({ id: prediction?.id ?? "" });
    expect([PredictionStatus.CANCELED, PredictionStatus.SUCCEEDED]).toContain(after?.status);
  } finally {
    await Promise.all([failing.close(), silent.close(), healthy.close()]);
  }
});
