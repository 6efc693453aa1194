/** Calls that are refused, with what is said: a table for `errors.test.ts`, which fills in what is given. */
import type { Call, Fields } from "./client.ts";

export interface Given {
  /** A dataset that is ready, and its one label. */
  ready: number;
  label: number;
  /** Datasets that are being filled and trained from, and the model that is being trained. */
  importing: number;
  training: number;
  busyModel: string;
  circle: Buffer<ArrayBuffer>;
  /** Serves `/page.html` alone. */
  filesUrl: string;
}

export const given: Given = {
  ready: 0,
  label: 0,
  importing: 0,
  training: 0,
  busyModel: "",
  circle: Buffer.alloc(0),
  filesUrl: "",
};

export const GENERAL = "GeneralImageClassifier";

export interface Row {
  readonly call: string;
  readonly send: () => Call & { readonly path?: "ready" | "importing" | "training" };
  readonly status?: number;
  /** The whole sentence, or what is in it. */
  readonly message: string | RegExp;
}

const form = (fields: () => Fields, path?: "ready" | "importing" | "training") => () => ({
  form: fields(),
  ...(path && { path }),
});

export const DATASET_ROWS: readonly Row[] = [
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
      {
        ...to,
        send: form(() => ({ path: `${given.filesUrl}/x.zip`, data: [given.circle] })),
        message: duplicated,
      },
      { ...to, send: form(() => ({ data: [[given.circle], [given.circle]] })), message: duplicated },
      {
        ...to,
        send: form(() => ({ data: [given.circle, "x.jpg", "image/jpg"] })),
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
    send: form(() => ({ path: `${given.filesUrl}/page.html` })),
    message: "Failed to download the dataset from the public URL.",
  },
  {
    call: "POST /v2/vision/datasets/upload/sync",
    send: form(() => ({ path: `${given.filesUrl}/none.zip` })),
    message: "Failed to download the dataset from the public URL.",
  },
  {
    call: "POST /v2/vision/datasets/upload/sync",
    send: form(() => ({ data: [given.circle, "x.zip"] })),
    message: /^Invalid zip: /,
  },
  {
    call: "PUT /v2/vision/datasets/ID/upload",
    send: form(() => ({ data: [given.circle] }), "importing"),
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
export const EXAMPLE_ROWS: readonly Row[] = [
  { call: EXAMPLE, send: form(() => ({ name: "a", data: [given.circle] }), "ready"), message: INCOMPLETE },
  {
    call: EXAMPLE,
    send: form(() => ({ labelId: given.label, data: [given.circle] }), "ready"),
    message: INCOMPLETE,
  },
  { call: EXAMPLE, send: form(() => ({ name: "a", labelId: given.label }), "ready"), message: INCOMPLETE },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: 1, data: [given.circle] }), "ready"),
    status: 404,
    message: /label/,
  },
  {
    call: EXAMPLE,
    send: form(
      () => ({ name: "a", labelId: given.label, data: [given.circle, "a.jpg", "image/jpg"] }),
      "ready",
    ),
    message: /^File content must be provided in one of the supported file formats/,
  },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: given.label, data: [[given.circle], [given.circle]] }), "ready"),
    message: /'data'/,
  },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: given.label, data: [Buffer.from("no picture")] }), "ready"),
    message: /PNG or a JPEG/,
  },
  {
    call: EXAMPLE,
    send: form(() => ({ name: "a", labelId: given.label, data: [given.circle.subarray(0, 200)] }), "ready"),
    message: /'data'/,
  },
  {
    call: EXAMPLE,
    send: form(
      () => ({
        name: "a",
        labelId: given.label,
        data: [Buffer.concat([given.circle, Buffer.alloc(1024 ** 2 - given.circle.length + 1)])],
      }),
      "ready",
    ),
    message: /'data'.*1048576/,
  },
  {
    call: "POST /v2/vision/feedback",
    send: form(() => ({ modelId: given.busyModel, expectedLabel: "circle" })),
    message: /'modelId', 'data', and 'expectedLabel'/,
  },
  {
    call: "POST /v2/vision/feedback",
    send: form(() => ({ modelId: "NONE", expectedLabel: "circle", data: [given.circle] })),
    status: 404,
    message: /NONE can't be found/,
  },
  {
    call: "POST /v2/vision/feedback",
    send: form(() => ({ modelId: given.busyModel, expectedLabel: "moon", data: [given.circle] })),
    message: /'expectedLabel'/,
  },
];

const TRAIN = "POST /v2/vision/train";
const train = (fields: Fields) => form(() => ({ datasetId: given.ready, name: "x", ...fields }));
export const TRAIN_ROWS: readonly Row[] = [
  { call: TRAIN, send: form(() => ({ name: "x" })), message: /'datasetId' and 'name'/ },
  { call: TRAIN, send: form(() => ({ datasetId: given.ready })), message: /'datasetId' and 'name'/ },
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
    send: form(() => ({ datasetId: given.training, name: "x" })),
    message: /./,
  },
  { call: TRAIN, send: form(() => ({ datasetId: given.importing, name: "x" })), message: /./ },
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
export const PREDICT_ROWS: readonly Row[] = [
  { call: PREDICT, send: form(() => ({ sampleContent: [given.circle] })), message: /'modelId'/ },
  ...["NONE", "FoodImageClassifier", "auspex/none", "not a model!", "AAAAAAAAAAAAAAAAAAAAAAAAAA"].map(
    (modelId): Row => ({
      call: PREDICT,
      send: form(() => ({ modelId, sampleContent: [given.circle] })),
      status: 404,
      message: `Model not found: the model ID ${modelId} can't be found.`,
    }),
  ),
  {
    call: PREDICT,
    send: form(() => ({ modelId: given.busyModel, sampleContent: [given.circle] })),
    status: 404,
    message: /can't be found/,
  },
  { call: PREDICT, send: sample(() => ({})), message: /sampleLocation/ },
  { call: PREDICT, send: sample(() => ({ sampleLocation: " " })), message: /sampleLocation/ },
  {
    call: PREDICT,
    send: sample(() => ({
      sampleContent: [given.circle],
      sampleBase64Content: given.circle.toString("base64"),
    })),
    message: /Only one/,
  },
  {
    call: PREDICT,
    send: sample(() => ({ sampleContent: [[given.circle], [given.circle]] })),
    message: /Only one/,
  },
  ...["0", "-1", "x", "1.5"].map(
    (numResults): Row => ({
      call: PREDICT,
      send: sample(() => ({ sampleContent: [given.circle], numResults })),
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
  { call: PREDICT, send: sample(() => ({ sampleContent: [given.circle.subarray(0, 200)] })), message: /./ },
  {
    call: PREDICT,
    send: sample(() => ({ sampleContent: [given.circle, "a.jpg", "image/jpg"] })),
    message: /^File content must be provided/,
  },
  {
    call: PREDICT,
    send: sample(() => ({ sampleContent: [Buffer.concat([given.circle, Buffer.alloc(5 * 1024 ** 2)])] })),
    message: /'sampleContent'.*5242880/,
  },
  {
    call: PREDICT,
    send: sample(() => ({ sampleBase64Content: "A".repeat(8 * 1024 ** 2 + 1) })),
    message: /'sampleBase64Content'.*8388608/,
  },
  { call: PREDICT, send: sample(() => ({ sampleId: "x".repeat(65_537) })), message: /./ },
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
  { call: PREDICT, send: sample(() => ({ sampleLocation: `${given.filesUrl}/none` })), message: /404/ },
  { call: PREDICT, send: sample(() => ({ sampleLocation: `${given.filesUrl}/page.html` })), message: /./ },
  { call: PREDICT, send: () => ({ json: [1] }), message: /JSON/ },
  { call: PREDICT, send: () => ({ json: { modelId: { a: 1 } } }), message: /JSON/ },
  {
    call: PREDICT,
    send: () => ({ raw: "{", headers: { "content-type": "application/json" } }),
    message: /JSON/,
  },
  {
    call: "POST /v2/vision/detect",
    send: sample(() => ({ sampleContent: [given.circle] })),
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
export const ACCOUNT_ROWS: readonly Row[] = [
  {
    // Also where no credential is asked for.
    call: "GET /v2/apiusage",
    send: () => ({ headers: { authorization: "Basic YTpi" } }),
    status: 401,
    message: "Invalid authentication scheme",
  },
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
