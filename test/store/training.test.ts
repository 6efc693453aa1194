import { expect, test } from "vitest";
import type { Dataset, DatasetId } from "../../src/domain/dataset.ts";
import type { EpochMetrics, Metrics, Training, TrainingStats } from "../../src/domain/training.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import type { NewTraining, StartResult, TrainingProgress } from "../../src/store/training-store.ts";
import { newId, tempFolder, tempStore } from "./temp-store.ts";

const OPTIONS = { epochs: 0, learningRate: 0.001, trainSplitRatio: 0.9, withFeedback: false, seed: 7 };

const STATS: TrainingStats = {
  labels: 2,
  examples: 10,
  trainExamples: 8,
  testExamples: 2,
  epochs: 2,
  totalMs: 5,
  loadMs: 1,
  embeddingMs: 1,
  trainingMs: 2,
  publishMs: 1,
  earlyStopped: false,
};

function metrics(testAccuracy: number): Metrics {
  return {
    labels: ["circle", "square"],
    f1: [1, 0.5],
    confusionMatrix: [
      [1, 0],
      [0, 1],
    ],
    confusionTables: [],
    testAccuracy,
    trainingAccuracy: 1,
    trainingLoss: 0.25,
    labelTestAccuracy: [],
    labelTrainingAccuracy: [],
  };
}

const epoch = (number: number): EpochMetrics => ({ epoch: number, metrics: metrics(number / 10) });

function dataset(store: Store, principal = "alice"): Promise<Dataset> {
  return store.datasets.create({
    principal,
    name: "shapes",
    type: "image",
    labels: ["circle", "square"],
    createdAt: 1_000,
  });
}

function draft(principal = "alice"): NewTraining {
  return { id: newId(), principal, options: OPTIONS, params: '{"a":1}', createdAt: 1_000 };
}

function tryStart(store: Store, datasetId: DatasetId, principal = "alice"): Promise<StartResult> {
  const id = newId();
  const model = { id, modelId: id.replaceAll("-", "").slice(0, 26).toUpperCase(), slug: "shapes" };
  return store.trainings.start({ training: draft(principal), name: "Shapes", datasetId, model });
}

async function start(store: Store, datasetId: DatasetId, principal = "alice"): Promise<Training> {
  const result = await tryStart(store, datasetId, principal);
  if (result.kind !== "started") throw new Error(result.kind);
  return result.training;
}

async function claim(store: Store): Promise<Training> {
  const training = await store.trainings.claim(2_000);
  if (!training) throw new Error("nothing waits");
  return training;
}

const progress = (given: Partial<TrainingProgress> = {}): TrainingProgress => ({
  progress: 0.6,
  options: { ...OPTIONS, epochs: 2 },
  epochs: [],
  checkpoint: undefined,
  ...given,
});

const SUCCESS = {
  status: "succeeded",
  version: 1,
  stats: STATS,
  results: [{ exampleName: "a.jpg", expectedLabel: "circle", predictedLabel: "square" }],
} as const;

async function succeed(store: Store): Promise<Training> {
  const running = await claim(store);
  const next = progress({ epochs: [epoch(1), epoch(2)] });
  await store.trainings.advance({ running, now: 3_000, next });
  expect(await store.trainings.settle({ running, now: 4_000, end: SUCCESS })).toBe(true);
  return running;
}

const all = (store: Store, given: { datasetId?: DatasetId; after?: string; skip?: number } = {}) =>
  store.trainings.list({
    principal: "alice",
    datasetId: undefined,
    after: "",
    skip: 0,
    limit: 10,
    ...given,
  });

const epochsOf = (store: Store, trainingId: string) =>
  store.trainings.epochs({ trainingId, after: 0, skip: 0, limit: 100 });

test("a start makes the model, its alias and a queued training, all under one number", async () => {
  const store = await tempStore();
  const { id, type } = await dataset(store);
  const training = await start(store, id);
  const { model } = training;
  expect(training).toMatchObject({
    principal: "alice",
    name: "Shapes",
    datasetId: id,
    status: "queued",
    revision: 1,
    attempt: 0,
    progress: 0,
    queuePosition: 1,
    failure: "",
    options: OPTIONS,
    stats: null,
    lastEpoch: null,
    params: '{"a":1}',
    version: 0,
  });
  expect(model).toMatchObject({ name: "alice/shapes-1004", principal: "alice", datasetId: id, type });
  expect(await store.aliases.get("alice", model.modelId)).toMatchObject({ target: model.name });
  expect(await store.trainings.model("alice", model.name)).toEqual(model);
  expect(await store.trainings.get("alice", training.id)).toEqual(training);
  expect(await store.trainings.latest("alice", model.name)).toEqual(training);
});

test("nobody sees another's training or model, or trains from another's dataset", async () => {
  const store = await tempStore();
  const { id } = await dataset(store);
  const training = await start(store, id);
  expect(await tryStart(store, id, "bob")).toEqual({ kind: "unknown" });
  expect(await store.trainings.get("bob", training.id)).toBeUndefined();
  expect(await store.trainings.model("bob", training.model.name)).toBeUndefined();
  expect(await store.trainings.latest("bob", training.model.name)).toBeUndefined();
  expect(await store.trainings.cancel({ principal: "bob", id: training.id, now: 1 })).toBeUndefined();
  const model = training.model.name;
  expect(await store.trainings.retrain({ training: draft("bob"), model })).toEqual({ kind: "unknown" });
  const deletion = { principal: "bob", model, deletionId: newId(), now: 1 };
  expect(await store.trainings.deleteModel(deletion)).toEqual({ kind: "unknown" });
  expect(await all(store)).toEqual([training]);
});

test("a dataset has one training at a time, and none while a zip is being taken up", async () => {
  const store = await tempStore();
  const { id } = await dataset(store);
  const first = await start(store, id);
  expect(await tryStart(store, id)).toEqual({ kind: "busy" });
  await claim(store);
  expect(await tryStart(store, id)).toEqual({ kind: "busy" });
  expect(await store.trainings.retrain({ training: draft(), model: first.model.name })).toEqual({
    kind: "busy",
  });
  await store.trainings.cancel({ principal: "alice", id: first.id, now: 5_000 });
  const args = { principal: "alice", datasetId: id, now: 3_000 };
  const begun = await store.imports.begin({ ...args, source: { kind: "blob", blob: "f".repeat(64) } });
  expect(begun.kind).toBe("begun");
  expect(await tryStart(store, id)).toEqual({ kind: "importing" });
});

test("what waits is claimed oldest first, and its place counts those of all principals", async () => {
  const store = await tempStore();
  const first = await start(store, (await dataset(store)).id);
  const second = await start(store, (await dataset(store, "bob")).id, "bob");
  const third = await start(store, (await dataset(store)).id);
  const places = async () =>
    Promise.all(
      [first, second, third].map(
        async ({ principal, id }) => (await store.trainings.get(principal, id))?.queuePosition,
      ),
    );
  expect(await places()).toEqual([1, 2, 3]);
  const claimed = await claim(store);
  expect(claimed).toMatchObject({
    id: first.id,
    status: "running",
    revision: 2,
    attempt: 1,
    startedAt: 2_000,
  });
  expect(await places()).toEqual([0, 1, 2]);
  expect((await claim(store)).id).toBe(second.id);
  expect((await claim(store)).id).toBe(third.id);
  expect(await store.trainings.claim(2_000)).toBeUndefined();
});

test("epochs, checkpoint and result are written as they come", async () => {
  const store = await tempStore();
  await start(store, (await dataset(store)).id);
  const running = await claim(store);
  const checkpoint = Uint8Array.of(1, 2, 3);
  const next = progress({ epochs: [epoch(1)], checkpoint });
  expect(await store.trainings.advance({ running, now: 3_000, next })).toBe(true);
  expect(await store.trainings.checkpoint(running.id)).toEqual(checkpoint);
  // Epoch 1 comes again after a checkpoint before it, and no checkpoint leaves the last one.
  await store.trainings.advance({ running, now: 3_500, next: progress({ epochs: [epoch(1), epoch(2)] }) });
  expect(await store.trainings.checkpoint(running.id)).toEqual(checkpoint);
  expect(await store.trainings.get("alice", running.id)).toMatchObject({
    revision: 4,
    progress: 0.6,
    options: { epochs: 2 },
    lastEpoch: epoch(2),
  });
  expect(await store.trainings.settle({ running, now: 4_000, end: SUCCESS })).toBe(true);
  expect(await store.trainings.get("alice", running.id)).toMatchObject({
    status: "succeeded",
    revision: 5,
    progress: 1,
    version: 1,
    stats: STATS,
    endedAt: 4_000,
  });
  expect(await store.trainings.checkpoint(running.id)).toBeNull();
  expect(await epochsOf(store, running.id)).toEqual([
    { epoch: epoch(1), results: [] },
    { epoch: epoch(2), results: SUCCESS.results },
  ]);
  const page = { trainingId: running.id, after: 1, skip: 0, limit: 1 };
  expect((await store.trainings.epochs(page)).map((point) => point.epoch.epoch)).toEqual([2]);
  expect(await store.trainings.epochs({ ...page, skip: 1 })).toEqual([]);
});

test("an end is final: whoever comes later changes nothing", async () => {
  const store = await tempStore();
  await start(store, (await dataset(store)).id);
  const running = await claim(store);
  await store.trainings.advance({ running, now: 3_000, next: progress({ epochs: [epoch(1)] }) });
  const canceled = await store.trainings.cancel({ principal: "alice", id: running.id, now: 4_000 });
  expect(canceled).toMatchObject({ status: "canceled", revision: 4, endedAt: 4_000 });
  expect(await store.trainings.advance({ running, now: 5_000, next: progress() })).toBe(false);
  expect(await store.trainings.settle({ running, now: 5_000, end: SUCCESS })).toBe(false);
  expect(await store.trainings.restart({ running, now: 5_000, checkpoint: Uint8Array.of(1) })).toBe(false);
  expect(await store.trainings.cancel({ principal: "alice", id: running.id, now: 5_000 })).toBeUndefined();
  expect(await store.trainings.get("alice", running.id)).toEqual(canceled);
  expect(await epochsOf(store, running.id)).toEqual([]);
});

test("a server's start takes up what ran: thrice, then it fails", async () => {
  const dataDir = tempFolder();
  let store = await openStore({ dataDir, queueMax: 10 });
  const { id } = await start(store, (await dataset(store)).id);
  const lost = await claim(store);
  const takeUp = { now: 5_000, attemptsMax: 3, failure: "too often" };
  for (const attempt of [2, 3]) {
    await store.close();
    store = await openStore({ dataDir, queueMax: 10 });
    expect(await store.trainings.takeUp(takeUp)).toMatchObject([
      { id, attempt, revision: attempt + 1, status: "running", startedAt: 2_000 },
    ]);
  }
  // The first attempt's process, were it still there, is fenced off.
  expect(await store.trainings.settle({ running: lost, now: 6_000, end: SUCCESS })).toBe(false);
  // A stop that was asked for does not count.
  await store.trainings.giveBack({ id, attempt: 3 });
  expect(await store.trainings.takeUp(takeUp)).toMatchObject([{ id, attempt: 3 }]);
  const failed = { id, attempt: 3, status: "failed", failure: "too often", endedAt: 5_000 };
  expect(await store.trainings.takeUp(takeUp)).toMatchObject([failed]);
  expect(await store.trainings.takeUp(takeUp)).toEqual([]);
  expect(await store.trainings.get("alice", id)).toMatchObject(failed);
  await store.close();
});

test("a restart of the plan forgets what came of the last one", async () => {
  const store = await tempStore();
  await start(store, (await dataset(store)).id);
  const running = await claim(store);
  await store.trainings.advance({ running, now: 3_000, next: progress({ epochs: [epoch(1)] }) });
  await store.trainings.restart({ running, now: 4_000, checkpoint: Uint8Array.of(9) });
  expect(await store.trainings.get("alice", running.id)).toMatchObject({ lastEpoch: null, progress: 0.6 });
  expect(await store.trainings.checkpoint(running.id)).toEqual(Uint8Array.of(9));
  expect(await epochsOf(store, running.id)).toEqual([]);
});

test("a model trained again keeps its name; the last success is what its metrics are of", async () => {
  const store = await tempStore();
  const { id } = await dataset(store);
  const first = await start(store, id);
  const { name } = first.model;
  await succeed(store);
  const again = await store.trainings.retrain({ training: draft(), model: name });
  if (again.kind !== "started") throw new Error(again.kind);
  expect(again.training).toMatchObject({ name: "Shapes", model: first.model, status: "queued" });
  expect((await all(store)).map((training) => training.id)).toEqual([again.training.id]);
  expect((await store.trainings.latest("alice", name))?.id).toBe(again.training.id);
  expect((await store.trainings.latest("alice", name, "succeeded"))?.id).toBe(first.id);

  const running = await claim(store);
  await store.trainings.advance({ running, now: 3_000, next: progress({ epochs: [epoch(1)] }) });
  const failed = { status: "failed", failure: "why", stats: STATS } as const;
  expect(await store.trainings.settle({ running, now: 4_000, end: failed })).toBe(true);
  expect(await epochsOf(store, running.id)).toEqual([]);
  expect(await epochsOf(store, first.id)).toHaveLength(2);

  await store.trainings.retrain({ training: draft(), model: name });
  const third = await succeed(store);
  expect((await store.trainings.latest("alice", name, "succeeded"))?.id).toBe(third.id);
  expect(await epochsOf(store, third.id)).toHaveLength(2);
  expect(await epochsOf(store, first.id)).toEqual([]);
});

test("models are listed by age, by dataset, in pages; those of a deleted dataset are not", async () => {
  const store = await tempStore();
  const one = await dataset(store);
  const two = await dataset(store);
  const trainings: Training[] = [];
  for (const { id } of [one, two, one]) {
    trainings.push(await start(store, id));
    await succeed(store);
  }
  const [a, b, c] = trainings.map(({ model }) => model.name);
  const names = async (given = {}) => (await all(store, given)).map(({ model }) => model.name);
  expect(await names()).toEqual([a, b, c]);
  expect(await names({ datasetId: one.id })).toEqual([a, c]);
  expect(await names({ after: trainings[0]?.model.id })).toEqual([b, c]);
  expect(await names({ skip: 2 })).toEqual([c]);
  const deletion = { principal: "alice", id: one.id, deletionId: newId(), now: 9_000 };
  expect((await store.datasets.delete(deletion)).kind).toBe("deleted");
  expect(await names()).toEqual([b]);
  expect(await store.trainings.retrain({ training: draft(), model: a ?? "" })).toEqual({ kind: "deleted" });
  expect(await store.trainings.model("alice", a ?? "")).toBeDefined();
});

test("a deleted model is gone with its alias at once, its trainings behind, and its name for good", async () => {
  const store = await tempStore();
  const { id } = await dataset(store);
  const { model, ...training } = await start(store, id);
  const deletion = { principal: "alice", model: model.name, deletionId: newId(), now: 9_000 };
  expect(await store.trainings.deleteModel(deletion)).toEqual({ kind: "busy" });
  await succeed(store);
  expect(await store.trainings.isAbandoned({ model: model.name, trainingId: training.id })).toBe(false);
  const result = await store.trainings.deleteModel(deletion);
  expect(result).toMatchObject({ kind: "deleted", deletion: { kind: "model", deleted: model.name } });
  expect(await store.deletions.get("alice", deletion.deletionId)).toMatchObject({ state: "queued" });
  expect(await store.aliases.get("alice", model.modelId)).toBeUndefined();
  expect(await store.trainings.model("alice", model.name)).toBeUndefined();
  expect(await all(store)).toEqual([]);
  expect(await store.trainings.deleteModel({ ...deletion, deletionId: newId() })).toEqual({
    kind: "unknown",
  });
  expect(await store.trainings.isAbandoned({ model: model.name, trainingId: training.id })).toBe(true);
  expect(await store.trainings.purgeModel(model.name)).toBe(true);
  expect(await store.trainings.get("alice", training.id)).toBeUndefined();
  expect(await epochsOf(store, training.id)).toEqual([]);
  expect((await start(store, id)).model.name).not.toBe(model.name);
});

test("many epochs are deleted in parts", async () => {
  const store = await tempStore();
  const { model } = await start(store, (await dataset(store)).id);
  const running = await claim(store);
  const epochs = Array.from({ length: 101 }, (_, index) => epoch(index + 1));
  await store.trainings.advance({ running, now: 3_000, next: progress({ epochs }) });
  const stats = { ...STATS, epochs: 101 };
  await store.trainings.settle({ running, now: 4_000, end: { ...SUCCESS, stats } });
  await store.trainings.deleteModel({ principal: "alice", model: model.name, deletionId: newId(), now: 1 });
  expect(await store.trainings.purgeModel(model.name)).toBe(false);
  expect((await epochsOf(store, running.id)).length).toBe(1);
  expect(await store.trainings.purgeModel(model.name)).toBe(true);
});

test("what a canceled training published is nobody's", async () => {
  const store = await tempStore();
  const { id, model } = await start(store, (await dataset(store)).id);
  const published = { model: model.name, trainingId: id };
  expect(await store.trainings.isAbandoned(published)).toBe(false);
  await store.trainings.cancel({ principal: "alice", id, now: 2_000 });
  expect(await store.trainings.isAbandoned(published)).toBe(true);
  // A model folder that was brought from another server names a training that was never here.
  expect(await store.trainings.isAbandoned({ model: "alice/other", trainingId: newId() })).toBe(false);
});

test("embeddings are kept by extractor and content", async () => {
  const store = await tempStore();
  const vectors = new Map([
    ["a".repeat(64), Float32Array.of(1.5, -2, 3e-20)],
    ["b".repeat(64), new Float32Array(1024).fill(0.1).subarray(1)],
  ]);
  const blobs = [...vectors.keys()];
  expect(await store.embeddings.missing("x/y:1", blobs)).toEqual(blobs);
  await store.embeddings.put("x/y:1", vectors);
  await store.embeddings.put("x/y:1", vectors);
  expect(await store.embeddings.get("x/y:1", [...blobs, "c".repeat(64)])).toEqual(vectors);
  expect(await store.embeddings.missing("x/y:1", [...blobs, "c".repeat(64)])).toEqual(["c".repeat(64)]);
  expect(await store.embeddings.missing("x/y:2", blobs)).toEqual(blobs);
});
