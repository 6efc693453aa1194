/** Row F20: requests that are too large, refused before they are buffered, while others are served. */
import { createConnection } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, startServer, type TestServer } from "../harness.ts";
import { residentBytes } from "../processes.ts";

const LIMIT = 1024 * 1024;
const MODEL = "auspex/mobilenet-tiny";
let server: TestServer;

beforeAll(async () => {
  server = await startServer({ settings: { MAX_BODY_BYTES: String(LIMIT), MAX_JSON_VALUES: "1000" } });
});
afterAll(() => server?.[Symbol.asyncDispose]());

test.each(DOORS)("F20 a message above the limit is refused over %s, one below it is read", async (door) => {
  const client = clientOf(server, door, PredictionService);
  const call = (bytes: number) =>
    client
      .createPrediction({ model: MODEL, files: { image: new Uint8Array(bytes) }, validateInput: true })
      .then(
        () => expect.fail("no picture at all was accepted"),
        (thrown: unknown) => ConnectError.from(thrown).code,
      );
  expect(await call(LIMIT - 200)).toBe(Code.InvalidArgument);
  expect(await call(LIMIT + 200)).toBe(Code.ResourceExhausted);
});

/** Sends raw bytes, in pieces as the other side takes them, and answers what came back until it closed. */
async function raw(head: string, piece: string, pieces: number): Promise<string> {
  const socket = createConnection(Number(new URL(server.url).port), "127.0.0.1");
  let answer = "";
  socket.setEncoding("latin1").on("data", (text) => {
    answer += text;
  });
  // A server that refuses may reset the connection while we still write.
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write(head);
  for (let i = 0; i < pieces && !socket.destroyed && answer === ""; i++) {
    if (!socket.write(piece))
      await Promise.race([new Promise((resolve) => socket.once("drain", resolve)), closed]);
  }
  if (answer === "") await Promise.race([new Promise((resolve) => socket.once("data", resolve)), closed]);
  socket.destroy();
  await closed;
  return answer;
}

const POST = "POST /v1/predictions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

test("F20 a declared length above the limit is refused from its header alone", async () => {
  expect(await raw(`${POST}content-length: ${LIMIT + 1}\r\n\r\n`, "", 0)).toMatch(/^HTTP\/1\.1 413 /);
});

test("F20 a chunked body without a length is cut off at the limit, memory stays, and others are served", async () => {
  const pid = server.process.pid ?? 0;
  const before = residentBytes(pid);
  const piece = `10000\r\n${"x".repeat(65536)}\r\n`;
  const floods = Array.from({ length: 8 }, () =>
    raw(`${POST}transfer-encoding: chunked\r\n\r\n`, piece, 4096),
  );
  const began = performance.now();
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  expect(performance.now() - began).toBeLessThan(1000);
  for (const answer of await Promise.all(floods)) expect(answer).toMatch(/^(HTTP\/1\.1 413 |$)/);
  expect(residentBytes(pid) - before).toBeLessThan(100 * LIMIT);
});

test("F20 headers of 100 KB are refused", async () => {
  const answer = await raw(
    `GET /v1/predictions HTTP/1.1\r\nhost: localhost\r\nx-large: ${"y".repeat(100_000)}\r\n\r\n`,
    "",
    0,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 431 /);
});

test.each([
  ["/v1/predictions", 413],
  ["/auspex.v1.PredictionService/CreatePrediction", 429],
])("F20 JSON of more values than the limit is refused before it is parsed: %s", async (path, refused) => {
  const post = async (values: number) => {
    const list = Array.from({ length: values }, () => 0);
    const body = JSON.stringify({ model: MODEL, input: { list } });
    const headers = { "content-type": "application/json" };
    return (await fetch(`${server.url}${path}`, { method: "POST", headers, body })).status;
  };
  // Besides the list's own there are a few for what is around it.
  expect(await post(990)).toBeLessThan(300);
  expect(await post(1001)).toBe(refused);
});
