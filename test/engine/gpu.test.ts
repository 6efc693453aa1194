/**
 * A GPU that is not there, or goes. The one here is an imitation in the workers of a real engine; what a real one did
 * is in bench/native-tensorflow/README.md.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { EngineOptions } from "../../src/engine/engine.ts";
import { floats, mlpJob, startEngine, until, workerPids } from "./harness.ts";

const NO_GPU = expect.stringContaining("tfjs-node-gpu: is installed, and TensorFlow found no GPU");

function isLinked(): boolean {
  try {
    createRequire(import.meta.url).resolve("@tensorflow/tfjs-node-gpu/package.json");
    return true;
  } catch {
    return false;
  }
}

const start = (options: Partial<EngineOptions> = {}) =>
  startEngine({ runtime: undefined, workers: 1, ...options });

async function expectPassedOver(): Promise<void> {
  const fixture = await start();
  try {
    const { state } = fixture.engine.models.latest("acme", "mlp") ?? {};
    expect(state).toEqual({ kind: "ready", runtime: "onnxruntime", notes: [NO_GPU] });
  } finally {
    await fixture.stop();
  }
}

afterEach(() => void vi.unstubAllEnvs());

describe("a GPU", () => {
  let folder: string;
  let gpu: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "auspex-gpu-"));
    gpu = join(folder, "gpu");
    await writeFile(gpu, "");
    vi.stubEnv("FAKE_GPU", gpu);
    vi.stubEnv("NODE_OPTIONS", `--import=${new URL("./fake-gpu/register.ts", import.meta.url)}`);
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("F32 that is lost costs nobody the result: its worker is replaced, and what runs the model now is told", async () => {
    const fixture = await start();
    try {
      const { engine } = fixture;
      const state = () => engine.models.latest("acme", "mlp")?.state;
      const before = floats(await engine.run(mlpJob(1)));
      expect(state()).toEqual({ kind: "ready", runtime: "tfjs-node-gpu", notes: [] });
      await rm(gpu);
      const after = floats(await engine.run(mlpJob(1)));
      for (const [i, value] of before.entries()) expect(after[i]).toBeCloseTo(value, 5);
      expect(state()).toEqual({ kind: "ready", runtime: "onnxruntime", notes: [NO_GPU] });
      expect(engine.stats().workerDeaths).toBe(1);
      expect(fixture.log.some((line) => line.includes("its GPU stopped answering"))).toBe(true);
      // And once more workers start where there is one again, that is told, too.
      await writeFile(gpu, "");
      for (const pid of await workerPids()) process.kill(pid, "SIGKILL");
      await until(() => engine.stats().workerDeaths > 1);
      expect(floats(await engine.run(mlpJob(1)))).toHaveLength(10);
      expect(state()).toEqual({ kind: "ready", runtime: "tfjs-node-gpu", notes: [] });
    } finally {
      await fixture.stop();
    }
  });

  it("F32 that is lost fails what is pinned to it, for nothing else may run it", async () => {
    const fixture = await start({ runtime: "tfjs-node-gpu" });
    try {
      const { engine } = fixture;
      expect(floats(await engine.run(mlpJob(1)))).toHaveLength(10);
      await rm(gpu);
      await expect(engine.run(mlpJob(1))).rejects.toMatchObject({ code: "unavailable", message: NO_GPU });
      await expect(engine.run(mlpJob(1))).rejects.toMatchObject({ code: "unavailable", message: NO_GPU });
    } finally {
      await fixture.stop();
    }
  });

  it("F32 that was never there is passed over, with the reason", async () => {
    await rm(gpu);
    await expectPassedOver();
  });
});

describe.skipIf(!isLinked())(
  "the real tfjs-node-gpu, where bench/native-tensorflow/install.ts linked it",
  () => {
    it("is passed over where it sees no GPU", async () => {
      vi.stubEnv("CUDA_VISIBLE_DEVICES", "");
      await expectPassedOver();
    });
  },
);
