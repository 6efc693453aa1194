/** The WriftAI dialect on the real server: a program written for it finds what it expects, and gRPC sees the same. */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, photograph, startServer, type TestServer, until } from "../harness.ts";

const MODEL = "auspex/mobilenet-tiny";
let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await startServer({ settings: { CATALOGUE: "1", EGRESS_ALLOW: "127.0.0.0/8" } });
  image = `data:image/jpeg;base64,${await readFile(photograph("zebra"), "base64")}`;
});
afterAll(() => server?.[Symbol.asyncDispose]());

/** What these tests look at of the dialect's bodies. */
interface Wire {
  readonly id: string;
  readonly status: string;
  readonly error: unknown;
  readonly output: { readonly probabilities: readonly { readonly label: string }[] };
  readonly detail: readonly { readonly loc: readonly unknown[] }[];
  readonly items: readonly { readonly name: string }[];
  readonly next_url: string;
  readonly previous_url: string;
  readonly container_image_digest: string;
}

const read = async (response: Response | Promise<Response>) => (await (await response).json()) as Wire;

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${server.url}/v1${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });

test("a create that waits answers 200 with the output, at a Location that answers the same", async () => {
  const response = await post(
    "/predictions",
    { model: MODEL, input: { image, top_k: 3 } },
    { prefer: "wait=30" },
  );
  expect(response.status).toBe(200);
  const body = await read(response);
  expect(body).toMatchObject({
    status: "succeeded",
    model: { owner: "auspex", name: "mobilenet-tiny", version_number: 1 },
  });
  expect(body.output.probabilities).toHaveLength(3);
  expect(body.output.probabilities[0]?.label).toContain("zebra");
  expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  expect(response.headers.get("x-ratelimit-limit")).toBe("10000");
  const location = response.headers.get("location") ?? "";
  expect(location).toBe(`${server.url}/v1/predictions/${body.id}`);
  expect(await read(fetch(location))).toEqual(body);
  const { prediction } = await clientOf(server, "grpc", PredictionService).getPrediction({ id: body.id });
  expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
  expect(prediction?.output).toEqual(body.output);
});

test("all three create routes; without a wait the answer is 202 and pending", async () => {
  for (const [path, extra] of [
    ["/predictions", { model: `${MODEL}:1` }],
    [`/models/${MODEL}/predictions`, {}],
    [`/models/${MODEL}/versions/1/predictions`, {}],
  ] as const) {
    const response = await post(path, { input: { image }, ...extra });
    expect(response.status).toBe(202);
    expect(await read(response)).toMatchObject({ status: "pending", output: null, error: null });
  }
});

test("the events of a prediction end with the terminal one, and resume after the last id", async () => {
  const { id } = await read(post("/predictions", { model: MODEL, input: { image } }));
  const url = `${server.url}/v1/predictions/${id}/events`;
  const revisionsFrom = async (headers: Record<string, string>) => {
    const text = await (await fetch(url, { headers })).text();
    return [...text.matchAll(/^id: (\d+)$/gm)].map(([, revision]) => Number(revision));
  };
  const revisions = await revisionsFrom({});
  const last = revisions.at(-1) ?? 0;
  expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
  expect(last).toBe(3);
  expect(await revisionsFrom({ "last-event-id": String(last - 1) })).toEqual([last]);
  expect(await revisionsFrom({ "last-event-id": String(last) })).toEqual([]);
});

test("Validate-Input refuses at once what otherwise fails later", async () => {
  const refused = await post(
    `/models/${MODEL}/predictions`,
    { input: { top_k: 0 } },
    { "validate-input": "true" },
  );
  expect(refused.status).toBe(422);
  const { detail } = await read(refused);
  expect(detail.length).toBeGreaterThanOrEqual(1);
  for (const item of detail) expect(item.loc.slice(0, 2)).toEqual(["body", "input"]);
  const later = await post(`/models/${MODEL}/predictions`, { input: { top_k: 0 } }, { prefer: "wait=30" });
  expect(await read(later)).toMatchObject({ status: "failed", error: { source: "external" }, output: null });
});

test("an idempotency key answers the same prediction, and 409 for another request", async () => {
  const headers = { "idempotency-key": "key-1" };
  const first = await read(post("/predictions", { model: MODEL, input: { image } }, headers));
  const second = await read(post("/predictions", { model: MODEL, input: { image } }, headers));
  expect(second.id).toBe(first.id);
  expect((await post("/predictions", { model: MODEL, input: {} }, headers)).status).toBe(409);
});

test("a canceled prediction reads as failed; canceling what has ended is 409", async () => {
  const done = await read(post("/predictions", { model: MODEL, input: { image } }, { prefer: "wait=30" }));
  expect((await post(`/predictions/${done.id}/cancel`, {})).status).toBe(409);
  // More than a worker can have begun by then.
  const ids: string[] = await Promise.all(
    Array.from(
      { length: 40 },
      async () => (await read(post("/predictions", { model: MODEL, input: { image } }))).id,
    ),
  );
  const last = ids.at(-1) ?? "";
  const response = await post(`/predictions/${last}/cancel`, {});
  if (response.status === 200) {
    expect(await read(response)).toBeNull();
    const { status, error } = await read(fetch(`${server.url}/v1/predictions/${last}`));
    expect({ status, error }).toMatchObject({
      status: "failed",
      error: { source: "external", message: "canceled" },
    });
  } else {
    expect(response.status).toBe(409);
  }
});

test("webhooks tell every change of status, signed as the dialect signs", async () => {
  const secret = "top-secret";
  const received: { status: string; signed: boolean }[] = [];
  const listener = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts).toString();
    const [, t, v1] =
      /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(request.headers["wriftai-webhook-signature"])) ?? [];
    const expected = createHmac("sha256", secret).update(`${t}.${body}`).digest("hex");
    received.push({ status: JSON.parse(body).status, signed: v1 === expected });
    response.end();
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}/hook`;
  await post("/predictions", { model: MODEL, input: { image }, webhook: { url, secret } });
  await until(() => received.some(({ status }) => status === "succeeded"));
  expect(received.map(({ status }) => status)).toEqual(["pending", "started", "succeeded"]);
  expect(received.every(({ signed }) => signed)).toBe(true);
  listener.close();
});

test("models and versions, and lists with cursors both ways", async () => {
  const { items } = await read(fetch(`${server.url}/v1/models`));
  expect(items.map(({ name }) => name).sort()).toEqual(["minilm", "mobilenet", "mobilenet-tiny"]);
  const version = await read(fetch(`${server.url}/v1/models/${MODEL}/versions/1`));
  expect(version).toMatchObject({ number: 1, schemas: { prediction: { input: { type: "object" } } } });
  expect(version.container_image_digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  const first = await read(fetch(`${server.url}/v1/predictions?page_size=5`));
  expect(Object.keys(first)).toEqual(["items", "next_cursor", "previous_cursor", "next_url", "previous_url"]);
  const second = await read(fetch(first.next_url));
  expect((await read(fetch(second.previous_url))).items).toEqual(first.items);
  expect((await fetch(`${server.url}/v1/hardware`)).status).toBe(404);
});
