/** Trainings through the real server over gRPC: from pictures to a model that tells new ones apart. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DatasetType, DeletionState } from "../../gen/auspex/v1/dataset_pb.ts";
import { type Training, TrainingStatus } from "../../gen/auspex/v1/training_pb.ts";
import { startServer, type TestServer, until } from "../harness.ts";
import { drawPicture, zipOf, zipOfShapes } from "../pictures.ts";
import {
  predict,
  start,
  succeeded,
  type TrainingClients,
  trainingClients,
  upload,
  watched,
} from "../training-client.ts";

const ALICE = "alice-key-of-the-test-0123456789";
const BOB = "bob-key-of-the-test-0123456789ab";
const NEW_SEED = 1000;

let server: TestServer;
let alice: TrainingClients;
let bob: TrainingClients;

beforeAll(async () => {
  server = await startServer({
    settings: { API_KEYS: `alice:${ALICE},bob:${BOB}`, FEATURE_EXTRACTOR: "auspex/mobilenet-tiny" },
  });
  alice = trainingClients(server, ALICE);
  bob = trainingClients(server, BOB);
});

afterAll(() => server[Symbol.asyncDispose]());

async function refusal(call: Promise<unknown>): Promise<{ code: Code; message: string }> {
  try {
    await call;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    return { code, message: rawMessage };
  }
  throw new Error("the call was not refused");
}

const byModel = (model: string) => ({ by: { case: "model", value: model } }) as const;
const byId = (id: string) => ({ by: { case: "id", value: id } }) as const;
const versionFolder = (model: string, version: number) =>
  join(server.dataDir, "models", model, String(version));

/** Rows of a table that are about these trainings. */
function rows(table: "training" | "epoch", ids: readonly string[]): number {
  const column = table === "epoch" ? "training_id" : "id";
  const database = new DatabaseSync(join(server.dataDir, "auspex.db"), { readOnly: true });
  try {
    const sql = `select count(*) as n from ${table} where ${column} in (${ids.map(() => "?").join()})`;
    return Number(database.prepare(sql).get(...ids)?.n);
  } finally {
    database.close();
  }
}

describe("a zip of two shapes", () => {
  let datasetId: bigint;
  let first: Training;

  beforeAll(async () => {
    const dataset = await upload(alice, await zipOfShapes(["circle", "cross"], 20));
    datasetId = dataset.id;
    const queued = await start(alice, datasetId, { seed: 1, trainSplitRatio: 0.8 });
    expect(queued).toMatchObject({ name: "My Shapes", datasetId, type: DatasetType.IMAGE });
    expect(queued.model).toMatch(/^alice\/my-shapes-\d+$/);
    expect(queued.modelId).toMatch(/^[A-Z2-7]{26}$/);
    const states = await watched(alice, queued.id);
    const revisions = states.map(({ revision }) => revision);
    expect(revisions).toEqual([...new Set(revisions)].toSorted((a, b) => Number(a - b)));
    const shares = states.map(({ progress }) => progress);
    expect(shares).toEqual(shares.toSorted((a, b) => a - b));
    expect(shares.slice(0, -1).every((share) => share < 1)).toBe(true);
    const last = states.at(-1);
    if (!last) throw new Error("the watch ended without a state");
    expect(last, last.failure).toMatchObject({ status: TrainingStatus.SUCCEEDED, progress: 1, version: 1 });
    first = last;
  });

  test("becomes a model that tells new pictures apart, by its name and by its other id", async () => {
    let right = 0;
    for (const shape of ["circle", "cross"] as const) {
      for (let seed = NEW_SEED; seed < NEW_SEED + 10; seed++) {
        const picture = await drawPicture(shape, seed);
        const answer = await predict(alice, first.model, picture);
        expect(answer.map(({ label }) => label).toSorted()).toEqual(["circle", "cross"]);
        expect(answer[0]?.probability).toBeGreaterThanOrEqual(answer[1]?.probability ?? 1);
        if (answer[0]?.label === shape) right++;
        if (seed === NEW_SEED) expect(await predict(alice, first.modelId, picture)).toEqual(answer);
      }
    }
    expect(right).toBeGreaterThanOrEqual(18);
  });

  test("tells its counts, times and metrics", async () => {
    const { training } = await alice.trainings.getTraining(byModel(first.modelId));
    expect(training).toEqual(first);
    expect(first.stats).toMatchObject({ labels: 2, examples: 40, trainExamples: 32, testExamples: 8 });
    expect(first.options?.epochs).toBeGreaterThanOrEqual(first.stats?.epochs ?? 0);
    expect(first.lastEpoch?.epoch).toBe(first.stats?.epochs);
    const { metrics, training: of } = await alice.trainings.getModelMetrics({ model: first.model });
    expect(of).toEqual(first);
    expect(metrics).toEqual(first.lastEpoch?.metrics);
    expect(metrics?.labels).toEqual(["circle", "cross"]);
    const counts = metrics?.confusionMatrix.map((row) => row.counts) ?? [];
    expect(counts.map((row) => row.reduce((sum, count) => sum + count, 0))).toEqual([4, 4]);
    const right = (counts[0]?.[0] ?? 0) + (counts[1]?.[1] ?? 0);
    expect(metrics?.testAccuracy).toBeCloseTo(right / 8);
  });

  test("has a learning curve in pages, with what was said of the held-out examples after its last epoch", async () => {
    const epochs = first.stats?.epochs ?? 0;
    const { points, nextPageToken } = await alice.trainings.listLearningCurve({ model: first.model });
    expect(points.map(({ epoch }) => epoch?.epoch)).toEqual(Array.from({ length: 25 }, (_, i) => i + 1));
    const second = await alice.trainings.listLearningCurve({
      model: first.model,
      pageToken: nextPageToken,
      pageSize: 2,
    });
    expect(second.points.map(({ epoch }) => epoch?.epoch)).toEqual([26, 27]);
    const end = await alice.trainings.listLearningCurve({ model: first.model, skip: epochs - 1 });
    expect(end.nextPageToken).toBe("");
    expect(end.points).toHaveLength(1);
    expect(end.points[0]?.epoch).toEqual(first.lastEpoch);
    expect(points.every(({ results }) => results.length === 0)).toBe(true);
    const results = end.points[0]?.results ?? [];
    expect(results.map(({ expectedLabel }) => expectedLabel).toSorted()).toEqual([
      ...Array(4).fill("circle"),
      ...Array(4).fill("cross"),
    ]);
    const right = results.filter(({ expectedLabel, predictedLabel }) => expectedLabel === predictedLabel);
    expect(right.length / 8).toBeCloseTo(first.lastEpoch?.metrics?.testAccuracy ?? -1);
    expect(results.every(({ exampleName, expectedLabel }) => exampleName.startsWith(expectedLabel))).toBe(
      true,
    );
  });

  test("is nobody else's: its model, training, metrics and watch are unknown to another", async () => {
    const { model, modelId, id } = first;
    const picture = await drawPicture("circle", 1);
    const calls = [
      () => bob.trainings.getTraining(byId(id)),
      () => bob.trainings.getTraining(byModel(model)),
      () => bob.trainings.getTraining(byModel(modelId)),
      () => bob.trainings.cancelTraining({ id }),
      () => bob.trainings.retrainModel({ model }),
      () => bob.trainings.getModelMetrics({ model: modelId }),
      () => bob.trainings.listLearningCurve({ model }),
      () => bob.trainings.deleteTrainedModel({ model }),
      () => watched(bob, id),
      () => bob.trainings.listTrainings({ datasetId }),
      () => start(bob, datasetId),
      () => predict(bob, model, picture),
      () => predict(bob, modelId, picture),
    ];
    for (const call of calls) expect((await refusal(call())).code, String(call)).toBe(Code.NotFound);
    expect((await bob.trainings.listTrainings({})).trainings).toEqual([]);
  });

  test("trained again with the same seed gives the same model, as the next version", async () => {
    const options = { seed: 1, trainSplitRatio: 0.8 };
    const { training: queued } = await alice.trainings.retrainModel({ model: first.modelId, options });
    const again = await succeeded(alice, queued?.id ?? "");
    expect(again).toMatchObject({ model: first.model, modelId: first.modelId, version: 2, name: first.name });
    expect(again.lastEpoch).toEqual(first.lastEpoch);
    expect(again.stats?.embeddingTime?.seconds).toBe(0n);
    const { versions } = await alice.models.listModelVersions({ model: first.model });
    expect(versions.map(({ version }) => version)).toEqual([2, 1]);
    const picture = await drawPicture("circle", NEW_SEED);
    expect(await predict(alice, `${first.model}:1`, picture)).toEqual(
      await predict(alice, `${first.model}:2`, picture),
    );
    const { trainings } = await alice.trainings.listTrainings({ datasetId });
    expect(trainings).toEqual([again]);
    expect(rows("epoch", [first.id])).toBe(0);
  });

  test("outlives its dataset: no longer listed or trained again, it still predicts", async () => {
    const other = await succeeded(alice, (await start(alice, datasetId)).id);
    await alice.datasets.deleteDataset({ id: datasetId });
    expect((await alice.trainings.listTrainings({})).trainings).toEqual([]);
    expect((await refusal(alice.trainings.listTrainings({ datasetId }))).code).toBe(Code.NotFound);
    expect((await refusal(start(alice, datasetId))).code).toBe(Code.NotFound);
    expect(await refusal(alice.trainings.retrainModel({ model: first.model }))).toEqual({
      code: Code.FailedPrecondition,
      message: `the dataset of model ${first.model} was deleted`,
    });
    expect(await predict(alice, other.model, await drawPicture("circle", 1))).toHaveLength(2);
    expect((await alice.trainings.getModelMetrics({ model: other.model })).metrics).toBeDefined();
  });

  test("deleted, the model is unknown at once and nothing of it stays", async () => {
    const { model, modelId } = first;
    const { deletion } = await alice.trainings.deleteTrainedModel({ model: modelId });
    expect(deletion).toMatchObject({ kind: "model", deleted: model });
    expect((await refusal(alice.trainings.getTraining(byModel(modelId)))).code).toBe(Code.NotFound);
    expect((await refusal(alice.trainings.deleteTrainedModel({ model }))).code).toBe(Code.NotFound);
    const id = deletion?.id ?? "";
    const done = await until(async () => {
      const { deletion: now } = await alice.datasets.getDeletion({ id });
      return now && now.state === DeletionState.SUCCEEDED && now;
    });
    expect(done.progress).toBe(1);
    const picture = await drawPicture("circle", 1);
    for (const name of [model, modelId, `${model}:1`]) {
      expect((await refusal(predict(alice, name, picture))).code).toBe(Code.NotFound);
    }
    expect((await refusal(bob.datasets.getDeletion({ id }))).code).toBe(Code.NotFound);
    expect(rows("training", [first.id])).toBe(0);
    for (const version of [1, 2]) expect(readdirSync(versionFolder(model, version))).toEqual([]);
  });
});

test("pictures with several labels: each is told of on its own", async () => {
  const files: Record<string, Uint8Array> = {};
  for (let seed = 1; seed <= 16; seed++) {
    const circle = await drawPicture("circle", seed);
    const cross = await drawPicture("cross", seed);
    files[`circle/c${seed}.jpg`] = circle;
    files[`round/c${seed}.jpg`] = circle;
    files[`cross/x${seed}.jpg`] = cross;
  }
  const { id } = await upload(alice, await zipOf(files), DatasetType.IMAGE_MULTI_LABEL);
  const training = await succeeded(alice, (await start(alice, id, { trainSplitRatio: 0.75 })).id);
  expect(training.stats).toMatchObject({ labels: 3, examples: 32, testExamples: 8 });
  const metrics = training.lastEpoch?.metrics;
  expect(metrics?.confusionMatrix).toEqual([]);
  expect(metrics?.confusionTables).toHaveLength(3);
  expect(metrics?.labelTestAccuracy).toHaveLength(3);
  const answer = await predict(alice, training.model, await drawPicture("circle", NEW_SEED));
  const sure = answer.filter(({ probability }) => probability >= 0.5).map(({ label }) => label);
  expect(sure.toSorted()).toEqual(["circle", "round"]);
  expect(answer).toHaveLength(3);
});

describe("a training that cannot be", () => {
  const failureOf = async (files: Readonly<Record<string, Uint8Array>>) => {
    const { id } = await upload(alice, await zipOf(files));
    const training = await start(alice, id);
    const last = (await watched(alice, training.id)).at(-1);
    expect(last?.status).toBe(TrainingStatus.FAILED);
    expect(last?.version).toBe(0);
    expect((await refusal(alice.trainings.getModelMetrics({ model: training.model }))).code).toBe(
      Code.NotFound,
    );
    // Nobody ever predicts with it, and nothing of it is left to be found.
    const refused = await refusal(predict(alice, training.model, await drawPicture("ring", 1)));
    expect(refused.code).toBe(Code.NotFound);
    expect(existsSync(join(server.dataDir, "models", training.model))).toBe(false);
    return last?.failure;
  };

  test("fails for one label alone", async () => {
    expect(await failureOf({ "ring/1.jpg": await drawPicture("ring", 1) })).toBe(
      "The dataset must contain at least 2 labels with at least 2 examples each; it has 1.",
    );
  });

  test("fails for a label with one example, and says which", async () => {
    const files = {
      "ring/1.jpg": await drawPicture("ring", 1),
      "ring/2.jpg": await drawPicture("ring", 2),
      "cross/1.jpg": await drawPicture("cross", 1),
    };
    expect(await failureOf(files)).toBe(
      'The dataset must contain at least 2 labels with at least 2 examples each; label "cross" has 1.',
    );
  });
});

test("one training of a dataset at a time; a canceled one ends there and leaves nothing", async () => {
  const { id } = await upload(alice, await zipOfShapes(["circle", "ring"], 30, { firstSeed: 5000 }));
  const running = await start(alice, id, { epochs: 1000 });
  expect(await refusal(start(alice, id))).toMatchObject({ code: Code.FailedPrecondition });
  expect(await refusal(alice.datasets.deleteDataset({ id }))).toMatchObject({
    code: Code.FailedPrecondition,
  });
  expect(await refusal(alice.trainings.deleteTrainedModel({ model: running.model }))).toMatchObject({
    code: Code.FailedPrecondition,
  });
  // Behind it, another one waits.
  const other = await upload(bob, await zipOfShapes(["circle", "ring"], 2));
  const waiting = await start(bob, other.id);
  expect(waiting).toMatchObject({ status: TrainingStatus.QUEUED, queuePosition: 1 });
  const { training: unqueued } = await bob.trainings.cancelTraining({ id: waiting.id });
  expect(unqueued).toMatchObject({ status: TrainingStatus.CANCELED, queuePosition: 0 });

  const states = watched(alice, running.id);
  await until(async () => {
    const { training } = await alice.trainings.getTraining(byId(running.id));
    return training?.lastEpoch !== undefined;
  });
  const { training: canceled } = await alice.trainings.cancelTraining({ id: running.id });
  expect(canceled).toMatchObject({ status: TrainingStatus.CANCELED, version: 0 });
  expect((await states).at(-1)).toEqual(canceled);
  expect(await refusal(alice.trainings.cancelTraining({ id: running.id }))).toEqual({
    code: Code.FailedPrecondition,
    message: `training ${running.id} has already canceled`,
  });
  expect(rows("epoch", [running.id])).toBe(0);
  expect((await refusal(alice.trainings.getModelMetrics({ model: running.model }))).code).toBe(Code.NotFound);
  // The dataset is free again, and so is the trainer.
  const next = await succeeded(alice, (await start(alice, id, { epochs: 3 })).id);
  expect(next.stats).toMatchObject({ epochs: 3 });
  // Where the cancel came while it was being published, its number stays taken, by an empty folder.
  expect(existsSync(join(versionFolder(running.model, 1), "auspex.json"))).toBe(false);
});

test("bad requests are refused with everything that is wrong with them", async () => {
  const options = { epochs: 1001, learningRate: 0.02, trainSplitRatio: 1 };
  const { code, message } = await refusal(
    alice.trainings.startTraining({ datasetId: 0n, name: " ", options, params: "x".repeat(2001) }),
  );
  expect(code).toBe(Code.InvalidArgument);
  for (const field of [
    "dataset_id",
    "name",
    "options.epochs",
    "options.learning_rate",
    "options.train_split_ratio",
    "params",
  ]) {
    expect(message).toContain(`${field}: `);
  }
  const limits = [
    { name: "x".repeat(181) },
    { options: { learningRate: 0.00009 } },
    { options: { learningRate: Number.NaN } },
    { options: { trainSplitRatio: -0.1 } },
  ];
  for (const wrong of limits) {
    const call = alice.trainings.startTraining({ datasetId: 1n, name: "x", ...wrong });
    expect((await refusal(call)).code).toBe(Code.InvalidArgument);
  }
  const atTheEdge = alice.trainings.startTraining({
    datasetId: 1n,
    name: "x".repeat(180),
    options: { epochs: 1000, learningRate: 0.01, trainSplitRatio: 0.001 },
    params: "x".repeat(2000),
  });
  expect((await refusal(atTheEdge)).code).toBe(Code.NotFound);
  const model = "alice/x";
  expect((await refusal(alice.trainings.getTraining({}))).code).toBe(Code.InvalidArgument);
  expect((await refusal(alice.trainings.listTrainings({ pageSize: 201 }))).code).toBe(Code.InvalidArgument);
  expect((await refusal(alice.trainings.listLearningCurve({ model, pageSize: 101 }))).code).toBe(
    Code.InvalidArgument,
  );
  expect((await refusal(alice.trainings.listLearningCurve({ model, pageSize: 100 }))).code).toBe(
    Code.NotFound,
  );
});
