/** Row F29: model files that are broken, on disk and over the wire; the old version serves on. */
import { cp, mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ModelService, ModelVersionState } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../gen/auspex/v1/tensor_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { writeMlp } from "../models/mlp.ts";

const MODEL = "local/mlp";
const tensors = {
  x: { dtype: DataType.FLOAT32, shape: [1, 64], data: new Uint8Array(new Float32Array(64).fill(0.5).buffer) },
};
let folder: string;
let models: string;
let good: string;
let server: TestServer;
let next = 2;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-models-"));
  models = join(folder, "models");
  good = join(folder, "good");
  await writeMlp(good);
  await cp(good, join(models, MODEL, "1"), { recursive: true });
  server = await startServer({ settings: { MODELS_DIR: models, CATALOGUE: "0" } });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const predict = (model: string) =>
  clientOf(server, "grpc", PredictionService).createPrediction({ model, tensors, wait: { seconds: 30n } });

async function weightsOf(version: string): Promise<string> {
  const { weightsManifest } = JSON.parse(await readFile(join(version, "model.json"), "utf8"));
  return join(version, weightsManifest[0].paths[0]);
}

const BREAKS: Record<string, (version: string) => Promise<void>> = {
  "a truncated shard": async (version) => truncate(await weightsOf(version), 1000),
  "a missing shard": async (version) => rm(await weightsOf(version)),
  "a shard whose bits were flipped": async (version) => {
    const path = await weightsOf(version);
    const bytes = await readFile(path);
    // Every weight becomes NaN or huge: what a flipped exponent does, seen by the warm-up.
    await writeFile(path, bytes.fill(0xff));
  },
  "a model.json that is cut": async (version) => truncate(join(version, "model.json"), 200),
  "a wrong type of weights": async (version) => {
    const path = join(version, "model.json");
    await writeFile(path, (await readFile(path, "utf8")).replaceAll('"float32"', '"int32"'));
  },
  "an auspex.json that is not JSON": async (version) => writeFile(join(version, "auspex.json"), "{"),
};

test.each(Object.entries(BREAKS))(
  "F29 %s: the version fails with its reason, the old one serves",
  async (_name, damage) => {
    const version = next++;
    const staged = join(folder, `staged-${version}`);
    await cp(good, staged, { recursive: true });
    await damage(staged);
    await rename(staged, join(models, MODEL, String(version)));
    const client = clientOf(server, "grpc", ModelService);
    const failed = await until(async () => {
      const { versions } = await client.listModelVersions({ model: MODEL });
      return versions.find((v) => v.version === version && v.state !== ModelVersionState.LOADING);
    });
    expect(failed.state).toBe(ModelVersionState.FAILED);
    expect(failed.failure).not.toBe("");
    const { prediction } = await predict(MODEL);
    expect(prediction).toMatchObject({ version: 1, status: PredictionStatus.SUCCEEDED });
    await expect(predict(`${MODEL}:${version}`)).rejects.toThrow(/not ready/);
  },
);

test("F29 a version published over the wire serves when it is good, and only then", async () => {
  const client = clientOf(server, "connect", ModelService);
  const weights = await weightsOf(good);
  const files = Object.fromEntries(
    await Promise.all(
      ["auspex.json", "model.json", weights.slice(good.length + 1)].map(
        async (name) => [name, new Uint8Array(await readFile(join(good, name)))] as const,
      ),
    ),
  );
  const bad = { ...files, [weights.slice(good.length + 1)]: new Uint8Array(10) };
  const { version: failed } = await client.publishModelVersion({ model: MODEL, files: bad });
  expect(failed?.state).toBe(ModelVersionState.FAILED);
  expect((await predict(MODEL)).prediction?.version).toBe(1);
  const { version } = await client.publishModelVersion({ model: MODEL, files });
  expect(version?.state, version?.failure).toBe(ModelVersionState.READY);
  expect((await predict(MODEL)).prediction?.version).toBe(version?.version);
});
