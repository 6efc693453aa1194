/** Every route of this dialect × {401, 404, 405, 413}, under each of its prefixes; then tokens and quotas. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PredictionService } from "../../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, startServer, type TestServer } from "../../harness.ts";
import { drawPicture } from "../../pictures.ts";
import { call, send } from "./client.ts";

const KEY = "a-key-of-16-characters";
const OTHER = "another-key-of-16-chars";
const BODY_MAX = 100 * 1024;

let server: TestServer;

beforeAll(async () => {
  server = await startServer({
    settings: {
      CATALOGUE: "auspex/mobilenet",
      API_KEYS: `alice:${KEY},bob:${OTHER}`,
      MAX_BODY_BYTES: String(BODY_MAX),
      MONTHLY_QUOTA: "3",
    },
  });
});
afterAll(() => server?.[Symbol.asyncDispose]());

/** The path below the version; what it is for somebody who has nothing; `only` where one version serves it. */
const ROUTES = [
  { method: "GET", path: "/apiusage" },
  { method: "DELETE", path: "/oauth2/tokens/none", unknown: true },
  { method: "POST", path: "/vision/datasets" },
  { method: "GET", path: "/vision/datasets" },
  { method: "POST", path: "/vision/datasets/upload" },
  { method: "POST", path: "/vision/datasets/upload/sync" },
  { method: "GET", path: "/vision/datasets/1", unknown: true },
  { method: "DELETE", path: "/vision/datasets/1", unknown: true },
  { method: "PUT", path: "/vision/datasets/1/upload", form: { path: "http://127.0.0.1/x.zip" } },
  { method: "POST", path: "/vision/datasets/1/labels", form: { name: "a" }, unknown: true, only: 1 },
  { method: "GET", path: "/vision/datasets/1/labels/1", unknown: true, only: 1 },
  { method: "POST", path: "/vision/datasets/1/examples", form: "picture", unknown: true },
  { method: "GET", path: "/vision/datasets/1/examples", unknown: true },
  { method: "GET", path: "/vision/datasets/1/examples/1", unknown: true, only: 1 },
  { method: "DELETE", path: "/vision/datasets/1/examples/1", unknown: true, only: 1 },
  { method: "GET", path: "/vision/examples?labelId=1", unknown: true },
  { method: "POST", path: "/vision/feedback", form: "picture", unknown: true },
  { method: "GET", path: "/vision/deletion/AAAAAAAAAAAAAAAAAAAAAAAAAA", unknown: true },
  { method: "POST", path: "/vision/train", form: { datasetId: 1, name: "x" }, unknown: true },
  { method: "POST", path: "/vision/retrain", form: { modelId: "NONE" }, unknown: true },
  { method: "GET", path: "/vision/train/NONE", unknown: true },
  { method: "GET", path: "/vision/datasets/1/models", unknown: true },
  { method: "GET", path: "/vision/models/NONE", unknown: true },
  { method: "GET", path: "/vision/models/NONE/lc", unknown: true },
  { method: "DELETE", path: "/vision/models/NONE", unknown: true },
  { method: "POST", path: "/vision/predict", form: "picture", unknown: true },
  { method: "POST", path: "/vision/detect", form: "picture", unknown: true },
] as const;

const CASES = ROUTES.flatMap((route) =>
  ([1, 2] as const)
    .filter((version) => !("only" in route) || route.only === version)
    .map((version) => ({
      ...route,
      line: `${route.method} /v${version}${route.path}`,
      full: `/v${version}${route.path}`,
    })),
);

describe.each(CASES)("$line", (route) => {
  const { method, full } = route;
  const slashed = full.includes("?") ? full.replace("?", "/?") : `${full}/`;

  it("is 401 without a credential, with a wrong one, and with what is none", async () => {
    for (const path of [full, slashed]) {
      const refusal = async (headers: Record<string, string>) => {
        const { status, body } = await call(server, method, path, { headers });
        return [status, body];
      };
      expect(await refusal({})).toEqual([401, { message: "Invalid authentication scheme" }]);
      expect(await refusal({ authorization: "Basic YTpi" })).toEqual([
        401,
        { message: "Invalid authentication scheme" },
      ]);
      expect(await refusal({ authorization: "Bearer not-a-key-of-anybody" })).toEqual([
        401,
        { message: "Invalid access token" },
      ]);
    }
  });

  if ("unknown" in route)
    it("is 404 for what is not there", async () => {
      const picture = { data: [await drawPicture("circle", 1)] as const };
      const given = "form" in route ? route.form : undefined;
      const form =
        given === "picture"
          ? {
              modelId: "NONE",
              expectedLabel: "a",
              name: "a",
              labelId: 1,
              sampleContent: picture.data,
              ...picture,
            }
          : given;
      for (const path of [full, slashed]) {
        const { status, body } = await call(server, method, path, { key: KEY, ...(form && { form }) });
        expect([status, body]).toEqual([404, { message: expect.any(String) }]);
      }
    });

  it("is 405 by another method", async () => {
    for (const path of [full, slashed]) {
      const { status, body, headers } = await call(server, "PATCH", path, { key: KEY });
      expect([status, body]).toEqual([405, { message: "Method not allowed" }]);
      expect(headers.get("allow")?.split(", ")).toContain(method);
    }
  });

  if (method === "POST" || method === "PUT")
    it("is 413 with a body beyond the limit, before any of it is looked at", async () => {
      const head = [`${method} ${full} HTTP/1.1`, `Authorization: Bearer ${KEY}`];
      const sized = [
        ...head,
        `Content-Length: ${BODY_MAX + 1}`,
        "Content-Type: multipart/form-data; boundary=b",
      ];
      expect(await send(server, sized)).toMatchObject({ status: 413, body: { message: expect.any(String) } });
    });
});

it.each([
  ["GET", "/v2"],
  ["GET", "/v2/"],
  ["GET", "/v2/nothing"],
  ["GET", "/v2/vision"],
  ["POST", "/v2/vision/datasets/1/labels"],
  ["GET", "/v2/vision/datasets/1/examples/1"],
  ["GET", "/v1/vision"],
  ["GET", "/v1/vision/nothing"],
  ["GET", "/v1/oauth2"],
  ["GET", "/v1/apiusage/nothing"],
])("%s %s is nobody's, as JSON of this dialect", async (method, path) => {
  const { status, body } = await call(server, method, path, { key: KEY });
  expect([status, body]).toEqual([404, { message: "Not found" }]);
});

it("leaves the rest of /v1 to the dialect that has it", async () => {
  const models = await call(server, "GET", "/v1/models", { key: KEY });
  expect([models.status, Object.keys(models.body)]).toEqual([
    200,
    expect.arrayContaining(["items", "next_cursor"]),
  ]);
  for (const path of ["/v1/visions", "/v1/nothing"]) {
    expect(await call(server, "GET", path, { key: KEY })).toMatchObject({
      status: 404,
      body: { detail: "Not Found" },
    });
  }
});

it("shows nobody what is another's", async () => {
  const { body } = await call(server, "POST", "/v2/vision/datasets", {
    key: KEY,
    form: { name: "mine", labels: "a,b" },
  });
  const path = `/v2/vision/datasets/${body.id}`;
  expect((await call(server, "GET", path, { key: KEY })).status).toBe(200);
  for (const method of ["GET", "DELETE"]) {
    expect((await call(server, method, path, { key: OTHER })).status).toBe(404);
  }
  expect((await call(server, "GET", "/v2/vision/datasets", { key: OTHER })).body.data).toEqual([]);
  expect((await call(server, "DELETE", path.replace("/v2", "/v1"), { key: KEY })).status).toBe(204);
});

it("lists 25 datasets a page, whatever more is asked for", async () => {
  for (let i = 0; i < 26; i++) {
    await call(server, "POST", "/v2/vision/datasets", { key: OTHER, form: { name: `set ${i}` } });
  }
  const list = async (query: string): Promise<string[]> => {
    const { body } = await call(server, "GET", `/v2/vision/datasets${query}`, { key: OTHER });
    return body.data.map(({ name }: { name: string }) => name);
  };
  const names = Array.from({ length: 26 }, (_, i) => `set ${i}`);
  for (const query of ["", "?count=1000", "?count=25", "?count=99999999999&strange=1"]) {
    expect(await list(query)).toEqual(names.slice(0, 25));
  }
  expect(await list("?offset=24&count=1")).toEqual(["set 24"]);
  expect(await list("?offset=25")).toEqual(["set 25"]);
  for (const query of ["?offset=26", "?offset=99999999999", "?global=true"]) {
    expect(await list(query)).toEqual([]);
  }
});

it("keeps labels and single examples under /v1, and shows pictures by links that nobody can make up", async () => {
  const { body } = await call(server, "POST", "/v1/vision/datasets", { key: KEY, form: { name: "older" } });
  const base = `/v1/vision/datasets/${body.id}`;
  const label = await call(server, "POST", `${base}/labels`, { key: KEY, form: { name: "beach" } });
  expect(label.body).toEqual({
    id: expect.any(Number),
    datasetId: body.id,
    name: "beach",
    object: "label",
  });
  expect((await call(server, "GET", `${base}/labels/${label.body.id}`, { key: KEY })).body).toEqual(
    label.body,
  );
  const picture = await drawPicture("circle", 5);
  const { body: example } = await call(server, "POST", `${base}/examples`, {
    key: KEY,
    form: { name: "a.jpg", labelId: label.body.id, data: [picture, "a.jpg", "image/jpeg"] },
  });
  const there = `${base}/examples/${example.id}`;
  expect(await call(server, "GET", there, { key: KEY })).toMatchObject({
    status: 200,
    body: { id: example.id, name: "a.jpg", object: "example" },
  });

  const fetched = await fetch(example.location);
  expect([fetched.status, fetched.headers.get("content-type")]).toEqual([200, "image/jpeg"]);
  const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  expect(hash(await fetched.bytes())).toBe(hash(picture));
  const link = new URL(example.location);
  const changed = (name: string, value: string) => {
    const other = new URL(link);
    other.searchParams.set(name, value);
    return other;
  };
  const later = String(Number(link.searchParams.get("exp")) + 1);
  const bad = [
    changed("exp", later),
    changed("exp", "0"),
    changed("sig", "AAAA"),
    new URL(link.href.replace("/files/alice.", "/files/bob.")),
    new URL(link.href.replace(`.${example.id}?`, `.${example.id + 1}?`)),
    new URL(link.pathname, link),
  ];
  for (const url of bad) expect((await fetch(url)).status).toBe(404);

  expect((await call(server, "DELETE", there, { key: KEY })).status).toBe(204);
  expect((await call(server, "GET", there, { key: KEY })).status).toBe(404);
  expect((await fetch(link)).status).toBe(404);
});

it("is 429 once the month's predictions are made, and makes no more", async () => {
  const predict = async () =>
    call(server, "POST", "/v2/vision/predict", {
      key: KEY,
      form: { modelId: "GeneralImageClassifier", sampleContent: [await drawPicture("circle", 1)] },
    });
  for (const left of [2, 1, 0]) {
    const { status, headers } = await predict();
    expect(status).toBe(200);
    expect(headers.get("x-ratelimit-limit")).toBe("3");
    expect(headers.get("x-ratelimit-remaining")).toBe(String(left));
  }
  const { status, body, headers } = await predict();
  expect([status, body]).toEqual([429, { message: expect.any(String), object: "predictresponse" }]);
  expect(headers.get("x-ratelimit-remaining")).toBe("0");
  expect(headers.get("x-ratelimit-reset")).toMatch(/^\d{4}-\d\d-01 00:00:00\.0$/);
  const { predictions } = await clientOf(server, "grpc", PredictionService, KEY).listPredictions({});
  expect(predictions).toHaveLength(3);
  const usage = (await call(server, "GET", "/v2/apiusage", { key: KEY })).body.data[0];
  expect(usage).toMatchObject({ predictionsMax: 3, predictionsUsed: 3, predictionsRemaining: 0 });
});
