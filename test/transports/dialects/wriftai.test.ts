/** The WriftAI dialect's answers, row by row of its contract (§1.2 to §1.6). */
import { connect } from "node:net";
import { create as createMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  PredictionError_Source,
  PredictionSchema,
  PredictionStatus,
  Webhook_Format,
} from "../../../gen/auspex/v1/prediction_pb.ts";
import { DataType } from "../../../gen/auspex/v1/tensor_pb.ts";
import { renderPrediction } from "../../../src/transports/dialects/wriftai.ts";
import { predictionId, TIME } from "./wriftai/memory-services.ts";
import { ask, create, listen, post, serve, stop, UUID_V4 } from "./wriftai/served.ts";

describe("creating", () => {
  it("answers 202 with the pending prediction, its keys in the contract's order", async () => {
    serve();
    const response = await create();
    expect(response.statusCode).toBe(202);
    expect(response.headers["content-type"]).toMatch(/^application\/json/);
    expect(response.headers.location).toBe(`http://localhost:80/v1/predictions/${predictionId(1)}`);
    expect(response.body).toBe(
      `{"id":"${predictionId(1)}","model":{"owner":"acme","name":"echo","version_number":2},` +
        '"created_at":"2026-03-02T10:00:00.120000Z","status":"pending","updated_at":"2026-03-02T10:00:00.120011Z",' +
        '"setup_time":null,"execution_time":null,"error":null,"input":{"prompt":"hi"},"output":null}',
    );
  });

  it("takes the model from the body or from the path", async () => {
    const services = serve();
    await post("/predictions", { model: "acme/echo:1", input: {} });
    await post("/models/acme/echo/predictions", { model: 5, input: {} });
    const third = await post("/models/acme/echo/versions/1/predictions", { input: {} });
    expect(services.created.map(({ model }) => model)).toEqual(["acme/echo:1", "acme/echo", "acme/echo:1"]);
    expect(third.json().model).toEqual({ owner: "acme", name: "echo", version_number: 1 });
    expect(third.statusCode).toBe(202);
  });

  it("answers 200 when the prediction finishes within the wait", async () => {
    const services = serve();
    const response = await create({ prefer: "respond-async, wait=10" });
    expect(response.statusCode).toBe(200);
    expect(response.json()).toMatchObject({ status: "succeeded", output: { text: "hi" } });
    expect(services.created[0]?.wait).toMatchObject({ seconds: 10n, nanos: 0 });
  });

  it.each([
    ["wait=30", 30n],
    ["wait=31", 30n],
    ["wait=1e9", 0n],
    ["respond-async", 0n],
  ])("Prefer: %s waits %d s at most", async (prefer, seconds) => {
    const services = serve();
    await create({ prefer });
    expect(services.created[0]?.wait?.seconds).toBe(seconds);
  });

  it("passes on validation, idempotency and the webhook", async () => {
    const services = serve();
    const body = {
      model: "acme/echo",
      input: {},
      webhook: { url: "https://x.example/hook", secret: "s" },
      more: 1,
    };
    const headers = { "validate-input": "Yes", "idempotency-key": "once" };
    const first = await post("/predictions", body, headers);
    const second = await post("/predictions", { ...body, webhook: null }, headers);
    expect(second.json().id).toBe(first.json().id);
    expect(services.created[0]).toMatchObject({
      validateInput: true,
      requestId: "once",
      webhook: { url: "https://x.example/hook", secret: "s", format: Webhook_Format.WRIFTAI },
    });
    expect(services.created[1]?.webhook).toBeUndefined();
  });

  it("takes JSON of any JSON type, with a byte order mark, and the last of two keys", async () => {
    const services = serve();
    const text = '\ufeff{"model":"nobody/none","model":"acme/echo","input":{"__proto__":{"a":1}}}';
    const response = await post("/predictions", text, {
      "content-type": "Application/LD+json; charset=utf-8",
    });
    expect(response.statusCode).toBe(202);
    expect(Object.hasOwn(services.created[0]?.input ?? {}, "__proto__")).toBe(true);
    expect(response.body).toContain('"input":{"__proto__":{"a":1}}');
  });
});

describe("a prediction", () => {
  const base = { id: predictionId(1), model: "acme/echo", version: 3, createTime: TIME, updateTime: TIME };
  const shown = (init: MessageInitShape<typeof PredictionSchema>) =>
    renderPrediction(createMessage(PredictionSchema, { ...base, ...init } as typeof base));

  it("shows times as ISO 8601 durations once they are known", () => {
    const seen = shown({
      status: PredictionStatus.SUCCEEDED,
      setupTime: { seconds: 0n, nanos: 800_000_000 },
      executionTime: { seconds: 1n, nanos: 250_000_999 },
      output: { text: "hi" },
    });
    expect(seen).toMatchObject({ setup_time: "PT0.8S", execution_time: "PT1.25S", output: { text: "hi" } });
  });

  it.each([
    [0, 0, "PT0S"],
    [59, 999_999_000, "PT59.999999S"],
    [60, 0, "PT1M"],
    [90, 0, "PT1M30S"],
    [3661, 500_000_000, "PT1H1M1.5S"],
    [86_400, 0, "P1D"],
    [90_061, 1000, "P1DT1H1M1.000001S"],
    [0, 1000, "PT0.000001S"],
  ])("of %d s and %d ns took %s", (seconds, nanos, text) => {
    expect(shown({ executionTime: { seconds: BigInt(seconds), nanos } }).execution_time).toBe(text);
  });

  it("that failed says whose fault it is", () => {
    const error = { source: PredictionError_Source.INTERNAL, message: "the worker died", code: "internal" };
    expect(shown({ status: PredictionStatus.FAILED, error })).toMatchObject({
      status: "failed",
      output: null,
      error: { source: "internal", message: "the worker died", detail: { code: "internal" } },
    });
  });

  it("that was canceled shows as failed", () => {
    const seen = shown({ status: PredictionStatus.CANCELED });
    expect(seen.status).toBe("failed");
    expect(JSON.stringify(seen.error)).toBe('{"source":"external","message":"canceled","detail":null}');
  });

  it("of typed tensors shows their elements", () => {
    // The view starts at an odd address, where a Float32Array could not.
    const data = new Uint8Array([0, 0, 0, 192, 63, 0, 0, 0, 192]).subarray(1);
    const int = new Uint8Array(new Int32Array([-2]).buffer);
    const seen = shown({
      status: PredictionStatus.SUCCEEDED,
      tensors: { x: { dtype: DataType.FLOAT32, shape: [1, 2], data } },
      outputTensors: {
        i: { dtype: DataType.INT32, shape: [1], data: int },
        b: { dtype: DataType.BOOL, shape: [2], data: new Uint8Array([0, 1]) },
        u: { dtype: DataType.UINT8, shape: [], data: new Uint8Array([255]) },
      },
    });
    expect(seen.input).toEqual({ inputs: { x: { dtype: "float32", shape: [1, 2], data: [1.5, -2] } } });
    expect(seen.output).toEqual({
      outputs: {
        i: { dtype: "int32", shape: [1], data: [-2] },
        b: { dtype: "bool", shape: [2], data: [false, true] },
        u: { dtype: "uint8", shape: [], data: [255] },
      },
    });
  });

  it("is got by its id, in any spelling of it", async () => {
    serve().put({ input: { prompt: "hi" } });
    for (const id of [predictionId(1), predictionId(1).replaceAll("-", ""), predictionId(1).toUpperCase()]) {
      const response = await ask("GET", `/predictions/${id}`);
      expect([response.statusCode, response.json().id]).toEqual([200, predictionId(1)]);
    }
  });

  it("is canceled with null, and not twice", async () => {
    serve().put({});
    const path = `/predictions/${predictionId(1)}/cancel`;
    const first = await ask("POST", path);
    expect([first.statusCode, first.body]).toEqual([200, "null"]);
    const second = await ask("POST", path);
    expect(second.statusCode).toBe(409);
    expect(second.json()).toEqual({ detail: `prediction ${predictionId(1)} has already finished` });
  });
});

describe("lists", () => {
  const EMPTY = '{"items":[],"next_cursor":null,"previous_cursor":null,"next_url":null,"previous_url":null}';

  it("have exactly five keys", async () => {
    serve();
    expect((await ask("GET", "/predictions")).body).toBe(EMPTY);
  });

  it("have items without error, input and output", async () => {
    serve().put({ input: { a: 1 } });
    const [item] = (await ask("GET", "/predictions")).json().items;
    expect(Object.keys(item)).toEqual([
      "id",
      "model",
      "created_at",
      "status",
      "updated_at",
      "setup_time",
      "execution_time",
    ]);
  });

  it("are read in both directions through the same parameter", async () => {
    const services = serve();
    for (let i = 0; i < 12; i++) services.put({});
    const ids = (page: { items: { id: string }[] }) => page.items.map(({ id }) => id);
    const follow = async (url: string) =>
      (
        await ask("GET", url.replace("http://api.example/v1", ""), { headers: { host: "api.example" } })
      ).json();
    const first = await follow("/predictions?page_size=5");
    expect(first.previous_url).toBeNull();
    expect(first.next_url).toBe(`http://api.example/v1/predictions?page_size=5&cursor=${first.next_cursor}`);
    expect(JSON.parse(Buffer.from(first.next_cursor, "base64url").toString())).toEqual({ page: "5" });
    const second = await follow(first.next_url);
    const third = await follow(second.next_url);
    expect(third.next_url).toBeNull();
    expect([first, second, third].flatMap(ids)).toEqual(
      Array.from({ length: 12 }, (_, i) => predictionId(12 - i)),
    );
    expect(ids(await follow(third.previous_url))).toEqual(ids(second));
    expect(ids(await follow(second.previous_url))).toEqual(ids(first));
  });

  it.each([
    "x",
    "eyJ",
    "!!",
    "bnVsbA",
    Buffer.from('{"page":7}').toString("base64url"),
    Buffer.from('{"page":"x"}').toString("base64url"),
  ])("refuse the cursor %j", async (cursor) => {
    serve();
    const response = await ask("GET", `/predictions?cursor=${cursor}`);
    expect(response.statusCode).toBe(422);
    expect(response.json().detail).toMatchObject([{ type: "value_error", loc: ["query", "cursor"] }]);
  });

  it("hold 5 to 50 items, 25 unless told", async () => {
    const services = serve();
    for (let i = 0; i < 60; i++) services.put({});
    const count = async (query: string) => (await ask("GET", `/predictions${query}`)).json().items.length;
    expect(await count("")).toBe(25);
    expect(await count("?page_size=5")).toBe(5);
    expect(await count("?page_size=7&page_size=50")).toBe(50);
  });

  it("name their own address where the request names none that can be believed", async () => {
    const services = serve();
    for (let i = 0; i < 6; i++) services.put({});
    const headers = { host: 'x"/evil y' };
    const { next_url } = (await ask("GET", "/predictions?page_size=5", { headers })).json();
    expect(next_url).toMatch(/^http:\/\/[a-z0-9.:[\]]+\/v1\/predictions\?/);
  });
});

describe("models", () => {
  it("are listed newest first, page by page", async () => {
    serve();
    const first = (await ask("GET", "/models?page_size=5")).json();
    const second = (await ask("GET", first.next_url.slice(first.next_url.indexOf("/models")))).json();
    const names = [...first.items, ...second.items].map((model: { name: string }) => model.name);
    expect(names).toEqual([6, 5, 4, 3, 2, 1, 0].map((i) => `model-${i}`).concat("echo"));
    expect(second.next_cursor).toBeNull();
    expect(second.previous_url).toContain("page_size=5");
    expect(Object.keys(first.items[0])).toEqual([
      "id",
      "name",
      "created_at",
      "visibility",
      "description",
      "updated_at",
      "owner",
      "predictions_count",
      "categories",
      "hardware",
    ]);
  });

  it("are sorted as asked", async () => {
    serve();
    const counts = async (query: string) =>
      (await ask("GET", `/models${query}`))
        .json()
        .items.map((m: { predictions_count: number }) => m.predictions_count);
    expect(await counts("?sort_by=predictions_count&sort_direction=asc")).toEqual([0, 0, 1, 2, 3, 4, 5, 6]);
    expect(await counts("/auspex?sort_by=predictions_count")).toEqual([6, 5, 4, 3, 2, 1, 0]);
    expect(await counts("?category_slugs=text&category_slugs=art")).toEqual([]);
  });

  it("refuse an unknown order", async () => {
    serve();
    const response = await ask("GET", "/models?sort_by=name&sort_direction=up");
    expect(response.statusCode).toBe(422);
    expect(response.json().detail).toEqual([
      {
        type: "enum",
        loc: ["query", "sort_by"],
        msg: "Input should be 'created_at' or 'predictions_count'",
        input: "name",
        ctx: { expected: "'created_at' or 'predictions_count'" },
      },
      {
        type: "enum",
        loc: ["query", "sort_direction"],
        msg: "Input should be 'asc' or 'desc'",
        input: "up",
        ctx: { expected: "'asc' or 'desc'" },
      },
    ]);
  });

  it("are shown whole", async () => {
    serve();
    const model = (await ask("GET", "/models/acme/echo")).json();
    expect(Object.keys(model)).toEqual([
      "id",
      "name",
      "created_at",
      "visibility",
      "description",
      "updated_at",
      "owner",
      "predictions_count",
      "categories",
      "overview",
      "latest_version",
      "hardware",
      "source_url",
      "license_url",
      "paper_url",
    ]);
    expect(model).toMatchObject({
      name: "echo",
      visibility: "private",
      owner: { username: "acme", avatar_url: null },
      latest_version: { number: 2, schemas: { prediction: { input: { type: "object" } } } },
      hardware: { identifier: "cpu", name: "CPU" },
      source_url: "https://models.example/echo",
    });
    expect((await ask("GET", "/models/acme/echo")).json().id).toBe(model.id);
    const other = (await ask("GET", "/models/auspex/model-1")).json();
    expect(other).toMatchObject({ visibility: "public", latest_version: null });
    expect(other.id).not.toBe(model.id);
  });

  it("have versions, those that can serve", async () => {
    serve();
    const { items } = (await ask("GET", "/models/acme/echo/versions")).json();
    expect(items.map((item: { number: number }) => item.number)).toEqual([2, 1]);
    expect(items[0]).not.toHaveProperty("schemas");
    const whole = await ask("GET", "/models/acme/echo/versions/1");
    expect(whole.body).toBe(
      '{"number":1,"release_notes":"Says it again.","created_at":"2026-03-02T10:00:01.000000Z",' +
        `"container_image_digest":"sha256:${"ab".repeat(32)}",` +
        '"schemas":{"prediction":{"input":{"type":"object"},"output":{"type":"string"}}}}',
    );
    expect((await ask("GET", "/models/acme/echo/versions/3")).statusCode).toBe(404);
  });
});

describe("every answer", () => {
  const paths = [
    "/predictions",
    "/predictions/",
    "/nope",
    "/predictions/not-a-uuid",
    `/predictions/${predictionId(9)}`,
  ];

  it.each(paths)("carries a request id of its own: %s", async (path) => {
    serve();
    const ids = [
      (await ask("GET", path)).headers["x-request-id"],
      (await ask("GET", path)).headers["x-request-id"],
    ];
    expect(ids[0]).toMatch(UUID_V4);
    expect(ids[1]).not.toBe(ids[0]);
  });

  it.each(paths)("carries where the caller stands with its rate: %s", async (path) => {
    const services = serve();
    expect((await ask("GET", path)).headers).not.toHaveProperty("x-ratelimit-limit");
    services.rate = { limit: 10_000, remaining: 9998.6, resetAt: 1_772_445_600.2 };
    expect((await ask("GET", path)).headers).toMatchObject({
      "x-ratelimit-limit": "10000",
      "x-ratelimit-remaining": "9998",
      "x-ratelimit-reset": "1772445601",
    });
  });
});

describe("a client that goes away", () => {
  it("ends the wait", async () => {
    const services = serve();
    const body = JSON.stringify({ model: "acme/echo", input: {} });
    services.finishAtOnce = false;
    const port = Number(new URL(await listen()).port);
    const socket = connect(port, "127.0.0.1");
    socket.write(
      `POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=30\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    await expect.poll(() => services.calls.length).toBe(1);
    expect(services.calls[0]?.signal.aborted).toBe(false);
    socket.destroy();
    await expect.poll(() => services.calls[0]?.signal.aborted).toBe(true);
  });

  it("does not count as gone once it has its answer", async () => {
    const services = serve();
    const base = await listen();
    await (await fetch(`${base}/predictions`)).text();
    await stop();
    expect(services.calls[0]?.signal.aborted).toBe(false);
  });
});
