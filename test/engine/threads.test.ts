import { existsSync, readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { floats, mlpJob, startEngine, until, workerPids } from "./harness.ts";

/** Threads of the worker that has the model, once it has answered. */
async function threadsOfWorker(threads: number): Promise<number> {
  const fixture = await startEngine({ workers: 1, threads, runtime: "onnxruntime" });
  try {
    const { engine } = fixture;
    expect(engine.models.get("acme", "mlp", 1)?.state).toMatchObject({ runtime: "onnxruntime" });
    await until(() => engine.liveWorkers() === 1);
    expect(floats(await engine.run(mlpJob(1)))).toHaveLength(10);
    // The first one started tried the model and kept it.
    const [worker] = await workerPids();
    return readdirSync(`/proc/${worker}/task`).length;
  } finally {
    await fixture.stop();
  }
}

it.runIf(existsSync("/proc/self/task"))(
  "ONNX Runtime has as many threads as a worker was given",
  async () => {
    const one = await threadsOfWorker(1);
    expect((await threadsOfWorker(3)) - one).toBe(2);
  },
);
