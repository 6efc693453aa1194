/**
 * F37: the server dies while a training looks at its pictures, while it is in its epochs, and between publishing its
 * model and settling. It ends once all the same, with the very model that an undisturbed training makes.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Training, TrainingStatus } from "../../gen/auspex/v1/training_pb.ts";
import { startServer, type TestServer, until } from "../harness.ts";
import { drawPicture, zipOf, zipOfShapes } from "../pictures.ts";
import { childrenOf, isAlive } from "../processes.ts";
import { predict, start, succeeded, trainingClients, upload, watched } from "../training-client.ts";

const PICTURES = 64;
const OPTIONS = { seed: 5, epochs: 1000, trainSplitRatio: 0.75 };

let zip: Buffer<ArrayBuffer>;
/** What an undisturbed training makes of the pictures. */
let undisturbed: { readonly training: Training; readonly head: string };

beforeAll(async () => {
  zip = await zipOfShapes(["circle", "cross"], PICTURES / 2);
  await using server = await startServer({ settings: { CATALOGUE: "auspex/mobilenet" } });
  const clients = trainingClients(server);
  const { id } = await upload(clients, zip);
  const training = await succeeded(clients, (await start(clients, id, OPTIONS)).id);
  undisturbed = { training, head: headDigest(server.dataDir, training.model, 1) };
}, 180_000);

/** Over all files of a version but the one that tells whose it is. */
function headDigest(dataDir: string, model: string, version: number): string {
  const folder = join(dataDir, "models", model, String(version));
  const hash = createHash("sha256");
  for (const name of readdirSync(folder).toSorted()) {
    if (name !== "auspex.json") hash.update(name).update(readFileSync(join(folder, name)));
  }
  return hash.digest("hex");
}

/** A read-only look into a server's database, whether it runs or not. */
function query(dataDir: string, sql: string): Record<string, unknown> {
  const database = new DatabaseSync(join(dataDir, "auspex.db"), { readOnly: true });
  try {
    return database.prepare(sql).get() ?? {};
  } finally {
    database.close();
  }
}

const count = (dataDir: string, from: string): number =>
  Number(query(dataDir, `select count(*) as n from ${from}`).n);

async function dataFolder(): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-training-"));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  return dataDir;
}

/** Begins a training and kills its server once the moment has come; answers the training as it was begun. */
async function killedAt(
  dataDir: string,
  moment: (training: Training, server: TestServer) => boolean | Promise<boolean>,
): Promise<Training> {
  await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/mobilenet" } });
  const clients = trainingClients(server);
  const { id } = await upload(clients, zip);
  const training = await start(clients, id, OPTIONS);
  await until(async () => {
    if (await moment(training, server)) return true;
    const { status } = query(dataDir, "select status from training");
    if (status !== "queued" && status !== "running") throw new Error(`the moment has passed: ${status}`);
    return false;
  });
  await server.kill();
  expect(query(dataDir, "select status from training")).toEqual({ status: "running" });
  return training;
}

/**
 * Lets a server's trainer, the one child of the lowest priority, run for a tenth of the time: its epochs are otherwise
 * over before anybody can look. Answers the end of that.
 */
function slowed(server: TestServer): Disposable {
  const pid = childrenOf(server.process.pid ?? 0).find((child) => getPriority(child) === 19);
  if (pid === undefined) throw new Error("there is no trainer");
  const signal = (name: NodeJS.Signals): void => void (isAlive(pid) && process.kill(pid, name));
  let beat = 0;
  const timer = setInterval(() => {
    beat = (beat + 1) % 10;
    if (beat === 0) signal("SIGCONT");
    if (beat === 1) signal("SIGSTOP");
  }, 5);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      // It ends with its server, which it cannot see while it stands still.
      signal("SIGCONT");
    },
  };
}

/** The next server ends it, and nothing tells that it was ever disturbed but its revision. */
async function endsAsIfUndisturbed(dataDir: string, training: Training): Promise<Training> {
  await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/mobilenet" } });
  const clients = trainingClients(server);
  const ended = await succeeded(clients, training.id);
  expect(ended.version).toBe(1);
  expect(ended.lastEpoch).toEqual(undisturbed.training.lastEpoch);
  expect(ended.stats?.epochs).toBe(undisturbed.training.stats?.epochs);
  expect(headDigest(dataDir, training.model, 1)).toBe(undisturbed.head);

  const { versions } = await clients.models.listModelVersions({ model: training.model });
  expect(versions.map(({ version }) => version)).toEqual([1]);
  expect(readdirSync(join(dataDir, "models", training.model))).toEqual(["1"]);
  const staging = join(dataDir, "models", ".staging");
  expect(existsSync(staging) ? readdirSync(staging) : []).toEqual([]);
  expect(count(dataDir, "training")).toBe(1);
  expect(count(dataDir, "embedding")).toBe(PICTURES);
  expect(count(dataDir, "epoch")).toBe(ended.stats?.epochs);
  expect(count(dataDir, "epoch where results <> '[]'")).toBe(1);
  expect(query(dataDir, "select checkpoint, attempt from training")).toEqual({
    checkpoint: null,
    attempt: 2,
  });
  expect((await predict(clients, training.model, await drawPicture("cross", 999)))[0]?.label).toBe("cross");
  return ended;
}

describe("F37: kill -9 of a training", () => {
  test("while it looks at the pictures: those it has seen are not looked at again", async () => {
    const dataDir = await dataFolder();
    const training = await killedAt(dataDir, () => count(dataDir, "embedding") > 0);
    const seen = count(dataDir, "embedding");
    expect(seen).toBeGreaterThan(0);
    expect(seen).toBeLessThan(PICTURES);
    const sql =
      "select group_concat(rowid_of) as ids from (select blob || '-' || hex(vector) as rowid_of from embedding order by blob)";
    const before = String(query(dataDir, sql).ids).split(",");
    await endsAsIfUndisturbed(dataDir, training);
    const after = new Set(String(query(dataDir, sql).ids).split(","));
    expect(before.every((row) => after.has(row))).toBe(true);
  });

  test("in its epochs: it goes on from its checkpoint", async () => {
    const dataDir = await dataFolder();
    using slow = new DisposableStack();
    let isSlow = false;
    const training = await killedAt(dataDir, (_, server) => {
      if (!isSlow && count(dataDir, "embedding") === PICTURES) {
        slow.use(slowed(server));
        isSlow = true;
      }
      // A checkpoint begins with the plan's digest of 32 bytes, which alone is none yet.
      return count(dataDir, "training where length(checkpoint) > 32") > 0;
    });
    const epochs = count(dataDir, "epoch");
    expect(epochs).toBeGreaterThan(0);
    expect(epochs).toBeLessThan(undisturbed.training.stats?.epochs ?? 0);
    await endsAsIfUndisturbed(dataDir, training);
  });

  test("between publishing and settling: what was published is taken, not made again", async () => {
    const dataDir = await dataFolder();
    const manifest = ({ model }: Training) => join(dataDir, "models", model, "1", "auspex.json");
    const training = await killedAt(dataDir, (begun) => existsSync(manifest(begun)));
    const published = readFileSync(manifest(training), "utf8");
    expect(published).toContain(training.id);
    await endsAsIfUndisturbed(dataDir, training);
    expect(readFileSync(manifest(training), "utf8")).toBe(published);
  });

  test("three times: it fails and says so, and its dataset is free", async () => {
    const dataDir = await dataFolder();
    const training = await killedAt(dataDir, () => count(dataDir, "training where attempt = 1") === 1);
    for (const attempt of [2, 3]) {
      await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/mobilenet" } });
      await until(() => Number(query(dataDir, "select attempt from training").attempt) === attempt);
      await server.kill();
    }
    await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/mobilenet" } });
    const clients = trainingClients(server);
    const ended = (await watched(clients, training.id)).at(-1);
    expect(ended?.status).toBe(TrainingStatus.FAILED);
    expect(ended?.failure).toContain("went down 3 times");
    expect(existsSync(join(dataDir, "models", training.model))).toBe(false);
    await succeeded(clients, (await start(clients, training.datasetId, { epochs: 1 })).id);
  });
}, 180_000);

test("F37: stops that were asked for do not count, and cost no more than what was not written", async () => {
  const dataDir = await dataFolder();
  const training = await killedAt(dataDir, () => count(dataDir, "embedding") > 0);
  for (let stops = 0; stops < 3; stops++) {
    await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/mobilenet" } });
    await until(() => Number(query(dataDir, "select attempt from training").attempt) === 2);
    expect(await server.terminate()).toBe(0);
    expect(query(dataDir, "select attempt, status from training")).toEqual({ attempt: 1, status: "running" });
  }
  await endsAsIfUndisturbed(dataDir, training);
}, 180_000);

test("F37: a cancel while the model is being published leaves no model", async () => {
  const dataDir = await dataFolder();
  await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/mobilenet" } });
  const clients = trainingClients(server);
  const { id } = await upload(clients, zip);
  const training = await start(clients, id, { ...OPTIONS, epochs: 3 });
  const folder = join(dataDir, "models", training.model, "1");
  await until(() => existsSync(join(folder, "auspex.json")));
  const canceled = await clients.trainings.cancelTraining({ id: training.id });
  expect(canceled.training?.status).toBe(TrainingStatus.CANCELED);
  await until(() => readdirSync(folder).length === 0);
  await expect(predict(clients, training.model, await drawPicture("cross", 1))).rejects.toThrow(
    "does not exist",
  );
}, 180_000);

test("F37: and killed before it could be taken back, the next server takes it back", async () => {
  const dataDir = await dataFolder();
  const manifest = ({ model }: Training) => join(dataDir, "models", model, "1", "auspex.json");
  const training = await killedAt(dataDir, (begun) => existsSync(manifest(begun)));
  // The cancel was committed, and nothing more came of it.
  const database = new DatabaseSync(join(dataDir, "auspex.db"));
  database.exec("update training set status = 'canceled', ended_at = 1, checkpoint = null");
  database.close();
  await using server = await startServer({ dataDir, settings: { CATALOGUE: "auspex/mobilenet" } });
  await until(() => !existsSync(manifest(training)));
  const clients = trainingClients(server);
  expect((await watched(clients, training.id)).at(-1)?.status).toBe(TrainingStatus.CANCELED);
}, 180_000);

describe("F37: what cannot be trained from", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ settings: { FEATURE_EXTRACTOR: "auspex/mobilenet-tiny" } });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test.each([0, 1])("a label with %i pictures fails the training by name", async (pictures) => {
    const clients = trainingClients(server);
    const files: Record<string, Uint8Array> = {};
    for (let seed = 1; seed <= 4; seed++) files[`circle/${seed}.jpg`] = await drawPicture("circle", seed);
    if (pictures === 1) files["cross/1.jpg"] = await drawPicture("cross", 1);
    const { id } = await upload(clients, await zipOf(files));
    if (pictures === 0) await clients.datasets.createLabel({ datasetId: id, name: "cross" });
    const last = (await watched(clients, (await start(clients, id)).id)).at(-1);
    expect(last).toMatchObject({
      status: TrainingStatus.FAILED,
      failure: `The dataset must contain at least 2 labels with at least 2 examples each; label "cross" has ${pictures}.`,
    });
  });

  test("a picture that is gone or damaged fails the training by its example's name", async () => {
    const clients = trainingClients(server);
    const files: Record<string, Uint8Array> = {};
    for (const shape of ["circle", "cross"] as const) {
      for (let seed = 40; seed < 44; seed++)
        files[`${shape}/${shape}${seed}.jpg`] = await drawPicture(shape, seed);
    }
    const { id } = await upload(clients, await zipOf(files));
    const hash = createHash("sha256")
      .update(files["cross/cross41.jpg"] ?? new Uint8Array())
      .digest("hex");
    const blob = join(server.dataDir, "blobs", hash.slice(0, 2), hash);
    await rm(blob);
    const gone = (await watched(clients, (await start(clients, id)).id)).at(-1);
    expect(gone).toMatchObject({
      status: TrainingStatus.FAILED,
      failure: 'The picture of example "cross41.jpg" is gone.',
    });
    await writeFile(blob, "no picture at all");
    const damaged = (await watched(clients, (await start(clients, id)).id)).at(-1);
    expect(damaged?.status).toBe(TrainingStatus.FAILED);
    expect(damaged?.failure).toContain('The picture of example "cross41.jpg" cannot be read: ');
  });

  test("a feature extractor that is not there fails the training, which says what to pull", async () => {
    await using other = await startServer({ settings: { FEATURE_EXTRACTOR: "auspex/absent" } });
    const clients = trainingClients(other);
    const { id } = await upload(clients, await zipOfShapes(["circle", "cross"], 2));
    const last = (await watched(clients, (await start(clients, id)).id)).at(-1);
    expect(last).toMatchObject({
      status: TrainingStatus.FAILED,
      failure:
        "The feature extractor auspex/absent is not there. It is pulled by: npm run models -- pull auspex/absent",
    });
  });

  test("more examples than the server trains on fail the training", async () => {
    await using other = await startServer({
      settings: { FEATURE_EXTRACTOR: "auspex/mobilenet-tiny", MAX_TRAINING_EXAMPLES: "4" },
    });
    const clients = trainingClients(other);
    const four = await upload(clients, await zipOfShapes(["circle", "cross"], 2));
    await succeeded(clients, (await start(clients, four.id, { epochs: 1 })).id);
    const six = await upload(clients, await zipOfShapes(["circle", "cross"], 3));
    const last = (await watched(clients, (await start(clients, six.id)).id)).at(-1);
    expect(last?.failure).toBe("The dataset has 6 examples; this server trains on at most 4.");
  });
});
