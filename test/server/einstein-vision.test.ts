/** The tutorial of Einstein Vision, by HTTP alone: zip, dataset, training, and what a new picture shows. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startServer, type TestServer, until } from "../harness.ts";
import { drawPicture, zipOf, zipOfShapes } from "../pictures.ts";
import { call, type Reply, serveFiles } from "./einstein-vision/client.ts";

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/;
const MODEL_ID = /^[A-Z2-7]{26}$/;
const DURATION = /^\d\d:\d\d:\d\d:\d{3}$/;

let server: TestServer;
let files: Awaited<ReturnType<typeof serveFiles>>;
let circle: Buffer<ArrayBuffer>;

beforeAll(async () => {
  circle = await drawPicture("circle", 1000);
  files = await serveFiles({
    "/circle.jpg": [circle, "image/jpeg"],
    "/shapes%20by%20url.zip": [await zipOfShapes(["circle", "cross"], 4), "application/zip"],
  });
  server = await startServer({ settings: { CATALOGUE: "auspex/mobilenet", EGRESS_ALLOW: "127.0.0.1" } });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await files?.[Symbol.asyncDispose]();
});

const get = (path: string) => call(server, "GET", path);

/** The training once it has ended. */
function trained(modelId: string): Promise<Reply["body"]> {
  return until(async () => {
    const { body } = await get(`/v2/vision/train/${modelId}`);
    return /QUEUED|RUNNING/.test(body.status) ? undefined : body;
  });
}

describe("a classifier of one's own", () => {
  let datasetId: number;
  let labels: { id: number; datasetId: number; name: string; numExamples: number }[];
  let modelId: string;

  it("begins with a zip of labelled pictures", async () => {
    const zip = await zipOfShapes(["circle", "square"], 20);
    const reply = await call(server, "POST", "/v2/vision/datasets/upload/sync", {
      form: { data: [zip, "shapes.zip", "application/zip"], type: "image" },
    });
    expect(reply.status).toBe(200);
    datasetId = reply.body.id;
    labels = reply.body.labelSummary.labels;
    const label = { id: expect.any(Number), datasetId, numExamples: 20 };
    expect(reply.body).toEqual({
      id: expect.any(Number),
      name: "shapes",
      createdAt: expect.stringMatching(TIME),
      updatedAt: expect.stringMatching(TIME),
      labelSummary: {
        labels: [
          { ...label, name: "circle" },
          { ...label, name: "square" },
        ],
      },
      totalExamples: 40,
      totalLabels: 2,
      available: true,
      statusMsg: "SUCCEEDED",
      type: "image",
      language: "N/A",
      numOfDuplicates: 0,
      object: "dataset",
    });
    expect((await get(`/v2/vision/datasets/${datasetId}`)).body).toEqual(reply.body);
    const older = (await get(`/v1/vision/datasets/${datasetId}`)).body;
    expect(Object.keys(reply.body).filter((key) => !(key in older))).toEqual([
      "type",
      "language",
      "numOfDuplicates",
    ]);
  });

  it("shows its examples with links that work", async () => {
    const { body } = await get(`/v2/vision/datasets/${datasetId}/examples?count=2&offset=1`);
    expect(body).toMatchObject({ object: "list", data: [{}, {}] });
    const [example] = body.data;
    expect(example).toEqual({
      id: expect.any(Number),
      name: expect.stringMatching(/^circle-\d+\.jpg$/),
      location: expect.stringContaining(`${server.url}/files/`),
      createdAt: expect.stringMatching(TIME),
      label: labels[0],
      object: "example",
    });
    const picture = await fetch(example.location);
    expect([picture.status, picture.headers.get("content-type")]).toEqual([200, "image/jpeg"]);
    expect((await picture.bytes()).subarray(0, 3)).toEqual(new Uint8Array([0xff, 0xd8, 0xff]));
  });

  it("goes on with a training", async () => {
    const reply = await call(server, "POST", "/v2/vision/train", {
      form: {
        datasetId,
        name: "Shapes v1",
        epochs: "20",
        learningRate: "0.01",
        trainParams: '{"trainSplitRatio":"0.8"}',
      },
    });
    expect(reply.status).toBe(200);
    modelId = reply.body.modelId;
    expect(reply.body).toEqual({
      datasetId,
      datasetVersionId: 0,
      name: "Shapes v1",
      status: "QUEUED",
      progress: 0,
      createdAt: expect.stringMatching(TIME),
      updatedAt: expect.stringMatching(TIME),
      modelId: expect.stringMatching(MODEL_ID),
      learningRate: 0.01,
      epochs: 20,
      queuePosition: 1,
      modelType: "image",
      language: "N/A",
      object: "training",
      trainParams: { trainSplitRatio: "0.8" },
      trainStats: null,
    });
  });

  it("cannot be asked before that has ended", async () => {
    const { status, body } = await call(server, "POST", "/v2/vision/predict", {
      form: { modelId, sampleContent: [circle] },
    });
    // It may have ended by now, but then the answer is one of two labels.
    if (status === 200) expect((await get(`/v2/vision/train/${modelId}`)).body.status).toBe("SUCCEEDED");
    else expect([status, body]).toEqual([404, { message: expect.stringContaining("can't be found") }]);
  });

  it("tells what the training did", async () => {
    const body = await trained(modelId);
    expect(body).toMatchObject({ status: "SUCCEEDED", progress: 1, epochs: 20, object: "training" });
    expect(body).not.toHaveProperty("queuePosition");
    expect(body).not.toHaveProperty("failureMsg");
    const time = expect.stringMatching(DURATION);
    expect(body.trainStats).toEqual({
      labels: 2,
      examples: 40,
      totalTime: time,
      transforms: null,
      trainingTime: time,
      earlyStopping: expect.any(Boolean),
      lastEpochDone: expect.any(Number),
      modelSaveTime: time,
      testSplitSize: 8,
      trainSplitSize: 32,
      datasetLoadTime: time,
      preProcessStats: null,
      postProcessStats: null,
    });
  });

  it("answers the same by URL, by file and by base64, as a form and as JSON", async () => {
    const location = `${files.url}/circle.jpg`;
    const base64 = circle.toString("base64");
    const replies = await Promise.all(
      [
        { form: { modelId, sampleLocation: location } },
        { form: { modelId, sampleContent: [circle, "circle.jpg", "image/jpeg"] as const } },
        { form: { modelId, sampleBase64Content: base64 } },
        { json: { modelId, sampleLocation: location } },
        { json: { modelId, sampleBase64Content: base64 } },
      ].map((options) => call(server, "POST", "/v2/vision/predict", options)),
    );
    const [first] = replies;
    for (const { status, body } of replies) expect([status, body]).toEqual([200, first?.body]);
    expect(first?.body).toEqual({
      probabilities: [
        { label: "circle", probability: expect.any(Number) },
        { label: "square", probability: expect.any(Number) },
      ],
      object: "predictresponse",
    });
    const [most, least] = first?.body.probabilities ?? [];
    expect(most.probability).toBeGreaterThan(least.probability);
    expect(most.probability + least.probability).toBeCloseTo(1, 6);
  });

  it("echoes a sample's id, and cuts the list without making its sum 1 again", async () => {
    // Of a thousand labels none is certain.
    const form = {
      modelId: "GeneralImageClassifier",
      sampleContent: [circle] as const,
      sampleId: "my sample",
    };
    const whole = await call(server, "POST", "/v2/vision/predict", { form: { ...form, numResults: 9999 } });
    const cut = await call(server, "POST", "/v2/vision/predict", { form: { ...form, numResults: 1 } });
    expect(whole.body.sampleId).toBe("my sample");
    expect(whole.body.probabilities).toHaveLength(1000);
    expect(cut.body).toEqual({ ...whole.body, probabilities: [whole.body.probabilities[0]] });
    expect(cut.body.probabilities[0].probability).toBeLessThan(1);
  });

  it("counts predictions", async () => {
    const before = (await get("/v2/apiusage")).body.data[0];
    const { headers } = await call(server, "POST", "/v2/vision/predict", {
      form: { modelId, sampleContent: [circle] },
    });
    const after = (await get("/v2/apiusage")).body.data[0];
    expect(after.predictionsUsed).toBe(before.predictionsUsed + 1);
    expect(headers.get("x-ratelimit-limit")).toBe(String(after.predictionsMax));
    expect(headers.get("x-ratelimit-remaining")).toBe(String(after.predictionsRemaining));
    expect(headers.get("x-ratelimit-reset")).toMatch(/^\d{4}-\d\d-01 00:00:00\.0$/);
    expect(after.endsAt).toBe(`${headers.get("x-ratelimit-reset")?.slice(0, 10)}T00:00:00.000Z`);
  });

  it("has metrics and a learning curve", async () => {
    const { body } = await get(`/v2/vision/models/${modelId}`);
    expect(body).toEqual({
      metricsData: {
        f1: [expect.any(Number), expect.any(Number)],
        labels: ["circle", "square"],
        testAccuracy: expect.any(Number),
        trainingLoss: expect.any(Number),
        confusionMatrix: [
          [expect.any(Number), expect.any(Number)],
          [expect.any(Number), expect.any(Number)],
        ],
        trainingAccuracy: expect.any(Number),
      },
      createdAt: expect.stringMatching(TIME),
      id: modelId,
      language: "N/A",
      object: "metrics",
    });
    const { confusionMatrix, testAccuracy } = body.metricsData;
    const right = confusionMatrix[0][0] + confusionMatrix[1][1];
    expect(confusionMatrix.flat().reduce((a: number, b: number) => a + b)).toBe(8);
    expect(testAccuracy).toBe(Math.round((right / 8) * 1e4) / 1e4);
    const { lastEpochDone } = (await get(`/v2/vision/train/${modelId}`)).body.trainStats;
    const curve = (await get(`/v2/vision/models/${modelId}/lc?count=100`)).body.data;
    expect(curve.map(({ epoch }: { epoch: number }) => epoch)).toEqual(
      Array.from({ length: Math.min(25, lastEpochDone) }, (_, i) => i + 1),
    );
    const last = (await get(`/v2/vision/models/${modelId}/lc?offset=${lastEpochDone - 1}`)).body.data;
    expect(last).toHaveLength(1);
    expect(last[0]).toMatchObject({
      epoch: lastEpochDone,
      metricsData: body.metricsData,
      object: "learningcurve",
    });
    expect(last[0].epochResults).toHaveLength(8);
    const { exampleName, expectedLabel, predictedLabel } = last[0].epochResults[0];
    expect(exampleName).toMatch(new RegExp(`^${expectedLabel}-\\d+\\.jpg-${expectedLabel}$`));
    expect(["circle", "square"]).toContain(predictedLabel);
    expect(curve[0].epochResults).toEqual([]);
  });

  it("is listed with its dataset", async () => {
    const training = (await get(`/v2/vision/train/${modelId}`)).body;
    const { body } = await get(`/v2/vision/datasets/${datasetId}/models`);
    const { learningRate, epochs, trainParams, trainStats, object, ...rest } = training;
    expect(body).toEqual({ object: "list", data: [{ ...rest, object: "model" }] });
  });

  it("is corrected by feedback and trained again under the same id", async () => {
    const square = await drawPicture("square", 2000);
    const given = await call(server, "POST", "/v2/vision/feedback", {
      form: { modelId, expectedLabel: "square", data: [square, "odd.jpg", "image/jpeg"], name: "odd.jpg" },
    });
    expect(given).toMatchObject({ status: 200, body: { name: "odd.jpg", object: "example" } });
    expect((await get(`/v2/vision/datasets/${datasetId}/examples?source=feedback`)).body.data).toHaveLength(
      1,
    );
    expect((await get(`/v2/vision/examples?labelId=${labels[1]?.id}`)).body.data).toHaveLength(21);
    const again = await call(server, "POST", "/v2/vision/retrain", {
      form: { modelId, epochs: 5, trainParams: '{"withFeedback":true}' },
    });
    expect(again).toMatchObject({ status: 200, body: { modelId, status: "QUEUED", epochs: 5 } });
    // What was trained before answers meanwhile.
    const predicted = await call(server, "POST", "/v2/vision/predict", {
      form: { modelId, sampleContent: [circle] },
    });
    expect(predicted.status).toBe(200);
    expect(await trained(modelId)).toMatchObject({ status: "SUCCEEDED", trainStats: { examples: 41 } });
  });

  it("outlives its dataset, and goes when it is told to", async () => {
    const deleted = await call(server, "DELETE", `/v2/vision/datasets/${datasetId}`);
    expect(deleted).toMatchObject({
      status: 200,
      body: {
        id: expect.stringMatching(MODEL_ID),
        type: "DATASET",
        message: null,
        object: "deletion",
        deletedObjectId: String(datasetId),
      },
    });
    const ended = await until(async () => {
      const { body } = await get(`/v2/vision/deletion/${deleted.body.id}`);
      return body.status === "SUCCEEDED" && body;
    });
    expect(ended).toMatchObject({ progress: 1, deletedObjectId: String(datasetId) });
    expect((await get(`/v2/vision/datasets/${datasetId}`)).status).toBe(404);
    const sample = { form: { modelId, sampleContent: [circle] as const } };
    expect((await call(server, "POST", "/v2/vision/predict", sample)).status).toBe(200);
    const gone = await call(server, "DELETE", `/v2/vision/models/${modelId}`);
    expect(gone).toMatchObject({ status: 200, body: { type: "MODEL", deletedObjectId: modelId } });
    expect((await call(server, "POST", "/v2/vision/predict", sample)).status).toBe(404);
    await until(async () => {
      const { body } = await get(`/v2/vision/deletion/${gone.body.id}`);
      return body.status === "SUCCEEDED" && body.deletedObjectId === modelId;
    });
  });
});

it("takes a zip from a URL, tells when it is there, and takes another one", async () => {
  const reply = await call(server, "POST", "/v2/vision/datasets/upload", {
    form: { path: `${files.url}/shapes%20by%20url.zip`, type: "image" },
  });
  expect(reply).toMatchObject({
    status: 200,
    body: { name: "shapes by url", available: false, statusMsg: "UPLOADING", totalExamples: 0 },
  });
  const { id } = reply.body;
  const ready = () =>
    until(async () => {
      const { body } = await get(`/v2/vision/datasets/${id}`);
      return body.available && body;
    });
  expect(await ready()).toMatchObject({ statusMsg: "SUCCEEDED", totalExamples: 8, totalLabels: 2 });
  const more = await zipOfShapes(["circle", "ring"], 4, { firstSeed: 3 });
  const added = await call(server, "PUT", `/v2/vision/datasets/${id}/upload`, {
    form: { data: [more, "x.zip"] },
  });
  expect(added).toMatchObject({ status: 200, body: { id, available: false, totalExamples: 8 } });
  expect(added.body).not.toHaveProperty("statusMsg");
  // Two of the circles were there already.
  expect(await ready()).toMatchObject({ totalExamples: 14, totalLabels: 3, numOfDuplicates: 2 });
});

it("trains several labels a picture, and tells of each by itself", async () => {
  const zip: Record<string, Uint8Array> = {};
  for (let seed = 1; seed <= 12; seed++) {
    const [round, edged] = await Promise.all([drawPicture("ring", seed), drawPicture("square", seed)]);
    zip[`round/${seed}.jpg`] = round;
    zip[`hollow/${seed}.jpg`] = round;
    zip[`edged/${seed}.jpg`] = edged;
  }
  const { body: dataset } = await call(server, "POST", "/v2/vision/datasets/upload/sync", {
    form: { data: [await zipOf(zip), "several.zip"], type: "image-multi-label" },
  });
  expect(dataset).toMatchObject({ type: "image-multi-label", totalExamples: 36, totalLabels: 3 });
  const { body: training } = await call(server, "POST", "/v2/vision/train", {
    form: { datasetId: dataset.id, name: "Several", epochs: 10, learningRate: 0.01 },
  });
  expect(training.modelType).toBe("image-multi-label");
  const { modelId } = training;
  expect(await trained(modelId)).toMatchObject({ status: "SUCCEEDED" });
  const { body } = await call(server, "POST", "/v2/vision/predict", {
    form: { modelId, sampleContent: [await drawPicture("ring", 900)], numResults: 1 },
  });
  // All of them, whatever was asked for.
  expect(body.probabilities.map(({ label }: { label: string }) => label).sort()).toEqual([
    "edged",
    "hollow",
    "round",
  ]);
  const { metricsData } = (await get(`/v2/vision/models/${modelId}`)).body;
  const names: string[] = metricsData.labels;
  for (const key of ["f1", "testAccuracy", "trainingAccuracy"]) expect(metricsData[key]).toHaveLength(3);
  expect(Object.keys(metricsData.confusionMatrices)).toEqual(names);
  for (const name of names) {
    expect(metricsData.confusionMatrices[name]).toEqual([
      [expect.any(Number), expect.any(Number)],
      [expect.any(Number), expect.any(Number)],
    ]);
  }
  expect(metricsData).not.toHaveProperty("confusionMatrix");
});
