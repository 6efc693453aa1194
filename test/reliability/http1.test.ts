/** Rows F27 and F28: callers that trickle or fall silent on both ports, and requests that two servers would read differently. */
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, startServer, type TestServer, until } from "../harness.ts";
import { FLAG, FRAME, frame, grpcHeaders, openHttp2, uint32 } from "../http2-frames.ts";

const TIMEOUT_MS = 1_500;
/** Connections that trickle at once, far more than there are workers. */
const SLOW = 200;
const CREATE = "/auspex.v1.PredictionService/CreatePrediction";
const PIXEL =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
let server: TestServer;

beforeAll(async () => {
  server = await startServer({ settings: { REQUEST_TIMEOUT: `${TIMEOUT_MS}ms` } });
});
afterAll(() => server?.[Symbol.asyncDispose]());

interface Talk {
  readonly socket: Socket;
  readonly answer: () => string;
  readonly closed: Promise<void>;
}

function talk(text: string, port = Number(new URL(server.url).port)): Talk {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  socket.setEncoding("latin1").on("data", (part) => {
    answer += part;
  });
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.write(text, "latin1");
  return { socket, answer: () => answer, closed };
}

/** Sends a byte every 50 ms until the connection is gone. */
async function trickle({ socket, closed }: Talk): Promise<void> {
  const timer = setInterval(() => socket.write("x"), 50);
  await closed;
  clearInterval(timer);
}

/** While they trickle, a prediction comes and goes: no worker waits for them. */
async function expectServed(): Promise<void> {
  const { prediction } = await clientOf(server, "grpc", PredictionService).createPrediction({
    model: "auspex/mobilenet-tiny",
    input: { image: PIXEL },
    wait: { seconds: 30n },
  });
  expect(prediction?.status).toBe(PredictionStatus.SUCCEEDED);
}

describe("F27", () => {
  test.each([
    ["headers, a byte at a time", "GET /v1/predictions HTTP/1.1\r\nhost: localhost\r\nx-slow: "],
    [
      "a body with a length, a byte at a time",
      "POST /v1/predictions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10000\r\n\r\n",
    ],
    [
      "a body in one endless chunk, a byte at a time",
      `POST ${CREATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/proto\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n`,
    ],
  ])("F27 %s: closed in time, and nobody waits for it", async (_name, beginning) => {
    const began = performance.now();
    const talks = Array.from({ length: SLOW }, () => talk(beginning));
    const gone = Promise.all(talks.map(trickle));
    await expectServed();
    await gone;
    // The timeout, the interval in which it is looked at, and a loaded machine.
    expect(performance.now() - began).toBeLessThan(TIMEOUT_MS * 2 + 5_000);
    expect(performance.now() - began).toBeGreaterThan(TIMEOUT_MS);
    // A busy machine resets those that are still writing before they have read it.
    for (const { answer } of talks) expect(answer()).toMatch(/^$|^HTTP\/1\.1 408 /);
    expect(talks.some(({ answer }) => answer() !== "")).toBe(true);
  });

  test("F27 a gRPC message, a byte at a time: refused in time, and nobody waits for it", async () => {
    const client = await openHttp2(Number(new URL(server.grpcUrl).port));
    const began = performance.now();
    for (let i = 0; i < 100; i++) {
      const stream = 2 * i + 1;
      await client.send(
        Buffer.concat([
          frame(FRAME.headers, FLAG.endHeaders, stream, grpcHeaders(CREATE)),
          frame(FRAME.data, 0, stream, Buffer.concat([Buffer.from([0]), uint32(10_000)])),
        ]),
      );
    }
    const timer = setInterval(() => client.send(frame(FRAME.data, 0, 1, Buffer.from([0]))), 50);
    await expectServed();
    const streams = (wanted: number) =>
      new Set(client.frames.filter(({ type }) => type === wanted).map(({ stream }) => stream));
    await until(() => streams(FRAME.headers).size === 100);
    expect(performance.now() - began).toBeGreaterThan(TIMEOUT_MS);
    // Who goes on after the answer is cut off.
    await until(() => streams(FRAME.reset).size === 100);
    expect(performance.now() - began).toBeLessThan(TIMEOUT_MS * 3 + 5_000);
    clearInterval(timer);
    client.socket.destroy();
  });

  test("F27 half a connection: one that has sent its FIN is answered and closed", async () => {
    const one = talk("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    one.socket.end();
    await one.closed;
    expect(one.answer()).toMatch(/^HTTP\/1\.1 200 /);
    const other = talk("POST /v1/predictions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf");
    other.socket.end();
    await other.closed;
    await expectServed();
  });

  test("F27 connections that say nothing at all are closed on the HTTP port", async () => {
    const talks = Array.from({ length: SLOW }, () => talk(""));
    await expectServed();
    await Promise.all(talks.map(({ closed }) => closed));
  });
});

/** A request hidden in another's body: if it were answered too, there would be two answers. */
const HIDDEN = "GET /healthz HTTP/1.1\r\nhost: hidden\r\n\r\n";
const POST = "POST /v1/predictions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
const CHUNKED = "transfer-encoding: chunked\r\n";

/** Each is sent, with the hidden request after it, on a connection of its own. */
const REFUSED: Readonly<Record<string, string>> = {
  "a length and chunks": `${POST}content-length: 4\r\n${CHUNKED}\r\n0\r\n\r\n`,
  "chunks and a length": `${POST}${CHUNKED}content-length: 4\r\n\r\n0\r\n\r\n`,
  "two lengths": `${POST}content-length: 2\r\ncontent-length: ${HIDDEN.length + 2}\r\n\r\n{}`,
  "two equal lengths": `${POST}content-length: 2\r\ncontent-length: 2\r\n\r\n{}`,
  "a list of lengths": `${POST}content-length: 2, 2\r\n\r\n{}`,
  "a negative length": `${POST}content-length: -2\r\n\r\n{}`,
  "a length with a sign": `${POST}content-length: +2\r\n\r\n{}`,
  "a length in hex": `${POST}content-length: 0x2\r\n\r\n{}`,
  "a length beyond 64 bits": `${POST}content-length: 18446744073709551618\r\n\r\n{}`,
  "a chunk's size that is none": `${POST}${CHUNKED}\r\nzz\r\n{}\r\n0\r\n\r\n`,
  "a chunk's size with a sign": `${POST}${CHUNKED}\r\n+2\r\n{}\r\n0\r\n\r\n`,
  "a chunk's size in 0x": `${POST}${CHUNKED}\r\n0x2\r\n{}\r\n0\r\n\r\n`,
  "a chunk's size beyond 64 bits": `${POST}${CHUNKED}\r\n10000000000000002\r\n{}\r\n0\r\n\r\n`,
  "a chunk longer than its size": `${POST}${CHUNKED}\r\n1\r\n{}\r\n0\r\n\r\n`,
  "a chunk that ends in a bare LF": `${POST}${CHUNKED}\r\n2\r\n{}\n0\r\n\r\n`,
  "a chunk's size that ends in a bare LF": `${POST}${CHUNKED}\r\n2\n{}\r\n0\r\n\r\n`,
  "a length behind the chunks": `${POST}${CHUNKED}\r\n2\r\n{}\r\n0\r\ncontent-length: 40\r\n\r\n`,
  "chunked, then identity": `${POST}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  "an unknown coding": `${POST}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n`,
  "chunked behind a vertical tab": `${POST}transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n`,
  "a blank before the colon": `${POST}transfer-encoding : chunked\r\n\r\n0\r\n\r\n`,
  "a folded header": `${POST}x-folded: one\r\n two\r\ncontent-length: 2\r\n\r\n{}`,
  "a folded coding": `${POST}transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n`,
  "a header that begins with a blank": `POST /v1/predictions HTTP/1.1\r\n host: localhost\r\ncontent-length: 2\r\n\r\n{}`,
  "lines that end in a bare LF": `${POST.replaceAll("\r\n", "\n")}content-length: 2\n\n{}`,
  "lines that end in a bare CR": `${POST}x-a: 1\rcontent-length: 40\r\n\r\n{}`,
  "NUL in a header": `${POST}x-nul: a\0b\r\ncontent-length: 2\r\n\r\n{}`,
  "NUL in the path": "GET /health\0z HTTP/1.1\r\nhost: localhost\r\n\r\n",
  "a header without a name": `${POST}: value\r\ncontent-length: 2\r\n\r\n{}`,
  "no host": "GET /healthz HTTP/1.1\r\n\r\n",
  "two hosts": "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: elsewhere\r\n\r\n",
  "HTTP/0.9": "GET /healthz\r\n",
  "HTTP/3.0 on a line": "GET /healthz HTTP/3.0\r\nhost: localhost\r\n\r\n",
  "an unknown method": "SMUGGLE /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
};

describe("F28", () => {
  test.each(Object.entries(REFUSED))("F28 %s: 400, and the connection is closed", async (_name, request) => {
    const one = talk(request + HIDDEN);
    await one.closed;
    expect(one.answer()).toMatch(/^HTTP\/1\.1 400 /);
    expect(one.answer().match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(one.answer()).not.toContain('"status":"ok"');
  });

  test.each([
    ["the absolute form of a path", "GET http://localhost/healthz HTTP/1.1\r\nhost: localhost\r\n", 200],
    [
      "the absolute form of another host",
      "GET http://elsewhere/healthz HTTP/1.1\r\nhost: localhost\r\n",
      200,
    ],
    ["a body where none belongs", "GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n", 200],
    ["Expect: 100-continue with a body", `${POST}expect: nonsense\r\ncontent-length: 2\r\n`, 417],
    ["trailers after the chunks", `${POST}${CHUNKED}`, 422],
  ])("F28 %s: read as exactly one request", async (_name, head, status) => {
    const body = head.includes(CHUNKED)
      ? "2\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n"
      : head.includes("content-length: 2")
        ? "{}"
        : "";
    const last = "GET /nothing-here HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    const one = talk(`${head}\r\n${body}${last}`);
    await one.closed;
    const statuses = [...one.answer().matchAll(/HTTP\/1\.1 (\d+) /g)].map((match) => Number(match[1]));
    expect(statuses[0]).toBe(status);
    // The request after it is read from its own first byte.
    expect(statuses.slice(1)).toEqual([404]);
  });
});
