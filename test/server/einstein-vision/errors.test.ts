/** Every refusal of this dialect, with its documented sentence where there is one (spec/einstein-vision.md §1.7). */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TrainingService } from "../../../gen/auspex/v1/training_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../../harness.ts";
import { drawPicture, zipOf, zipOfShapes } from "../../pictures.ts";
import { type Call, call, type Fields, serveFiles } from "./client.ts";

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
let circle: Buffer<ArrayBuffer>;
/** Ready, with an example under its one label; being filled; being trained from. */
let datasets: { ready: number; label: number; importing: number; training: number };
let busyModel: string;

const post = (path: string, form: Fields) => call(server, "POST", path, { form });

beforeAll(async () => {
  circle = await drawPicture("circle", 1);
  files = await serveFiles({ "/page.html": ["<html>a page about a zip</html>", "text/html"] });
  silent = await listenSilently();
  server = await startServer({ settings: { EGRESS_ALLOW: "127.0.0.1" } });
  const upload = async (zip: Buffer) =>
    (await post("/v2/vision/datasets/upload/sync", { data: [zip, "x.zip"] })).body;
  const ready = await upload(await zipOf({ "circle/1.jpg": circle }));
  const training = (await upload(await zipOfShapes(["circle", "square"], 10))).id;
  const importing = await post("/v2/vision/datasets/upload", { path: `${silent.url}/x.zip` });
  const label = ready.labelSummary.labels[0].id;
  datasets = { ready: ready.id, label, importing: importing.body.id, training };
  const started = await post("/v2/vision/train", { datasetId: training, name: "Busy", epochs: 1000 });
  busyModel = started.body.modelId;
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await files?.[Symbol.asyncDispose]();
  silent?.server.closeAllConnections();
  silent?.server.close();
});

const GENERAL = "GeneralImageClassifier";

interface Row {
  readonly call: string;
  readonly send: () => Call & { readonly path?: string };
  readonly status?: number;
  /** The whole sentence, or what is in it. */
  readonly message: string | RegExp;
}

const form = (fields: () => Fields, path?: string) => () => ({ form: fields(), ...(path && { path }) });

const DATASET_ROWS: readonly Row[] = [
  {
    call: "POST /v2/vision/datasets",
    send: form(() => ({ name: "  ", labels: "a,b" })),
    message: "The 'name' parameter is required to create a dataset.",
  },
  { call: "POST /v2/vision/datasets", send: form(() => ({ name: "x".repeat(181) })), message: /'name'.*180/ },
  { call: "POST /v2/vision/datasets", send: form(() => ({ name: "x", type: "video" })), message: /'type'/ },
  {
    call: "POST /v2/vision/datasets",
    send: form(() => ({ name: "x", labels: "a,b,a" })),
    message: /'labels'/,
  },
  {
    call: "POST /v2/vision/datasets",
    send: form(() => ({ name: "x", labels: Array.from({ length: 251 }, (_, i) => `l${i}`).join(",") })),
    message: /'labels'.*250/,
  },
  { call: "POST /v2/vision/datasets", send: () => ({ json: { name: "x" } }), message: /multipart/ },
  ...["upload", "upload/sync"].flatMap((which): Row[] => {
    const to = { call: `POST /v2/vision/datasets/${which}` };
    const duplicated = "The 'data' parameter cannot be duplicated, nor sent along with the 'path' parameter.";
    return [
      {
        ...to,
        send: form(() => ({ type: "image" })),
        message: "Uploading a dataset requires either the 'data' field or the 'path' field.",
      },
      { ...to, send: form(() => ({ path: `${files.url}/x.zip`, data: [circle] })), message: duplicated },
      { ...to, send: form(() => ({ data: [[circle], [circle]] })), message: duplicated },
      {
        ...to,
        send: form(() => ({ data: [circle, "x.jpg", "image/jpg"] })),
        message:
          "File content must be provided in one of the supported file formats: [zip, octet-stream, jpeg, png, binary]",
      },
      {
        ...to,
        send: form(() => ({ path: "ftp://example.com/x.zip" })),
        message: "Failed to download the dataset from the public URL.",
      },
    ];
  }),
  {
    call: "POST /v2/vision/datasets/upload/sync",
    send: form(() => ({ path: `${files.url}/page.html` })),
    message: "Failed to download the dataset from the public URL.",
  },
  {
    call: "POST /v2/vision/datasets/upload/sync",
    send: form(() => ({ path: `${files.url}/none.zip` })),
    message: "Failed to download the dataset from the public URL.",
  },
  {
    call: "POST /v2/vision/datasets/upload/sync",
    send: form(() => ({ data: [circle, "x.zip"] })),
    message: /^Invalid zip: /,
  },
  {
    call: "PUT /v2/vision/datasets/ID/upload",
    send: form(() => ({ data: [circle] }), "importing"),
    message: "The dataset is not yet available for update, try again once the dataset is ready.",
  },
  { call: "PUT /v2/vision/datasets/ID/upload", send: form(() => ({}), "ready"), message: /'data'.*'path'/ },
  { call: "DELETE /v2/vision/datasets/ID", send: () => ({ path: "importing" }), message: /./ },
  { call: "DELETE /v2/vision/datasets/ID", send: () => ({ path: "training" }), message: /train/ },
  ...[
    "GET /v2/vision/datasets/1",
    "GET /v2/vision/datasets/x",
    "GET /v2/vision/datasets/99999999999999999999",
    "GET /v2/vision/datasets/1/examples",
    "GET /v2/vision/datasets/1/models",
    "GET /v2/vision/examples?labelId=1",
    "GET /v2/vision/deletion/AAAAAAAAAAAAAAAAAAAAAAAAAA",
    "GET /v2/vision/deletion/x",
    "GET /v1/vision/datasets/1/labels/1",
    "GET /v1/vision/datasets/1/examples/1",
    "DELETE /v1/vision/datasets/1/examples/1",
    "DELETE /v2/vision/datasets/1",
  ].map((line): Row => ({ call: line, send: () => ({}), status: 404, message: /./ })),
  ...["count=0", "count=x", "offset=-1", "offset=1.5"].map(
    (query): Row => ({
      call: `GET /v2/vision/datasets?${query}`,
      send: () => ({}),
      message: /'(count|offset)'/,
    }),
  ),
  { call: "GET /v2/vision/examples", send: () => ({}), message: /'labelId'/ },
  { call: "GET /v2/vision/datasets/1/examples?source=moon", send: () => ({}), message: /'source'/ },
];

const EXAMPLE = "POST /v2/vision/datasets/ID/examples";
const INCOMPLETE = "The 'name', 'labelId', and 'data' parameters are required to create an example.";
const EXAMPLE_ROWS: readonly Row[] = [
  { call: EXAMPLE, send: form(() => ({ name: "a", data: [circle] }), "ready"), message: INCOMPLETE },
  {
    call: EXAMPLE,
    send: form(() => ({ labelId: datasets.label, data: [circle] }), "ready"),
    message: INCOMPLETE,
  },
  { call: EXAMPLE, send: form(() => ({ name: "a", labelId: datasets.label }), "ready"), message: INCOMPLETE },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: 1, data: [circle] }), "ready"),
    status: 404,
    message: /label/,
  },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: datasets.label, data: [circle, "a.jpg", "image/jpg"] }), "ready"),
    message: /^File content must be provided in one of the supported file formats/,
  },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: datasets.label, data: [[circle], [circle]] }), "ready"),
    message: /'data'/,
  },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: datasets.label, data: [Buffer.from("no picture")] }), "ready"),
    message: /PNG or a JPEG/,
  },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: datasets.label, data: [circle.subarray(0, 200)] }), "ready"),
    message: /'data'/,
  },
  {
    call: EXAMPLE,
    send: form(
      () => ({
        name: "a",
        labelId: datasets.label,
        data: [Buffer.concat([circle, Buffer.alloc(1024 ** 2 - circle.length + 1)])],
      }),
      "ready",
    ),
    message: /'data'.*1048576/,
  },
  {
    call: "POST /v2/vision/feedback",
    send: form(() => ({ modelId: busyModel, expectedLabel: "circle" })),
    message: /'modelId', 'data', and 'expectedLabel'/,
  },
  {
    call: "POST /v2/vision/feedback",
    send: form(() => ({ modelId: "NONE", expectedLabel: "circle", data: [circle] })),
    status: 404,
    message: /NONE can't be found/,
  },
  {
    call: "POST /v2/vision/feedback",
    send: form(() => ({ modelId: busyModel, expectedLabel: "moon", data: [circle] })),
    message: /'expectedLabel'/,
  },
];

const TRAIN = "POST /v2/vision/train";
const train = (fields: Fields) => form(() => ({ datasetId: datasets.ready, name: "x", ...fields }));
const TRAIN_ROWS: readonly Row[] = [
  { call: TRAIN, send: form(() => ({ name: "x" })), message: /'datasetId' and 'name'/ },
  { call: TRAIN, send: form(() => ({ datasetId: datasets.ready })), message: /'datasetId' and 'name'/ },
  { call: TRAIN, send: form(() => ({ datasetId: 1, name: "x" })), status: 404, message: /dataset 1/ },
  { call: TRAIN, send: form(() => ({ datasetId: "one", name: "x" })), message: /'datasetId'/ },
  { call: TRAIN, send: train({ name: "x".repeat(181) }), message: /'name'/ },
  ...["0", "1001", "ten", "-1"].map((epochs) => ({
    call: TRAIN,
    send: train({ epochs }),
    message: /'epochs'/,
  })),
  ...["0", "0.00001", "0.1", "fast"].map((learningRate) => ({
    call: TRAIN,
    send: train({ learningRate }),
    message: /'learningRate'/,
  })),
  ...["{", "[]", "7", '{"trainSplitRatio":{}}', '{"trainSplitRatio":1}'].map((trainParams) => ({
    call: TRAIN,
    send: train({ trainParams }),
    message: /'trainParams'/,
  })),
  { call: TRAIN, send: train({ trainParams: '{"withFeedback":"maybe"}' }), message: /'withFeedback'/ },
  { call: TRAIN, send: train({ trainParams: '{"withGlobalDatasetId":7}' }), message: /global/ },
  {
    call: TRAIN,
    send: form(() => ({ datasetId: datasets.training, name: "x" })),
    message: /./,
  },
  { call: TRAIN, send: form(() => ({ datasetId: datasets.importing, name: "x" })), message: /./ },
  { call: "POST /v2/vision/retrain", send: form(() => ({ epochs: 5 })), message: /'modelId'/ },
  {
    call: "POST /v2/vision/retrain",
    send: form(() => ({ modelId: "NONE" })),
    status: 404,
    message: /NONE can't be found/,
  },
  ...["train/NONE", "models/NONE", "models/NONE/lc", "models/%20bad%20"].map(
    (path): Row => ({
      call: `GET /v2/vision/${path}`,
      send: () => ({}),
      status: 404,
      message: /can't be found/,
    }),
  ),
  { call: "DELETE /v2/vision/models/NONE", send: () => ({}), status: 404, message: /can't be found/ },
];

const PREDICT = "POST /v2/vision/predict";
const sample = (fields: () => Fields) => form(() => ({ modelId: GENERAL, ...fields() }));
const PREDICT_ROWS: readonly Row[] = [
  { call: PREDICT, send: form(() => ({ sampleContent: [circle] })), message: /'modelId'/ },
  ...["NONE", "FoodImageClassifier", "auspex/none", "not a model!", "AAAAAAAAAAAAAAAAAAAAAAAAAA"].map(
    (modelId): Row => ({
      call: PREDICT,
      send: form(() => ({ modelId, sampleContent: [circle] })),
      status: 404,
      message: `Model not found: the model ID ${modelId} can't be found.`,
    }),
  ),
  {
    call: PREDICT,
    send: form(() => ({ modelId: busyModel, sampleContent: [circle] })),
    status: 404,
    message: /can't be found/,
  },
  { call: PREDICT, send: sample(() => ({})), message: /sampleLocation/ },
  { call: PREDICT, send: sample(() => ({ sampleLocation: " " })), message: /sampleLocation/ },
  {
    call: PREDICT,
    send: sample(() => ({ sampleContent: [circle], sampleBase64Content: circle.toString("base64") })),
    message: /Only one/,
  },
  { call: PREDICT, send: sample(() => ({ sampleContent: [[circle], [circle]] })), message: /Only one/ },
  ...["0", "-1", "x", "1.5"].map(
    (numResults): Row => ({
      call: PREDICT,
      send: sample(() => ({ sampleContent: [circle], numResults })),
      message: /'numResults'/,
    }),
  ),
  ...["not base64!", "====", "AAAAA"].map(
    (text): Row => ({
      call: PREDICT,
      send: sample(() => ({ sampleBase64Content: text })),
      message: /'sampleBase64Content' parameter is not base64/,
    }),
  ),
  {
    call: PREDICT,
    send: sample(() => ({ sampleContent: [Buffer.from("GIF89a, which is not taken")] })),
    message: /PNG or a JPEG/,
  },
  { call: PREDICT, send: sample(() => ({ sampleContent: [circle.subarray(0, 200)] })), message: /./ },
  {
    call: PREDICT,
    send: sample(() => ({ sampleContent: [circle, "a.jpg", "image/jpg"] })),
    message: /^File content must be provided/,
  },
  {
    call: PREDICT,
    send: sample(() => ({ sampleContent: [Buffer.concat([circle, Buffer.alloc(5 * 1024 ** 2)])] })),
    message: /'sampleContent'.*5242880/,
  },
  ...["nonsense", "ftp://example.com/x", "data:image/png;base64,AAAA", "file:///etc/passwd"].map(
    (url): Row => ({
      call: PREDICT,
      send: sample(() => ({ sampleLocation: url })),
      message: /'sampleLocation' parameter must be an http/,
    }),
  ),
  {
    call: PREDICT,
    send: sample(() => ({ sampleLocation: "http://10.0.0.1/x" })),
    message: /not a public address/,
  },
  { call: PREDICT, send: sample(() => ({ sampleLocation: "http://127.0.0.1:1/x" })), message: /./ },
  { call: PREDICT, send: sample(() => ({ sampleLocation: `${files.url}/none` })), message: /404/ },
  { call: PREDICT, send: sample(() => ({ sampleLocation: `${files.url}/page.html` })), message: /./ },
  { call: PREDICT, send: () => ({ json: [1] }), message: /JSON/ },
  { call: PREDICT, send: () => ({ json: { modelId: { a: 1 } } }), message: /JSON/ },
  {
    call: PREDICT,
    send: () => ({ raw: "{", headers: { "content-type": "application/json" } }),
    message: /JSON/,
  },
  {
    call: "POST /v2/vision/detect",
    send: sample(() => ({ sampleContent: [circle] })),
    message: "Bad Request: modelType not supported for this endpoint",
  },
  ...[
    "POST /v2/vision/ocr",
    "PUT /v2/vision/bulkfeedback",
    "GET /v2/language/models/X",
    "POST /v2/language/train",
  ].map((line): Row => ({ call: line, send: () => ({}), status: 501, message: /no such operation/ })),
];

const TOKEN = "POST /v2/oauth2/token";
const token = (fields: Record<string, string>) => () => ({ raw: new URLSearchParams(fields) });
const BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ACCOUNT_ROWS: readonly Row[] = [
  { call: TOKEN, send: token({}), message: /'grant_type'/ },
  { call: TOKEN, send: token({ grant_type: "password" }), message: /'grant_type'/ },
  { call: TOKEN, send: token({ grant_type: BEARER }), message: /'assertion'/ },
  { call: TOKEN, send: token({ grant_type: BEARER, assertion: "no token" }), message: /./ },
  {
    call: TOKEN,
    send: token({ grant_type: BEARER, assertion: "a", valid_for: "x" }),
    message: /'valid_for'/,
  },
  { call: TOKEN, send: token({ grant_type: "refresh_token" }), message: /'refresh_token'/ },
  { call: TOKEN, send: token({ grant_type: "refresh_token", refresh_token: "x" }), message: /./ },
  { call: TOKEN, send: () => ({ json: { grant_type: BEARER } }), message: /urlencoded/ },
  {
    call: TOKEN,
    send: token({ grant_type: BEARER, assertion: "x".repeat(65_536) }),
    status: 413,
    message: /./,
  },
  { call: "DELETE /v2/oauth2/tokens/none", send: () => ({}), status: 404, message: /./ },
];

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
      const id = which ? datasets[which as keyof typeof datasets] : "";
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
    datasets.ready,
    datasets.training,
    datasets.importing,
  ]);
  const examples = await call(server, "GET", `/v2/vision/datasets/${datasets.ready}/examples?source=all`);
  expect(examples.body.data).toHaveLength(1);
});

it("takes a picture of 5 MB, and one of 1 MB as an example, to the byte", async () => {
  const padded = (size: number) => Buffer.concat([circle, Buffer.alloc(size - circle.length)]);
  const predicted = await post("/v2/vision/predict", {
    modelId: GENERAL,
    sampleContent: [padded(5 * 1024 ** 2)],
  });
  expect(predicted.status).toBe(200);
  const { label: labelId, ready } = datasets;
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
  const training = () => call(server, "GET", `/v2/vision/train/${busyModel}`);
  expect((await call(server, "DELETE", `/v2/vision/models/${busyModel}`)).status).toBe(400);
  const trainings = clientOf(server, "grpc", TrainingService);
  const { training: busy } = await trainings.getTraining({ by: { case: "model", value: busyModel } });
  await trainings.cancelTraining({ id: busy?.id ?? "" });
  expect((await training()).body).toMatchObject({ status: "KILLED" });
  const { body } = await post("/v2/vision/train", { datasetId: datasets.ready, name: "One label" });
  const failed = await until(async () => {
    const { body: now } = await call(server, "GET", `/v2/vision/train/${body.modelId}`);
    return now.status === "FAILED" && now;
  });
  expect(failed.failureMsg).toMatch(/2 labels/);
  expect(Object.keys(failed.trainStats)).toHaveLength(13);
});

it("refuses a second feedback of one name", async () => {
  const give = (data: Buffer) =>
    post("/v2/vision/feedback", { modelId: busyModel, expectedLabel: "circle", name: "same", data: [data] });
  expect((await give(await drawPicture("circle", 77))).status).toBe(200);
  const again = await give(await drawPicture("circle", 78));
  expect([again.status, again.body.message]).toEqual([400, expect.stringContaining("same")]);
});
