/** Zips from URLs, through the real server and a real listener. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DatasetService, DatasetState, DatasetType } from "../../gen/auspex/v1/dataset_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { zipOf, zipOfShapes } from "../pictures.ts";

const MAX_ZIP_BYTES = 64 * 1024;
const good = await zipOfShapes(["circle", "square"], 2);
const padded = (length: number) => zipOf({ "circle/a.jpg": new Uint8Array(length) });

const ANSWERS: Readonly<Record<string, () => Promise<{ status?: number; type?: string; body: Uint8Array }>>> =
  {
    "/shapes.zip": async () => ({ body: good }),
    "/more%20shapes.ZIP": async () => ({ body: await zipOfShapes(["ring"], 2) }),
    "/page": async () => ({ type: "text/html", body: Buffer.from("<html>Download shapes.zip here</html>") }),
    "/missing": async () => ({ status: 404, body: good }),
    "/moved": async () => ({ status: 302, body: good }),
    "/empty": async () => ({ body: Buffer.alloc(0) }),
    "/large": async () => ({ body: Buffer.concat([await padded(100), Buffer.alloc(MAX_ZIP_BYTES)]) }),
    "/no-pictures.zip": async () => ({ body: await padded(10) }),
  };

const files = createServer(async (request, response) => {
  const {
    status = 200,
    type = "application/zip",
    body,
  } = (await ANSWERS[request.url ?? ""]?.()) ?? {
    status: 500,
    body: Buffer.alloc(0),
  };
  response.writeHead(status, { "content-type": type, location: "/shapes.zip" }).end(body);
});
let server: TestServer;
let origin: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
  const { port } = files.address() as AddressInfo;
  origin = `http://127.0.0.1:${port}`;
  const settings = { EGRESS_ALLOW: `127.0.0.1:${port},127.0.0.1:1`, MAX_ZIP_BYTES: String(MAX_ZIP_BYTES) };
  server = await startServer({ settings });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  files.close();
});

const client = () => clientOf(server, "grpc", DatasetService);
const from = (value: string) => ({ source: { case: "url", value } }) as const;

test("a dataset takes the name of the zip's file, and another zip is added", async () => {
  const { dataset } = await client().uploadDataset({
    type: DatasetType.IMAGE,
    zip: from(`${origin}/shapes.zip`),
    waitUntilReady: true,
  });
  expect(dataset).toMatchObject({ name: "shapes", state: DatasetState.READY, exampleCount: 4n });
  const id = dataset?.id ?? 0n;
  await client().addExamples({ datasetId: id, zip: from(`${origin}/more%20shapes.ZIP`) });
  const ready = await until(async () => {
    const now = (await client().getDataset({ id })).dataset;
    return now?.state === DatasetState.READY && now;
  });
  expect(ready.labels.map(({ name }) => name)).toEqual(["circle", "square", "ring"]);
});

test.each(["/page", "/missing", "/moved", "/empty", "/large", "nobody there"])(
  "what cannot be downloaded fails: %s",
  async (path) => {
    const url = path.startsWith("/") ? `${origin}${path}` : "http://127.0.0.1:1/a.zip";
    const { dataset } = await client().uploadDataset({
      name: "own name",
      type: DatasetType.IMAGE,
      zip: from(url),
      waitUntilReady: true,
    });
    expect(dataset).toMatchObject({
      name: "own name",
      state: DatasetState.FAILED,
      failure: "Failed to download the dataset from the public URL.",
      exampleCount: 0n,
    });
    // Why is in the log.
    expect(server.log.some(({ msg, dataset: id }) => msg.includes("zip") && id === Number(dataset?.id))).toBe(
      true,
    );
  },
);

test("a zip from a URL that is no good says what any other would", async () => {
  const { dataset } = await client().uploadDataset({
    type: DatasetType.IMAGE,
    zip: from(`${origin}/no-pictures.zip`),
    waitUntilReady: true,
  });
  expect(dataset).toMatchObject({ name: "no-pictures", state: DatasetState.FAILED, skippedCount: 1n });
  expect(dataset?.failure).toMatch(/^Invalid zip: it has no picture that can be read \(circle\/a\.jpg: /);
});
