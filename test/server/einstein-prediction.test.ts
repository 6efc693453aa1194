/** The Einstein Prediction dialect on the real server, held against what was recorded of its API. */
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { type Prediction, PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { uuidOfBase32 } from "../../src/domain/id.ts";
import { clientOf, photograph, startServer, type TestServer, until } from "../harness.ts";
import { drawPicture, zipOfShapes } from "../pictures.ts";
import { decodeJwt, hs256, nowS } from "../tokens.ts";
import { start, trainingClients, upload, watched } from "../training-client.ts";

const JWT_SECRET = "a secret of the server's, which is long";
const CATS = "a secret of alice's, which is also long";
const USER = "00de5b62-fc01-410c-b79f-f06765403ecc";
const IMAGE = "a4311328-d6d7-4f1c-8fb2-a10a7262b4df";
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** As recorded, but for what differs from call to call. */
const RECORDED: readonly (readonly [string, string | RegExp])[] = [
  ["Cache-Control", "no-cache, no-store"],
  ["Pragma", "no-cache"],
  ["Expires", "Fri, 01 Jan 1990 00:00:00 GMT"],
  ["Content-Type", "application/json; charset=utf-8"],
  ["X-token", /^[\w-]+\.[\w-]+\.[\w-]+$/],
  ["Vary", "Accept-Encoding"],
  ["P3P", 'CP="NOI ADM DEV PSAi COM NAV OUR OTRo STP IND DEM"'],
  ["X-Request-Id", UUID_V4],
  ["X-Runtime", /^\d+\.\d{6}$/],
  ["X-Frame-Options", "DENY"],
  ["X-Content-Type-Options", "nosniff"],
  ["X-XSS-Protection", "1; mode=block"],
  ["X-Download-Options", "noopen"],
  ["X-Permitted-Cross-Domain-Policies", "none"],
  ["Referrer-Policy", "origin-when-cross-origin, strict-origin-when-cross-origin"],
  ["Content-Length", "204"],
];

let folder: string;
let server: TestServer;
/** Serves photographs by their names; gone with the tests. */
const pictures = createServer(async (request, response) => {
  const name = (request.url ?? "").slice(1);
  if (name === "none") response.writeHead(404).end();
  else response.end(await readFile(photograph(name)));
});

const userToken = (more: Record<string, unknown> = {}) =>
  hs256({ exp: nowS() + 14_400, iat: nowS(), user_id: USER, abilities: {}, ...more }, JWT_SECRET);
const authorized = (token = userToken()) => ({ authorization: `Token token="${token}"` });
const FORM = { "content-type": "application/x-www-form-urlencoded" };

interface Raw {
  readonly status: number | undefined;
  /** Names and values as they came. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  header(name: string): string | undefined;
}

/** One exchange as it is on the wire; `fetch` would hide the spelling and the order of the headers. */
async function ask(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body: string | Uint8Array = "",
  base = server.url,
): Promise<Raw> {
  const sent = httpRequest(`${base}/api/v1${path}`, { method, headers });
  sent.end(body);
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  const raw = response.rawHeaders;
  const pairs = raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] ?? ""] as const] : []));
  return {
    status: response.statusCode,
    headers: pairs.filter(([name]) => !["Date", "Connection", "Keep-Alive"].includes(name)),
    body: await text(response),
    header: (name) => pairs.find(([known]) => known === name)?.[1],
  };
}

const predict = (form: Record<string, string>, headers: Record<string, string> = authorized()) =>
  ask("POST", "/einstein_prediction", { ...FORM, ...headers }, new URLSearchParams(form).toString());

/** The prediction that an answer is about, once it has ended. */
async function outcome(answer: Raw, token = userToken()): Promise<Prediction> {
  const id = answer.header("X-Prediction-Id") ?? "";
  let last: Prediction | undefined;
  const watch = clientOf(server, "grpc", PredictionService, token).watchPrediction({ id });
  for await (const { prediction } of watch) last = prediction;
  if (!last) throw new Error("nothing was watched");
  return last;
}

async function uploadImage(picture: Uint8Array, token = userToken()): Promise<string> {
  const answer = await ask(
    "POST",
    "/images",
    { ...authorized(token), "content-type": "image/jpeg" },
    picture,
  );
  return JSON.parse(answer.body).id;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-accounts-"));
  const file = join(folder, "accounts.json");
  await writeFile(file, JSON.stringify({ secrets: [{ id: "cats", name: "alice", secret: CATS }] }));
  pictures.listen(0, "127.0.0.1");
  await once(pictures, "listening");
  server = await startServer({
    settings: {
      ACCOUNTS_FILE: file,
      JWT_SECRET,
      EGRESS_ALLOW: "127.0.0.0/8",
      MAX_BODY_BYTES: "2MiB",
      FEATURE_EXTRACTOR: "auspex/mobilenet-tiny",
    },
  });
});
afterAll(async () => {
  pictures.close();
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

describe("the recorded call", () => {
  test("is answered as recorded: every header in its place, seven keys in theirs, nulls", async () => {
    const answer = await predict({ imageId: IMAGE, modelId: "modelid" });
    expect(answer.status).toBe(200);
    const ours = answer.headers.filter(([name]) => name !== "X-Prediction-Id");
    expect(ours.map(([name]) => name)).toEqual(RECORDED.map(([name]) => name));
    for (const [name, value] of RECORDED) {
      if (typeof value === "string") expect(answer.header(name)).toBe(value);
      else expect(answer.header(name)).toMatch(value);
    }
    const { einstein_model_id: id } = JSON.parse(answer.body);
    expect(id).toMatch(UUID);
    expect(answer.body).toBe(
      `{"einstein_model_id":"${id}","probability":null,"status":null,"image_id":"${IMAGE}",` +
        '"model_id":"modelid","type":"image-detection","message":null}',
    );
    expect(answer.header("X-Prediction-Id")).toMatch(UUID);
    // The same model has the same id.
    expect(JSON.parse((await predict({ modelId: "modelid" })).body).einstein_model_id).toBe(id);
  });

  test("fails afterwards, for the model that is not there", async () => {
    const prediction = await outcome(await predict({ imageId: IMAGE, modelId: "modelid" }));
    expect(prediction).toMatchObject({ status: PredictionStatus.FAILED, model: "modelid", version: 0 });
    expect(prediction.error?.message).toContain("modelid does not exist");
  });

  test.each([
    ["nothing", {}],
    ["an empty model", { imageId: IMAGE, modelId: "" }],
    ["a model that none can be", { modelId: "no / such: model" }],
    ["an image that none can be", { imageId: "http://127.0.0.1/zebra", modelId: "auspex/mobilenet-tiny" }],
    ["a model and an unknown image", { imageId: IMAGE, modelId: "auspex/mobilenet-tiny" }],
  ])("with %s is a 200 that fails afterwards", async (_name, form: Record<string, string>) => {
    const answer = await predict(form);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({
      image_id: form.imageId ?? null,
      model_id: form.modelId ?? null,
      probability: null,
      status: null,
      message: null,
    });
    expect((await outcome(answer)).status).toBe(PredictionStatus.FAILED);
  });

  test("may be JSON, a form of parts, or in the query", async () => {
    const form = new FormData();
    form.set("imageId", IMAGE);
    form.set("modelId", "modelid");
    const multipart = new Response(form);
    const calls = [
      ask(
        "POST",
        "/einstein_prediction",
        { ...authorized(), "content-type": "application/json" },
        JSON.stringify({ imageId: IMAGE, modelId: "modelid", more: { x: 1 } }),
      ),
      ask(
        "POST",
        "/einstein_prediction/",
        { ...authorized(), "content-type": multipart.headers.get("content-type") ?? "" },
        new Uint8Array(await multipart.arrayBuffer()),
      ),
      ask("POST", `/einstein_prediction?imageId=${IMAGE}&modelId=modelid`, authorized()),
    ];
    for (const { status, body } of await Promise.all(calls)) {
      expect(status).toBe(200);
      expect(JSON.parse(body)).toMatchObject({ image_id: IMAGE, model_id: "modelid" });
    }
  });
});

test("a picture and a model by its outside id are a prediction, seen by gRPC, with the model's type and UUID", async () => {
  const models = clientOf(server, "grpc", ModelService, userToken());
  await models.setModelAlias({ alias: "a042400000Ns4HdAAJ", model: "auspex/mobilenet-tiny" });
  const answer = await predict({
    imageId: await uploadImage(await readFile(photograph("zebra"))),
    modelId: "a042400000Ns4HdAAJ",
  });
  const { version } = await models.getModelVersion({ model: "auspex/mobilenet-tiny", version: 1 });
  expect(JSON.parse(answer.body)).toMatchObject({
    einstein_model_id: version?.modelUuid,
    type: "image-classification",
    model_id: "a042400000Ns4HdAAJ",
  });
  const prediction = await outcome(answer);
  expect(prediction).toMatchObject({ status: PredictionStatus.SUCCEEDED, model: "auspex/mobilenet-tiny" });
  expect(JSON.stringify(prediction.output)).toContain("zebra");
});

test("a model of one's own is known by its 26 characters, which are its UUID in another spelling", async () => {
  const clients = trainingClients(server, userToken());
  const dataset = await upload(clients, await zipOfShapes(["circle", "cross"], 10));
  const training = (await watched(clients, (await start(clients, dataset.id, { seed: 1 })).id)).at(-1);
  const modelId = training?.modelId ?? "";
  const answer = await predict({ imageId: await uploadImage(await drawPicture("circle", 1000)), modelId });
  expect(JSON.parse(answer.body)).toMatchObject({
    einstein_model_id: uuidOfBase32(modelId),
    type: "image-classification",
    model_id: modelId,
  });
  const prediction = await outcome(answer);
  expect(prediction).toMatchObject({
    status: PredictionStatus.SUCCEEDED,
    model: training?.model,
    version: 1,
  });
});

describe("tokens", () => {
  test("a user's is issued anew: claims copied, four hours from now, in the recorded order", async () => {
    const sent = userToken({ iat: nowS() - 100, exp: nowS() + 5, admin: true });
    const answer = await predict({}, authorized(sent));
    const anew = answer.header("X-token") ?? "";
    const { claims } = decodeJwt(anew);
    const iat = Number(claims.iat);
    expect(Math.abs(iat - nowS())).toBeLessThanOrEqual(2);
    expect(Object.keys(claims)).toEqual(["exp", "iat", "user_id", "abilities", "admin"]);
    expect(anew).toBe(
      hs256({ exp: iat + 14_400, iat, user_id: USER, abilities: {}, admin: true }, JWT_SECRET),
    );
    expect(anew.startsWith("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.")).toBe(true);
    expect((await predict({}, authorized(anew))).status).toBe(200);
  });

  test("a secret's works too, gains an exp, and is its account's", async () => {
    const sent = hs256({ iss: "cats", abilities: { album: { Access: { see: true } } } }, CATS);
    const id = await uploadImage(await readFile(photograph("zebra")), sent);
    const answer = await predict({ imageId: id, modelId: "auspex/mobilenet-tiny" }, authorized(sent));
    const { claims } = decodeJwt(answer.header("X-token") ?? "");
    expect(Object.keys(claims)).toEqual(["exp", "iat", "iss", "abilities"]);
    expect((await outcome(answer, sent)).status).toBe(PredictionStatus.SUCCEEDED);
    expect((await ask("GET", `/images/${id}`, authorized())).status).toBe(404);
    expect((await ask("GET", `/images/${id}`, authorized(sent))).status).toBe(200);
  });

  test.each<[string, () => string]>([
    ["quotes", () => `Token token="${userToken()}"`],
    ["no quotes", () => `Token token=${userToken()}`],
    ["another case", () => `token token="${userToken()}"`],
    ["more behind it", () => `Token token="${userToken()}", nonce="x"`],
  ])("may be written with %s", async (_name, header) => {
    const answer = await predict({}, { authorization: header() });
    expect(answer.status).toBe(200);
    expect(answer.header("X-token")).toBeDefined();
  });

  test("as a bearer it is known too, and not issued anew", async () => {
    const answer = await predict({}, { authorization: `Bearer ${userToken()}` });
    expect([answer.status, answer.header("X-token")]).toEqual([200, undefined]);
  });

  test.each<[string, () => Record<string, string>]>([
    ["no token", () => ({})],
    ["an empty one", () => authorized("")],
    ["another scheme", () => ({ authorization: "Basic YTpi" })],
    ["a forged one", () => authorized(hs256({ user_id: USER }, CATS))],
    ["an expired one", () => authorized(userToken({ exp: nowS() - 1 }))],
    ["one of tomorrow", () => authorized(userToken({ iat: nowS() + 3600 }))],
    ["alg none", () => authorized(hs256({ user_id: USER }, JWT_SECRET, { alg: "none" }))],
    ["one that is too long", () => authorized(userToken({ x: "x".repeat(7000) }))],
    ["an unknown secret", () => authorized(hs256({ iss: "dogs" }, CATS))],
    ["no JWT", () => authorized("abc")],
  ])("%s: 401 without a body, as recorded", async (_name, headers) => {
    const answer = await predict({ imageId: IMAGE, modelId: "modelid" }, headers());
    expect([answer.status, answer.body]).toEqual([401, ""]);
    const names = RECORDED.map(([name]) => name).filter((name) => name !== "X-token");
    names.splice(3, 0, "X-message");
    expect(answer.headers.map(([name]) => name)).toEqual(names);
    expect(answer.header("X-message")).toBe("Access denied");
    expect(answer.header("Content-Type")).toBe("text/html");
    expect(answer.header("Content-Length")).toBe("0");
  });

  test.each([
    ["POST", "/einstein_prediction"],
    ["POST", "/imports"],
    ["GET", `/imports/${IMAGE}`],
    ["POST", "/images"],
    ["GET", `/images/${IMAGE}/`],
  ])("%s %s asks for one", async (method, path) => {
    expect(await ask(method, path)).toMatchObject({ status: 401, body: "" });
  });

  test("an open server asks for none, issues one anew that is sent, and refuses what is no valid JWT", async () => {
    await using open = await startServer({ settings: { CATALOGUE: "0", JWT_SECRET } });
    const call = (headers: Record<string, string>) =>
      ask("POST", "/einstein_prediction", { ...FORM, ...headers }, "modelId=x", open.url);
    const without = await call({});
    expect([without.status, without.header("X-token")]).toEqual([200, undefined]);
    const stranger = await call(authorized(hs256({ user_id: USER, abilities: {} }, "whose secret is this")));
    expect(stranger.status).toBe(200);
    const anew = stranger.header("X-token") ?? "";
    expect(anew).toBe(hs256(decodeJwt(anew).claims, JWT_SECRET));
    for (const bad of [hs256({ exp: nowS() - 1 }, "x"), hs256({}, "x", { alg: "none" }), "abc"])
      expect((await call(authorized(bad))).status).toBe(401);
  });
});

describe("images", () => {
  const urlOf = (name: string) => `http://127.0.0.1:${(pictures.address() as AddressInfo).port}/${name}`;
  const importOf = (parameters: Record<string, string>) =>
    ask("POST", "/imports", { ...authorized(), ...FORM }, new URLSearchParams(parameters).toString());

  test("are imported: null at once, then filled, and can be predicted on", async () => {
    const answer = await importOf({ url: urlOf("duck"), import_type: "url", album_id: "ignored" });
    expect(answer.status).toBe(200);
    const begun = JSON.parse(answer.body);
    expect(begun).toEqual({
      id: expect.stringMatching(UUID),
      import_type: "url",
      url: urlOf("duck"),
      status: null,
      image_id: null,
      message: null,
    });
    const imported = await until(async () => {
      const now = JSON.parse((await ask("GET", `/imports/${begun.id}`, authorized())).body);
      return now.status !== null && now;
    });
    expect(imported).toMatchObject({ ...begun, status: "completed", image_id: expect.stringMatching(UUID) });
    const { image_id: imageId } = imported;
    expect(JSON.parse((await ask("GET", `/images/${imageId}/`, authorized())).body)).toMatchObject({
      id: imageId,
      content_type: "image/jpeg",
      width: expect.any(Number),
    });
    const prediction = await outcome(await predict({ imageId, modelId: "auspex/mobilenet-tiny" }));
    expect(prediction.status).toBe(PredictionStatus.SUCCEEDED);
  });

  test("that cannot be had are failed imports, and no images", async () => {
    const { id } = JSON.parse((await importOf({ url: urlOf("none") })).body);
    const failed = await until(async () => {
      const now = JSON.parse((await ask("GET", `/imports/${id}`, authorized())).body);
      return now.status !== null && now;
    });
    expect(failed).toMatchObject({
      status: "failed",
      image_id: null,
      message: expect.stringContaining("404"),
    });
    expect((await ask("GET", `/images/${id}`, authorized())).status).toBe(404);
  });

  test("are uploaded as a form's file", async () => {
    const form = new FormData();
    form.set("album", "ignored");
    form.set("file", new Blob([await readFile(photograph("zebra"))]), "zebra.jpg");
    const body = new Response(form);
    const headers = { ...authorized(), "content-type": body.headers.get("content-type") ?? "" };
    const answer = await ask("POST", "/images", headers, new Uint8Array(await body.arrayBuffer()));
    expect(answer.status).toBe(200);
    const { id } = JSON.parse(answer.body);
    expect((await ask("GET", `/images/${id}`, authorized())).body).toBe(answer.body);
    expect((await ask("GET", `/imports/${id}`, authorized())).status).toBe(404);
  });
});

describe("refusals are JSON of its own", () => {
  const JSON_TYPE = { "content-type": "application/json" };
  const cases: readonly [number, string, () => Promise<Raw>][] = [
    [404, "an unknown path", () => ask("GET", "/images/a/b", authorized())],
    [404, "an unknown path, without a token", () => ask("GET", "/imports/a/b")],
    [404, "an unknown image", () => ask("GET", `/images/${IMAGE}`, authorized())],
    [404, "an id that is none", () => ask("GET", "/images/x", authorized())],
    [404, "an empty id", () => ask("GET", "/imports//", authorized())],
    [405, "another method", () => ask("GET", "/einstein_prediction", authorized())],
    [405, "another method, on a slash", () => ask("DELETE", "/images/", authorized())],
    [400, "no JSON", () => ask("POST", "/einstein_prediction", { ...authorized(), ...JSON_TYPE }, "{")],
    [
      400,
      "no JSON object",
      () => ask("POST", "/einstein_prediction", { ...authorized(), ...JSON_TYPE }, "[]"),
    ],
    [400, "no UTF-8", () => ask("POST", "/imports", { ...authorized(), ...FORM }, Buffer.from([0xff]))],
    [
      400,
      "no multipart",
      () =>
        ask("POST", "/images", { ...authorized(), "content-type": "multipart/form-data; boundary=x" }, "y"),
    ],
    [422, "no picture", () => ask("POST", "/images", authorized(), "this is not a picture")],
    [422, "nothing", () => ask("POST", "/images", authorized())],
    [422, "an import of nothing", () => ask("POST", "/imports", authorized())],
    [422, "an import of a file", () => ask("POST", "/imports?url=file:///etc/passwd", authorized())],
    [422, "an import from within", () => ask("POST", "/imports?url=http://10.0.0.1/", authorized())],
    [422, "another kind of import", () => ask("POST", "/imports?import_type=ftp", authorized())],
    [
      422,
      "a model of 257 characters",
      () => ask("POST", `/einstein_prediction?modelId=${"x".repeat(257)}`, authorized()),
    ],
    [
      413,
      "more parameters than 1 MiB",
      () => ask("POST", "/einstein_prediction", { ...authorized(), ...FORM }, "x".repeat(1024 ** 2 + 1)),
    ],
    [
      413,
      "a body over the limit",
      () => ask("POST", "/images", authorized(), Buffer.alloc(2 * 1024 ** 2 + 1)),
    ],
  ];
  test.each(cases)("%i: %s", async (status, _name, call) => {
    const answer = await call();
    expect(answer.status).toBe(status);
    expect(answer.header("Content-Type")).toBe("application/json; charset=utf-8");
    expect(JSON.parse(answer.body)).toEqual({ status, error: expect.stringMatching(/./) });
    expect(answer.header("X-token")).toBeUndefined();
    expect(answer.header("X-Frame-Options")).toBe("DENY");
    if (status === 405) expect(answer.header("Allow")).toMatch(/^POST/);
  });

  test("a model of 256 characters and parameters of 1 MiB are taken", async () => {
    const path = `/einstein_prediction?modelId=${"x".repeat(256)}`;
    expect((await ask("POST", path, { ...authorized(), ...FORM }, "x".repeat(1024 ** 2))).status).toBe(200);
  });

  test("429: more than may be created", async () => {
    await using limited = await startServer({ settings: { CATALOGUE: "0", MONTHLY_QUOTA: "1" } });
    const call = () => ask("POST", "/einstein_prediction", {}, "", limited.url);
    expect((await call()).status).toBe(200);
    const answer = await call();
    expect(answer.status).toBe(429);
    expect(Number(answer.header("Retry-After"))).toBeGreaterThan(0);
    expect(JSON.parse(answer.body)).toMatchObject({ status: 429 });
  });
});
