/** Feedback through the real server: examples for a later training, by the model that was wrong. */
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  DatasetService,
  DatasetType,
  DeletionState,
  ExampleSource,
  FeedbackService,
} from "../../gen/auspex/v1/dataset_pb.ts";
import { TrainingService } from "../../gen/auspex/v1/training_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { drawPicture, zipOfShapes } from "../pictures.ts";

const KEYS = { alice: "alice-key-0123456789", bob: "bob-key-0123456789ab" };
let server: TestServer;
beforeAll(async () => {
  server = await startServer({
    settings: { CATALOGUE: "auspex/mobilenet", API_KEYS: `alice:${KEYS.alice},bob:${KEYS.bob}` },
  });
});
afterAll(() => server?.[Symbol.asyncDispose]());

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => "it was not refused",
    (thrown: unknown) => ConnectError.from(thrown).code,
  );

test("feedback becomes an example of the model's dataset, and lists tell it apart", async () => {
  const datasets = clientOf(server, "grpc", DatasetService, KEYS.alice);
  const trainings = clientOf(server, "grpc", TrainingService, KEYS.alice);
  const feedback = clientOf(server, "grpc", FeedbackService, KEYS.alice);
  const { dataset } = await datasets.uploadDataset({
    type: DatasetType.IMAGE,
    zip: { source: { case: "data", value: await zipOfShapes(["circle", "square"], 2) } },
    waitUntilReady: true,
  });
  const datasetId = dataset?.id ?? 0n;
  // A model is there from the start of its training; this one need not succeed.
  const { training } = await trainings.startTraining({ datasetId, name: "shapes" });
  await trainings.cancelTraining({ id: training?.id ?? "" });
  const model = training?.model ?? "";

  const data = await drawPicture("square", 77);
  const given = { model, data, expectedLabel: "square", name: "wrong.jpg" };
  const { example } = await feedback.createFeedback(given);
  expect(example).toMatchObject({ datasetId, name: "wrong.jpg", source: ExampleSource.FEEDBACK });
  expect(example?.label).toMatchObject({ name: "square", exampleCount: 3n });
  const other = await drawPicture("circle", 78);
  const byId = await feedback.createFeedback({
    ...given,
    model: training?.modelId ?? "",
    data: other,
    name: "",
  });
  expect(byId.example?.name).toMatch(/^[0-9a-f]{64}$/);

  const names = async (source: ExampleSource) =>
    (await datasets.listExamples({ datasetId, source })).examples.map(({ name }) => name);
  expect(await names(ExampleSource.FEEDBACK)).toEqual(["wrong.jpg", byId.example?.name]);
  expect(await names(ExampleSource.UNSPECIFIED)).toHaveLength(4);
  expect(await names(ExampleSource.ALL)).toHaveLength(6);

  // A picture that was uploaded is there already.
  const uploaded = await drawPicture("square", 1);
  const known = await feedback.createFeedback({ ...given, data: uploaded, name: "known.jpg" });
  expect(known.example).toMatchObject({ name: "square-1.jpg", source: ExampleSource.UPLOAD });

  expect(await codeOf(feedback.createFeedback({ ...given, data: other }))).toBe(Code.AlreadyExists);
  expect(await codeOf(feedback.createFeedback({ ...given, name: "a", expectedLabel: "ring" }))).toBe(
    Code.InvalidArgument,
  );
  expect(await codeOf(feedback.createFeedback({ ...given, name: "a", data: data.subarray(0, 99) }))).toBe(
    Code.InvalidArgument,
  );
  expect(await codeOf(feedback.createFeedback({ ...given, model: "alice/none" }))).toBe(Code.NotFound);
  const bob = clientOf(server, "grpc", FeedbackService, KEYS.bob);
  for (const foreign of [model, training?.modelId ?? ""]) {
    expect(await codeOf(bob.createFeedback({ ...given, model: foreign }))).toBe(Code.NotFound);
  }

  const { deletion } = await datasets.deleteDataset({ id: datasetId });
  expect(await codeOf(feedback.createFeedback({ ...given, name: "late.jpg" }))).toBe(Code.NotFound);
  await until(async () => {
    const now = (await datasets.getDeletion({ id: deletion?.id ?? "" })).deletion;
    return now?.state === DeletionState.SUCCEEDED;
  });
});
