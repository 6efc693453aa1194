/** More than can be served in time: who is refused, who is queued, and that those who are taken are served. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { clientOf, startServer, until } from "../harness.ts";
import { writeMlp } from "../models/mlp.ts";
import { childrenOf, resume, suspend } from "../processes.ts";

const MODEL = "test/mlp";
const TENSORS = { x: { dtype: DataType.FLOAT32, shape: [1, 64], data: new Uint8Array(4 * 64) } };
const WAIT = { seconds: 60n };
const CROWD = 400;

/** A server that knows how long its one model takes. */
async function startScene(settings: Readonly<Record<string, string>>) {
  await using begun = new AsyncDisposableStack();
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-test-"));
  begun.defer(() => rm(modelsDir, { recursive: true, force: true }));
  await writeMlp(join(modelsDir, MODEL, "1"), { sizes: [64, 2048, 2048, 10], manifest: { batchMax: 1 } });
  const server = begun.use(
    // The client has one connection.
    await startServer({
      settings: { MODELS_DIR: modelsDir, CATALOGUE: "0", MAX_STREAMS: "1000", ...settings },
    }),
  );
  const client = clientOf(server, "grpc", PredictionService);
  for (let i = 0; i < 10; i++) {
    await client.createPrediction({ model: MODEL, tensors: TENSORS, wait: WAIT });
  }
  const workers = childrenOf(server.process.pid ?? 0);
  const held = begun.move();
  return {
    client,
    stop: () => suspend(workers),
    resume: () => resume(workers),
    /** As many creates that wait as would take the model a while. */
    crowd() {
      const refusals: ConnectError[] = [];
      const statuses = Array.from({ length: CROWD }, async () => {
        try {
          const { prediction } = await client.createPrediction({
            model: MODEL,
            tensors: TENSORS,
            wait: WAIT,
          });
          return prediction?.status;
        } catch (error) {
          refusals.push(ConnectError.from(error));
          return "refused";
        }
      });
      return { refusals, statuses: Promise.all(statuses) };
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

test("with QUEUE_DELAY creates that would wait for longer are refused; those whose result is fetched later are queued", async () => {
  await using scene = await startScene({ QUEUE_DELAY: "20ms" });
  const { client } = scene;
  scene.stop();
  const { refusals, statuses } = scene.crowd();
  await until(() => refusals.length > 0);
  for (const refusal of refusals) expect(refusal.code).toBe(Code.ResourceExhausted);
  const [retry] = refusals[0]?.findDetails(RetryInfoSchema) ?? [];
  expect(retry?.retryDelay?.nanos).toBeGreaterThan(0);
  const queued = await Promise.all([
    client.createPrediction({ model: MODEL, tensors: TENSORS }),
    client.createPrediction({ model: MODEL, tensors: TENSORS, requestId: "x", wait: { nanos: 1_000_000 } }),
  ]);
  for (const { prediction } of queued) expect(prediction?.status).toBeLessThan(PredictionStatus.SUCCEEDED);
  scene.resume();
  const ended = await statuses;
  const served = ended.filter((status) => status === PredictionStatus.SUCCEEDED).length;
  expect(served).toBeGreaterThan(0);
  expect(served + refusals.length).toBe(CROWD);
  // When the crowd is gone, whoever comes is served as before.
  const { prediction } = await client.createPrediction({ model: MODEL, tensors: TENSORS, wait: WAIT });
  expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
});

test("a call whose deadline would pass in the queue is refused at once; those that have time are served", async () => {
  await using scene = await startScene({});
  const { client } = scene;
  scene.stop();
  const { refusals, statuses } = scene.crowd();
  const code = (timeoutMs: number) =>
    client.createPrediction({ model: MODEL, tensors: TENSORS, wait: WAIT }, { timeoutMs }).then(
      () => undefined,
      (error: unknown) => ConnectError.from(error).code,
    );
  await until(async () => (await code(200)) === Code.ResourceExhausted);
  scene.resume();
  expect(new Set(await statuses)).toEqual(new Set([PredictionStatus.SUCCEEDED]));
  expect(refusals).toEqual([]);
  expect(await code(10_000)).toBeUndefined();
});
