/** What this API's clients send, byte for byte where that matters (spec/einstein-vision.md §1.8). */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { photograph, startServer, type TestServer } from "../../harness.ts";
import { call, send } from "./client.ts";

let server: TestServer;
let zebra: Buffer<ArrayBuffer>;

beforeAll(async () => {
  [server, zebra] = await Promise.all([
    startServer({ settings: { CATALOGUE: "auspex/mobilenet" } }),
    readFile(photograph("zebra")),
  ]);
});
afterAll(() => server?.[Symbol.asyncDispose]());

const MODEL = "GeneralImageClassifier";
const ZEBRA = { status: 200, body: { object: "predictresponse" } };

/** One part, headers and value as given. */
const part = (headers: string, value: string | Uint8Array) =>
  Buffer.concat([Buffer.from(`--xYz\r\n${headers}\r\n\r\n`), Buffer.from(value), Buffer.from("\r\n")]);
const field = (name: string, value: string | Uint8Array, more = "") =>
  part(`Content-Disposition: form-data; name="${name}"${more}`, value);

function post(
  contentType: string,
  parts: readonly Uint8Array[],
  end = "--xYz--\r\n",
  path = "/v2/vision/predict",
) {
  const body = Buffer.concat([...parts, Buffer.from(end)]);
  const head = [`POST ${path} HTTP/1.1`, `Content-Type: ${contentType}`, `Content-Length: ${body.length}`];
  return send(server, head, body);
}

const PLAIN = "multipart/form-data; boundary=xYz";

describe("a prediction is made", () => {
  it.each<[string, string, () => readonly Uint8Array[], string?]>([
    [
      "of text fields sent as files",
      PLAIN,
      () => [
        field("modelId", MODEL, '; filename="modelId"'),
        field("numResults", "5", '; filename="numResults"'),
        field("sampleBase64Content", zebra.toString("base64"), '; filename="sampleBase64Content"'),
      ],
    ],
    [
      "of padded values and padded header lines",
      PLAIN,
      () => [
        part('Content-Disposition: form-data; name="modelId"  ', `${MODEL}  `),
        part('Content-Disposition: form-data; name="numResults" ', "5 "),
        part(
          'Content-Disposition: form-data; name="sampleBase64Content";  ',
          `${zebra.toString("base64")}  `,
        ),
      ],
    ],
    [
      "of a quoted boundary, another parameter before it, and two closing delimiters",
      'multipart/form-data; charset="UTF-8"; boundary="xYz"',
      () => [field("modelId", MODEL), field("sampleContent", zebra, '; filename="x.jpg"')],
      "--xYz----xYz--",
    ],
    [
      "of a body with an epilogue",
      PLAIN,
      () => [field("modelId", MODEL), field("sampleContent", zebra, '; filename="x.jpg"')],
      "--xYz--\r\nthis is nobody's\r\n",
    ],
    [
      "of a picture as octets, in a file without an ending",
      PLAIN,
      () => [
        field("modelId", MODEL),
        part(
          'Content-Disposition: form-data; name="sampleContent"; filename="file"\r\nContent-Type: application/octet-stream',
          zebra,
        ),
      ],
    ],
    [
      "of base64 in lines, without padding",
      PLAIN,
      () => [
        field("modelId", MODEL),
        field(
          "sampleBase64Content",
          zebra.toString("base64").replace(/=+$/, "").replaceAll(/.{76}/g, "$&\r\n"),
        ),
      ],
    ],
    [
      "of fields that it does not know",
      PLAIN,
      () => [
        field("type", "all"),
        field("labels", "a,b"),
        field("__proto__", "x"),
        field("modelId", MODEL),
        field("sampleContent", zebra),
      ],
    ],
  ])("%s", async (_name, contentType, parts, end) => {
    const reply = await post(contentType, parts(), end);
    expect(reply).toMatchObject(ZEBRA);
    expect(reply.body.probabilities).toHaveLength(5);
    expect(reply.body.probabilities[0].label).toBe("zebra");
  });

  it("with a slash at the end or without, under both versions, and /v1 has no further keys", async () => {
    for (const path of ["/v2/vision/predict/", "/v1/vision/predict", "/v1/vision/predict/"]) {
      const parts = [field("modelId", MODEL), field("sampleContent", zebra)];
      const reply = await post(PLAIN, parts, undefined, path);
      expect(reply).toMatchObject(ZEBRA);
      expect(Object.keys(reply.body)).toEqual(["probabilities", "object"]);
      expect(Object.keys(reply.body.probabilities[0])).toEqual(["label", "probability"]);
    }
  });

  it("of JSON with numbers and with texts", async () => {
    const base = { modelId: MODEL, sampleBase64Content: zebra.toString("base64") };
    for (const numResults of [2, "2", " 2 "]) {
      const reply = await call(server, "POST", "/v2/vision/predict", { json: { ...base, numResults } });
      expect(reply).toMatchObject(ZEBRA);
      expect(reply.body.probabilities).toHaveLength(2);
    }
  });
});

describe("a form's headers", () => {
  it("without a body do not matter to a GET or a DELETE", async () => {
    const stale = ["Content-Type: multipart/form-data; boundary=----stale"];
    expect(await send(server, ["GET /v2/vision/datasets?offset=0 HTTP/1.1", ...stale])).toMatchObject({
      status: 200,
      body: { object: "list" },
    });
    expect(await send(server, ["DELETE /v2/vision/datasets/999999 HTTP/1.1", ...stale])).toMatchObject({
      status: 404,
    });
    expect(
      await send(server, ["DELETE /v2/vision/datasets/999999 HTTP/1.1", ...stale, "Content-Length: 0"]),
    ).toMatchObject({ status: 404 });
  });

  it.each(["GET /v2/vision/datasets", "DELETE /v2/vision/datasets/999999"])(
    "and a form itself, whole or broken, do not matter to %s",
    async (start) => {
      for (const body of [Buffer.concat([field("a", "1"), Buffer.from("--xYz--")]), Buffer.from("broken")]) {
        const head = [`${start} HTTP/1.1`, `Content-Type: ${PLAIN}`, `Content-Length: ${body.length}`];
        const { status } = await send(server, head, body);
        expect(status).toBe(start.startsWith("GET") ? 200 : 404);
      }
    },
  );

  it("leave the connection of a GET good for the next call", async () => {
    const body = "--xYz--";
    const first = `GET /v2/apiusage HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${PLAIN}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const { statuses } = await send(server, [`${first}GET /v2/apiusage HTTP/1.1`]);
    expect(statuses).toEqual([200, 200]);
  });

  it.each([
    ["without a boundary", "multipart/form-data"],
    ["with an empty boundary", "multipart/form-data; boundary="],
    ["of no type at all", "nonsense"],
    ["of another type", "text/plain"],
    ["for another call", "application/x-www-form-urlencoded"],
  ])("with a body are 400: %s", async (_name, contentType) => {
    const reply = await post(contentType, [field("modelId", MODEL), field("sampleContent", zebra)]);
    expect(reply).toMatchObject({ status: 400, body: { message: expect.any(String) } });
  });
});

it("a body of 100,000 parts is refused while others are served", async () => {
  const parts = Array.from({ length: 100_000 }, () => field("a", "1"));
  const [reply, other] = await Promise.all([post(PLAIN, parts), call(server, "GET", "/v2/apiusage")]);
  expect(reply).toMatchObject({ status: 413, body: { message: expect.any(String) } });
  expect(other.status).toBe(200);
});

it("lists are objects of two keys", async () => {
  for (const path of ["/v2/vision/datasets", "/v2/apiusage"]) {
    const { body } = await call(server, "GET", path);
    expect(Object.keys(body)).toEqual(["object", "data"]);
    expect(body.object).toBe("list");
  }
});
