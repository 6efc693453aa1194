/** Rows F1 to F3: processes that are killed, the server's own and a worker's. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  CreatePredictionRequestSchema,
  PredictionService,
  PredictionStatus,
} from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { writeMlp } from "../models/mlp.ts";
import { childrenOf, isAlive, resume, suspend } from "../processes.ts";

const MODEL = "local/mlp";
const tensors = {
  x: { dtype: DataType.FLOAT32, shape: [1, 64], data: new Uint8Array(new Float32Array(64).fill(0.5).buffer) },
};
let models: string;
let dataDir: string;
let settings: Record<string, string>;

beforeEach(async () => {
  models = await mkdtemp(join(tmpdir(), "auspex-models-"));
  dataDir = await mkdtemp(join(tmpdir(), "auspex-crash-"));
  await writeMlp(join(models, MODEL, "1"));
  settings = { MODELS_DIR: models, CATALOGUE: "0", LEASE: "2s" };
});
afterEach(async () => {
  await rm(models, { recursive: true, force: true });
  await rm(dataDir, { recursive: true, force: true });
});

const workersOf = (server: TestServer) => childrenOf(server.process.pid ?? 0);

/** Kills the server within microseconds of a commit: a thread of our own watches the database and nothing else. */
async function killAtFirstCommit(server: TestServer): Promise<void> {
  const watch = `
    const { workerData } = require("node:worker_threads");
    const { DatabaseSync } = require("node:sqlite");
    const rows = new DatabaseSync(workerData.file, { readOnly: true }).prepare("SELECT 1 FROM prediction LIMIT 1");
    while (rows.get() === undefined);
    process.kill(workerData.pid, "SIGKILL");`;
  const workerData = { file: join(server.dataDir, "auspex.db"), pid: server.process.pid };
  await once(new Worker(watch, { eval: true, workerData }), "exit");
}

test("F1 killed between commit and reply: the retry with the same request id finds the prediction, which ran once", async () => {
  const requestIds = Array.from({ length: 200 }, (_, i) => `request-${i}`);
  const first = await startServer({ dataDir, settings });
  const client = clientOf(first, "grpc", PredictionService);
  const answered = new Map<string, string>();
  const calls = requestIds.map(async (requestId) => {
    const { prediction } = await client.createPrediction({ model: MODEL, tensors, requestId });
    if (prediction) answered.set(requestId, prediction.id);
  });
  await killAtFirstCommit(first);
  await Promise.allSettled(calls);
  await first.kill();

  const database = new DatabaseSync(join(dataDir, "auspex.db"));
  const rows = database.prepare("SELECT id, request_id FROM prediction").all() as {
    id: string;
    request_id: string;
  }[];
  database.close();
  const committed = new Map(rows.map(({ id, request_id }) => [request_id, id]));
  for (const [requestId, id] of answered) expect(committed.get(requestId)).toBe(id);
  // What this test is about: durable, and the client does not know.
  expect(committed.size).toBeGreaterThan(answered.size);

  await using second = await startServer({ dataDir, settings });
  const again = clientOf(second, "grpc", PredictionService);
  const results = await Promise.all(
    requestIds.map((requestId) =>
      again.createPrediction({ model: MODEL, tensors, requestId, wait: { seconds: 30n } }),
    ),
  );
  const ids = results.map(({ prediction }) => prediction?.id ?? "");
  expect(new Set(ids).size).toBe(requestIds.length);
  for (const [index, { prediction }] of results.entries()) {
    const before = committed.get(requestIds[index] ?? "");
    if (before !== undefined) expect(prediction?.id).toBe(before);
    expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
    expect(prediction?.revision).toBe((prediction?.attempt ?? 0) + 2);
  }
});

/** The client library that most services use; answers the error that it shows, if any. */
function createOverGrpcJs(
  server: TestServer,
  request: MessageInitShape<typeof CreatePredictionRequestSchema>,
): Promise<ServiceError | undefined> {
  const client = new Client(new URL(server.grpcUrl).host, credentials.createInsecure());
  const body = Buffer.from(
    toBinary(CreatePredictionRequestSchema, create(CreatePredictionRequestSchema, request)),
  );
  const same = (bytes: Buffer) => bytes;
  return new Promise((resolve) => {
    client.makeUnaryRequest("/auspex.v1.PredictionService/CreatePrediction", same, same, body, (error) => {
      client.close();
      resolve(error ?? undefined);
    });
  });
}

test("F2 killed during a call that waits: the caller knows within a second, and nothing is recorded as a success", async () => {
  const first = await startServer({ dataDir, settings });
  const workers = workersOf(first);
  expect(workers.length).toBeGreaterThan(0);
  // A worker that stands still keeps the call in flight.
  suspend(workers);
  const call = createOverGrpcJs(first, { model: MODEL, tensors, wait: { seconds: 60n } });
  const metric = async (name: string) =>
    Number(
      (await (await fetch(`${first.url}/metrics`)).text()).match(new RegExp(`^${name} (\\d+)`, "m"))?.[1],
    );
  await until(
    async () => (await metric("auspex_engine_running")) + (await metric("auspex_engine_queued")) > 0,
  );
  const killed = performance.now();
  await first.kill();
  const outcome = await call;
  expect(performance.now() - killed).toBeLessThan(1000);
  expect(outcome?.code).toBe(status.UNAVAILABLE);
  // Its workers do not outlive it.
  resume(workers);
  await until(() => workers.every((pid) => !isAlive(pid)));

  await using second = await startServer({ dataDir, settings });
  const { predictions } = await clientOf(second, "grpc", PredictionService).listPredictions({});
  expect(predictions).toEqual([]);
});

test("F3 a worker killed in the middle of its batch: every item of it is tried again, others go on", async () => {
  await using server = await startServer({ dataDir, settings: { ...settings, WORKERS: "2" } });
  const client = clientOf(server, "grpc", PredictionService);
  await until(async () =>
    (await (await fetch(`${server.url}/metrics`)).text()).includes("auspex_workers_live 2"),
  );
  const workers = workersOf(server);
  // The first one started takes batches; the second is where new versions are tried from then on.
  const [victim] = workers;
  if (victim === undefined) return expect.fail("the server has no workers");
  // Both stand still until each holds a batch.
  suspend(workers);
  const calls = Array.from({ length: 100 }, () => client.createPrediction({ model: MODEL, tensors }));
  const ids = (await Promise.all(calls)).map(({ prediction }) => prediction?.id ?? "");
  const last = async (id: string) => {
    let state: Awaited<ReturnType<typeof client.getPrediction>>["prediction"];
    for await (const message of client.watchPrediction({ id })) state = message.prediction;
    return state;
  };
  const states = ids.map(last);
  await until(async () => {
    const { predictions } = await client.listPredictions({ pageSize: 200 });
    return predictions.every(({ status }) => status === PredictionStatus.STARTED);
  });
  process.kill(victim, "SIGKILL");
  resume(workers.filter((pid) => pid !== victim));
  const ended = await Promise.all(states);
  expect(ended.map((state) => state?.status)).toEqual(ids.map(() => PredictionStatus.SUCCEEDED));
  expect(
    new Set(ended.map((state) => state?.outputTensors.y?.data.join() ?? JSON.stringify(state?.outputTensors)))
      .size,
  ).toBe(1);
  const attempts = ended.map((state) => state?.attempt);
  expect(attempts).toContain(1);
  expect(attempts).toContain(2);
  // The dead one is replaced.
  await until(() => workersOf(server).filter((pid) => pid !== victim).length === workers.length);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
});
