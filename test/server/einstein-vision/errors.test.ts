/** Every refusal of this dialect, with its documented sentence where there is one (spec/einstein-vision.md §1.7). */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TrainingService } from "../../../gen/auspex/v1/training_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../../harness.ts";
import { drawPicture, zipOf, zipOfShapes } from "../../pictures.ts";
import { call, type Fields, serveFiles } from "./client.ts";
import {
  ACCOUNT_ROWS,
  DATASET_ROWS,
  EXAMPLE_ROWS,
  GENERAL,
  given,
  PREDICT_ROWS,
  TRAIN_ROWS,
} from "./refusals.ts";

/** Takes connections and never answers: a zip on its way from there stays on its way. */
async function listenSilently(): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer(() => undefined).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("it has no port");
  return { url: `http://127.0.0.1:${address.port}`, server };
}

let server: TestServer;
let files: Awaited<ReturnType<typeof serveFiles>>;
let silent: Awaited<ReturnType<typeof listenSilently>>;

const post = (path: string, form: Fields) => call(server, "POST", path, { form });

beforeAll(async () => {
  const circle = await drawPicture("circle", 1);
  files = await serveFiles({ "/page.html": ["<html>a page about a zip</html>", "text/html"] });
  silent = await listenSilently();
  server = await startServer({ settings: { CATALOGUE: "auspex/mobilenet", EGRESS_ALLOW: "127.0.0.1" } });
  const upload = async (zip: Buffer) =>
    (await post("/v2/vision/datasets/upload/sync", { data: [zip, "x.zip"] })).body;
  const ready = await upload(await zipOf({ "circle/1.jpg": circle }));
  const training = (await upload(await zipOfShapes(["circle", "square"], 10))).id;
  const importing = await post("/v2/vision/datasets/upload", { path: `${silent.url}/x.zip` });
  const label = ready.labelSummary.labels[0].id;
  const started = await post("/v2/vision/train", { datasetId: training, name: "Busy", epochs: 1000 });
  Object.assign(given, {
    ready: ready.id,
    label,
    importing: importing.body.id,
    training,
    busyModel: started.body.modelId,
    circle,
    filesUrl: files.url,
  });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await files?.[Symbol.asyncDispose]();
  silent?.server.closeAllConnections();
  silent?.server.close();
});

describe.each([
  ["datasets", DATASET_ROWS],
  ["examples and feedback", EXAMPLE_ROWS],
  ["trainings", TRAIN_ROWS],
  ["predictions", PREDICT_ROWS],
  ["accounts", ACCOUNT_ROWS],
])("%s", (_name, rows) => {
  it.each(rows.map((row, i) => [`${i}: ${row.call}: ${row.message}`, row] as const))(
    "%s",
    async (_row, row) => {
      const { path: which, ...options } = row.send();
      const [method = "", pattern = ""] = row.call.split(" ");
      const id = which ? given[which] : "";
      const reply = await call(server, method, pattern.replace("ID", String(id)), options);
      const message = typeof row.message === "string" ? row.message : expect.stringMatching(row.message);
      expect([reply.status, reply.body]).toEqual([row.status ?? 400, { message }]);
      expect(reply.headers.get("content-type")).toMatch(/^application\/json/);
    },
  );
});

it("leaves nothing behind: the datasets are those of before", async () => {
  const { body } = await call(server, "GET", "/v2/vision/datasets?count=1000");
  expect(body.data.map(({ id }: { id: number }) => id)).toEqual([
    given.ready,
    given.training,
    given.importing,
  ]);
  const examples = await call(server, "GET", `/v2/vision/datasets/${given.ready}/examples?source=all`);
  expect(examples.body.data).toHaveLength(1);
});

it("takes a picture of 5 MB, and one of 1 MB as an example, to the byte", async () => {
  const { circle, label: labelId, ready } = given;
  const padded = (size: number) => Buffer.concat([circle, Buffer.alloc(size - circle.length)]);
  const predicted = await post("/v2/vision/predict", {
    modelId: GENERAL,
    sampleContent: [padded(5 * 1024 ** 2)],
  });
  expect(predicted.status).toBe(200);
  const example = await post(`/v2/vision/datasets/${ready}/examples`, {
    name: "padded",
    labelId,
    data: [padded(1024 ** 2)],
  });
  expect(example).toMatchObject({ status: 200, body: { name: "padded", label: { name: "circle" } } });
});

it("says in the dataset what was wrong with a zip that nobody waited for", async () => {
  const { body } = await post("/v2/vision/datasets/upload", { path: `${files.url}/page.html` });
  const failed = await until(async () => {
    const { body: now } = await call(server, "GET", `/v2/vision/datasets/${body.id}`);
    return now.statusMsg !== "UPLOADING" && now;
  });
  expect(failed).toMatchObject({
    available: false,
    statusMsg: "FAILED: Failed to download the dataset from the public URL.",
  });
});

it("says in the training that two labels are needed, and shows a canceled one as killed", async () => {
  const training = () => call(server, "GET", `/v2/vision/train/${given.busyModel}`);
  expect((await call(server, "DELETE", `/v2/vision/models/${given.busyModel}`)).status).toBe(400);
  const trainings = clientOf(server, "grpc", TrainingService);
  const { training: busy } = await trainings.getTraining({ by: { case: "model", value: given.busyModel } });
  await trainings.cancelTraining({ id: busy?.id ?? "" });
  expect((await training()).body).toMatchObject({ status: "KILLED" });
  const { body } = await post("/v2/vision/train", { datasetId: given.ready, name: "One label" });
  const failed = await until(async () => {
    const { body: now } = await call(server, "GET", `/v2/vision/train/${body.modelId}`);
    return now.status === "FAILED" && now;
  });
  expect(failed.failureMsg).toMatch(/2 labels/);
  expect(Object.keys(failed.trainStats)).toHaveLength(13);
});

it("refuses a second feedback of one name", async () => {
  const give = (data: Buffer) =>
    post("/v2/vision/feedback", {
      modelId: given.busyModel,
      expectedLabel: "circle",
      name: "same",
      data: [data],
    });
  expect((await give(await drawPicture("circle", 77))).status).toBe(200);
  const again = await give(await drawPicture("circle", 78));
  expect([again.status, again.body.message]).toEqual([400, expect.stringContaining("same")]);
});
