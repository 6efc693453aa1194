/** One prediction, every door: the real server, real weights, a real photograph. */
import { readFile } from "node:fs/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ModelService, ModelVersionState } from "../../gen/auspex/v1/model_pb.ts";
import { type Prediction, PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, photograph, startServer, type TestServer } from "../harness.ts";

const MODEL = "auspex/mobilenet-tiny";
let server: TestServer;
let zebra: Uint8Array<ArrayBuffer>;

beforeAll(async () => {
  server = await startServer({ settings: { CATALOGUE: "1" } });
  zebra = new Uint8Array(await readFile(photograph("zebra")));
});
afterAll(() => server?.[Symbol.asyncDispose]());

type Probabilities = { label: string; probability: number }[];
const probabilities = (prediction: Prediction | undefined) =>
  prediction?.output?.probabilities as unknown as Probabilities;
const WAIT = { seconds: 30n };

async function codeOf(call: Promise<unknown>): Promise<Code> {
  const error = await call.then(
    () => expect.fail("the call was expected to fail"),
    (thrown: unknown) => ConnectError.from(thrown),
  );
  return error.code;
}

test("the catalogue's photographs are what they are", async () => {
  const client = clientOf(server, "grpc", PredictionService);
  for (const [name, label] of [
    ["zebra", "zebra"],
    ["panda", "giant panda"],
    ["flamingo", "flamingo"],
    ["teapot", "teapot"],
  ] as const) {
    const image = new Uint8Array(await readFile(photograph(name)));
    const { prediction } = await client.createPrediction({
      model: "auspex/mobilenet",
      files: { image },
      wait: WAIT,
    });
    expect(prediction?.status, prediction?.error?.message).toBe(PredictionStatus.SUCCEEDED);
    expect(probabilities(prediction)[0]?.label).toContain(label);
    expect(probabilities(prediction)[0]?.probability).toBeGreaterThan(0.8);
  }
});

describe.each(DOORS)("over %s", (door) => {
  const client = () => clientOf(server, door, PredictionService);

  test("a picture is created, watched to its end, got and listed", async () => {
    const { prediction } = await client().createPrediction({ model: MODEL, files: { image: zebra } });
    expect(prediction).toMatchObject({
      model: MODEL,
      version: 1,
      status: PredictionStatus.PENDING,
      revision: 1,
    });
    const id = prediction?.id ?? "";
    const seen: Prediction[] = [];
    for await (const message of client().watchPrediction({ id }))
      if (message.prediction) seen.push(message.prediction);
    const revisions = seen.map((state) => state.revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
    const last = seen.at(-1);
    expect(last?.status, last?.error?.message).toBe(PredictionStatus.SUCCEEDED);
    expect(probabilities(last)[0]?.label).toContain("zebra");
    expect((await client().getPrediction({ id })).prediction).toEqual(last);
    const { predictions } = await client().listPredictions({});
    expect(predictions.map((item) => item.id)).toContain(id);
    expect(predictions[0]?.input).toBeUndefined();
  });

  test("a wait answers the finished prediction, durable and the same for everybody", async () => {
    const { prediction } = await client().createPrediction({
      model: MODEL,
      files: { image: zebra },
      wait: WAIT,
    });
    expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
    expect(prediction?.executionTime).toBeDefined();
    for (const other of DOORS) {
      const got = await clientOf(server, other, PredictionService).getPrediction({
        id: prediction?.id ?? "",
      });
      expect(got.prediction).toEqual(prediction);
    }
  });

  test("a watch resumes after a revision, and ends at once after the last one", async () => {
    const { prediction } = await client().createPrediction({
      model: MODEL,
      files: { image: zebra },
      wait: WAIT,
    });
    const watch = async (afterRevision: number) => {
      const states = [];
      for await (const { prediction: state } of client().watchPrediction({
        id: prediction?.id ?? "",
        afterRevision,
      })) {
        states.push(state);
      }
      return states;
    };
    expect(await watch((prediction?.revision ?? 0) - 1)).toEqual([prediction]);
    expect(await watch(prediction?.revision ?? 0)).toEqual([]);
  });

  test("what is wrong with a request is said field by field", async () => {
    const error = await client()
      .createPrediction({ model: "no / model", requestId: "x".repeat(256), wait: { seconds: 61n } })
      .catch((thrown: unknown) => ConnectError.from(thrown));
    expect(error).toBeInstanceOf(ConnectError);
    expect((error as ConnectError).code).toBe(Code.InvalidArgument);
    for (const field of ["model", "request_id", "wait"])
      expect((error as ConnectError).message).toContain(field);
  });

  test("unknown ids and models are not found", async () => {
    expect(await codeOf(client().getPrediction({ id: "018f3a6e-0000-7000-8000-000000000000" }))).toBe(
      Code.NotFound,
    );
    expect(await codeOf(client().createPrediction({ model: "auspex/none", input: {} }))).toBe(Code.NotFound);
    expect(await codeOf(client().cancelPrediction({ id: "018f3a6e-0000-7000-8000-000000000000" }))).toBe(
      Code.NotFound,
    );
  });

  test("a finished prediction cannot be canceled", async () => {
    const { prediction } = await client().createPrediction({
      model: MODEL,
      files: { image: zebra },
      wait: WAIT,
    });
    expect(await codeOf(client().cancelPrediction({ id: prediction?.id ?? "" }))).toBe(
      Code.FailedPrecondition,
    );
  });

  test("a broken picture fails the prediction, and is refused where validation is asked for", async () => {
    const image = zebra.slice(0, 2000);
    const { prediction } = await client().createPrediction({ model: MODEL, files: { image }, wait: WAIT });
    expect(prediction?.status).toBe(PredictionStatus.FAILED);
    expect(prediction?.error).toMatchObject({ code: "invalid_argument" });
    const refused = client().createPrediction({ model: MODEL, files: { image }, validateInput: true });
    expect(await codeOf(refused)).toBe(Code.InvalidArgument);
  });

  test("a request id makes creation idempotent", async () => {
    const request = { model: MODEL, files: { image: zebra }, requestId: `idempotent-${door}` };
    const [first, second] = await Promise.all([
      client().createPrediction(request),
      client().createPrediction(request),
    ]);
    expect(second.prediction?.id).toBe(first.prediction?.id);
    const later = await client().createPrediction({ ...request, wait: WAIT });
    expect(later.prediction).toMatchObject({ id: first.prediction?.id, status: PredictionStatus.SUCCEEDED });
    expect(await codeOf(client().createPrediction({ ...request, input: { top_k: 2 } }))).toBe(
      Code.AlreadyExists,
    );
  });

  test("an unknown model may be deferred into the prediction", async () => {
    const { prediction } = await client().createPrediction({ model: "auspex/none", deferResolution: true });
    expect(prediction).toMatchObject({
      status: PredictionStatus.FAILED,
      version: 0,
      error: { code: "not_found" },
    });
  });

  test("models tell their state, their runtime and their schemas", async () => {
    const models = clientOf(server, door, ModelService);
    const { model } = await models.getModel({ name: MODEL });
    expect(model?.latestVersion).toMatchObject({ state: ModelVersionState.READY, runtime: "onnxruntime" });
    expect(model?.latestVersion?.inputSchema).toHaveProperty("properties.image");
    const names = (await models.listModels({})).models.map(({ name }) => name);
    expect(names).toEqual(["auspex/minilm", "auspex/mobilenet", MODEL]);
  });
});

test("lists page both ways without gaps or doubles", async () => {
  await using own = await startServer({ settings: { CATALOGUE: "1" } });
  const client = clientOf(own, "grpc", PredictionService);
  const ids: string[] = [];
  for (let i = 0; i < 12; i++) {
    ids.unshift(
      (await client.createPrediction({ model: "auspex/none", deferResolution: true })).prediction?.id ?? "",
    );
  }
  const down: string[] = [];
  let token = "";
  let last = token;
  do {
    const page = await client.listPredictions({ pageSize: 5, pageToken: token });
    down.push(...page.predictions.map(({ id }) => id));
    last = page.previousPageToken;
    token = page.nextPageToken;
  } while (token !== "");
  expect(down).toEqual(ids);
  const up: string[] = [];
  for (token = last; token !== ""; ) {
    const page = await client.listPredictions({ pageSize: 5, pageToken: token });
    up.unshift(...page.predictions.map(({ id }) => id));
    token = page.previousPageToken;
  }
  expect(up).toEqual(ids.slice(0, 10));
});
