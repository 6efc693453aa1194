/** The server dies under load; whatever it had answered comes to one end all the same. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { type Prediction, PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { writeMlp } from "../models/mlp.ts";
import { childrenOf, resume, suspend } from "../processes.ts";

const CREATES = 2000;
const IN_FLIGHT = 64;
const MODEL = "local/slow";

/** 64 floats that differ for every index. */
function inputOf(index: number) {
  const values = Float32Array.from({ length: 64 }, (_, i) => Math.sin(index * 64 + i));
  return { x: { dtype: DataType.FLOAT32, shape: [1, 64], data: new Uint8Array(values.buffer) } };
}

async function modelsFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "auspex-models-"));
  // Wide enough that predictions pile up behind it.
  await writeMlp(join(folder, MODEL, "1"), { sizes: [64, 2048, 2048, 2048, 10] });
  return folder;
}

async function allEnded(server: TestServer, ids: Iterable<string>): Promise<Map<string, Prediction>> {
  const client = clientOf(server, "grpc", PredictionService);
  const ended = new Map<string, Prediction>();
  const open = new Set(ids);
  const worker = async () => {
    for (const id of open) {
      open.delete(id);
      for await (const { prediction } of client.watchPrediction({ id }))
        if (prediction) ended.set(id, prediction);
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  return ended;
}

test("kill -9 under load: what was answered ends once, within 15 s of the restart, as if nothing had happened", async () => {
  const models = await modelsFolder();
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-kill-"));
  const settings = { MODELS_DIR: models, CATALOGUE: "0", WORKERS: "1", BATCH_MAX: "4", LEASE: "2s" };
  try {
    const answered = new Map<number, string>();
    const first = await startServer({ dataDir, settings });
    const client = clientOf(first, "grpc", PredictionService);
    let next = 0;
    let killed = false;
    const load = Array.from({ length: IN_FLIGHT }, async () => {
      while (next < CREATES && !killed) {
        const index = next++;
        try {
          const { prediction } = await client.createPrediction({ model: MODEL, tensors: inputOf(index) });
          if (prediction) answered.set(index, prediction.id);
        } catch {
          // Not answered: nothing was promised.
        }
      }
    });
    await until(() => answered.size >= 800);
    // On a busy machine the worker may be as fast as the callers: from here on it has no turn, and work piles up.
    const workers = childrenOf(first.process.pid ?? 0);
    suspend(workers);
    await until(() => answered.size >= 1000);
    const arriving = next < CREATES;
    await first.kill();
    resume(workers);
    killed = true;
    await Promise.all(load);
    expect(arriving).toBe(true);
    expect(answered.size).toBeGreaterThanOrEqual(500);

    const database = new DatabaseSync(join(dataDir, "auspex.db"), { readOnly: true });
    const unfinished = database
      .prepare("SELECT count(*) AS n FROM prediction WHERE status IN ('pending', 'started')")
      .get() as { n: number };
    database.close();
    expect(unfinished.n).toBeGreaterThanOrEqual(100);

    await using second = await startServer({ dataDir, settings });
    const restarted = performance.now();
    const ended = await allEnded(second, answered.values());
    const recovery = performance.now() - restarted;
    expect(recovery).toBeLessThan(15_000);
    expect(ended.size).toBe(answered.size);

    // A run that was not killed, over the same inputs.
    const again = clientOf(second, "grpc", PredictionService);
    const rest = [...answered];
    const compare = async () => {
      for (let pair = rest.pop(); pair; pair = rest.pop()) {
        const [index, id] = pair;
        const { prediction } = await again.createPrediction({
          model: MODEL,
          tensors: inputOf(index),
          wait: { seconds: 30n },
        });
        expect(ended.get(id)?.outputTensors).toEqual(prediction?.outputTensors);
      }
    };
    await Promise.all(Array.from({ length: 16 }, compare));
    for (const [id, prediction] of ended) {
      expect(prediction.status, prediction.error?.message).toBe(PredictionStatus.SUCCEEDED);
      // Revision 1 is the creation, each attempt adds one, and so does the one settle.
      expect(prediction.revision).toBe(prediction.attempt + 2);
      expect((await again.getPrediction({ id })).prediction).toEqual(prediction);
    }
    console.log(
      `${answered.size} answered, ${unfinished.n} unfinished at the kill, all ended ${Math.round(recovery)} ms after the restart`,
    );
  } finally {
    await rm(models, { recursive: true, force: true });
    await rm(dataDir, { recursive: true, force: true });
  }
}, 180_000);
