/**
 * I10 and the rest of rows F20 and F27: many large bodies at once, sent slowly, stay under one budget over every door,
 * and small calls go on being served.
 */
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CreatePredictionRequestSchema, PredictionService } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, startServer, type TestServer, until } from "../harness.ts";
import { FLAG, FRAME, frame, grpcHeaders, openHttp2, uint32 } from "../http2-frames.ts";
import { residentBytes } from "../processes.ts";

const MIB = 1024 ** 2;
const BODY_MAX = 8 * MIB;
const BUDGET = 4 * BODY_MAX;
/** As many as seven eighths of the budget have room for. */
const ROOM = 3;
/** Together some 800 MB. */
const SENDERS = 96;
/** What has been read of each connection and not looked at yet: one read of 64 KiB. */
const SOCKETS_BYTES = SENDERS * 64 * 1024;
const CREATE = "/auspex.v1.PredictionService/CreatePrediction";
let server: TestServer;

beforeEach(async () => {
  server = await startServer({
    settings: { MAX_BODY_BYTES: String(BODY_MAX), MAX_BYTES_IN_FLIGHT: String(BUDGET) },
    nodeArgs: ["--expose-gc", "--import", join(import.meta.dirname, "..", "collect-garbage.ts")],
  });
});
afterEach(() => server?.[Symbol.asyncDispose]());

interface Sender {
  readonly answer: () => string;
  close(): void;
}

function rawHttp(head: string, body: Buffer): Sender {
  const socket: Socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  let answer = "";
  socket.setEncoding("latin1").on("data", (text) => {
    answer += text;
  });
  socket.on("error", () => {});
  socket.write(head);
  socket.write(body);
  return { answer: () => answer, close: () => socket.destroy() };
}

const post = (path: string, type: string, framing: string) =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\n${framing}\r\n\r\n`;
const declared = `content-length: ${BODY_MAX}`;
const most = Buffer.alloc(BODY_MAX - 1000, "x");
const chunk = Buffer.concat([Buffer.from(`${most.length.toString(16)}\r\n`), most, Buffer.from("\r\n")]);
const envelope = Buffer.concat([Buffer.from([0]), uint32(BODY_MAX - 5), most.subarray(10)]);

/** Begins to send a body of the largest size and leaves its last bytes out. */
const LARGE: Readonly<Record<string, () => Sender>> = {
  "Connect, its length declared": () => rawHttp(post(CREATE, "application/proto", declared), most),
  "Connect in chunks": () => rawHttp(post(CREATE, "application/proto", "transfer-encoding: chunked"), chunk),
  "gRPC-Web": () => rawHttp(post(CREATE, "application/grpc-web+proto", declared), envelope),
  "WriftAI, its length declared": () => rawHttp(post("/v1/predictions", "application/json", declared), most),
  "WriftAI in chunks": () =>
    rawHttp(post("/v1/predictions", "application/json", "transfer-encoding: chunked"), chunk),
  "Einstein Vision": () =>
    rawHttp(post("/v2/vision/predict", "multipart/form-data; boundary=x", declared), most),
  "Einstein Prediction": () =>
    rawHttp(post("/api/v1/einstein_prediction", "application/json", declared), most),
};
const REFUSED: Readonly<Record<string, RegExp>> = {
  "Connect, its length declared": /^HTTP\/1\.1 429 .*"resource_exhausted".*RetryInfo/s,
  "Connect in chunks": /^HTTP\/1\.1 429 .*"resource_exhausted".*RetryInfo/s,
  "gRPC-Web": /^HTTP\/1\.1 200 .*grpc-status: ?8/is,
  "WriftAI, its length declared": /^HTTP\/1\.1 429 .*retry-after: 1\r\n.*"detail"/is,
  "WriftAI in chunks": /^HTTP\/1\.1 429 .*retry-after: 1\r\n.*"detail"/is,
  "Einstein Vision": /^HTTP\/1\.1 429 .*retry-after: 1\r\n.*"message"/is,
  "Einstein Prediction": /^HTTP\/1\.1 429 .*retry-after: 1\r\n.*"error"/is,
};

/** Bytes of buffers, after the garbage is gone. */
async function buffersInUse(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    server.process.kill("SIGUSR2");
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    least = Math.min(least, Number(/^nodejs_external_memory_bytes (\S+)/m.exec(metrics)?.[1]));
  }
  return least;
}

/** Of so many such bodies as many as there is room for wait for their end, the others are refused. */
async function overfill(begin: () => Sender, refused: RegExp): Promise<void> {
  const before = residentBytes(server.process.pid ?? 0);
  const buffersBefore = await buffersInUse();
  const senders = Array.from({ length: SENDERS }, begin);
  const answered = () => senders.filter(({ answer }) => answer() !== "");
  await until(() => answered().length >= senders.length - ROOM);
  for (const { answer } of answered()) expect(answer()).toMatch(refused);
  // Small calls have room of their own, over every door.
  for (const door of DOORS) {
    const thrown = await clientOf(server, door, PredictionService)
      .getPrediction({ id: "01890000-0000-7000-8000-000000000000" })
      .catch(ConnectError.from);
    expect(thrown).toMatchObject({ code: Code.NotFound });
  }
  expect((await fetch(`${server.url}/v1/predictions`)).status).toBe(200);
  expect(answered().length).toBe(senders.length - ROOM);
  // Copies of what was taken, and what the collector has not yet found. Kept, the bodies would be 768 MiB.
  expect(residentBytes(server.process.pid ?? 0) - before).toBeLessThan(BUDGET + 512 * MIB);
  // Nothing of what was refused is kept, though its senders are still there.
  expect((await buffersInUse()) - buffersBefore).toBeLessThan(BUDGET + SOCKETS_BYTES);
  for (const sender of senders) sender.close();
  // A caller that left has given its share back. Asked over a new connection each time: Node's client counts what it had
  // yet to send of a refused upload towards 10 MB for ever, and after the second takes no answer on that connection.
  await until(() =>
    clientOf(server, "grpc", PredictionService)
      .createPrediction({ model: "auspex/none", files: { image: most } })
      .catch((thrown: unknown) => ConnectError.from(thrown).code === Code.NotFound),
  );
}

test.each(Object.entries(LARGE))(
  "F20 I10 %s: bodies beyond the budget are refused unread",
  async (name, begin) => {
    await overfill(begin, REFUSED[name] ?? /never/);
  },
);

test("F20 I10 gRPC: messages beyond the budget are refused by their first five bytes", async () => {
  const port = Number(new URL(server.grpcUrl).port);
  const client = await openHttp2(port);
  const head = Buffer.concat([Buffer.from([0]), uint32(BODY_MAX)]);
  for (let i = 0; i < 24; i++) {
    const stream = 2 * i + 1;
    await client.send(
      Buffer.concat([
        frame(FRAME.headers, FLAG.endHeaders, stream, grpcHeaders(CREATE)),
        frame(FRAME.data, 0, stream, head),
      ]),
    );
  }
  const answered = () => client.frames.filter(({ type }) => type === FRAME.headers);
  await until(() => answered().length >= 24 - ROOM);
  const small = await clientOf(server, "grpc", PredictionService).listPredictions({});
  expect(small.predictions).toEqual([]);
  expect(answered().length).toBe(24 - ROOM);
  // A caller that asks through a library sees the code, and when to come back.
  const refused = await clientOf(server, "grpc", PredictionService)
    .createPrediction({ model: "auspex/none", files: { image: most } })
    .catch(ConnectError.from);
  expect(refused).toMatchObject({ code: Code.ResourceExhausted });
  expect((refused as ConnectError).details.length).toBe(1);
  client.socket.destroy();
  await until(() =>
    clientOf(server, "grpc", PredictionService)
      .createPrediction({ model: "auspex/none", files: { image: most } })
      .catch((thrown: unknown) => ConnectError.from(thrown).code === Code.NotFound),
  );
});

test("F20 I10 gRPC: a second message of a unary call is refused by its head", async () => {
  const client = await openHttp2(Number(new URL(server.grpcUrl).port));
  const message = toBinary(
    CreatePredictionRequestSchema,
    create(CreatePredictionRequestSchema, { model: "a/b" }),
  );
  const first = Buffer.concat([Buffer.from([0]), uint32(message.length), message]);
  await client.send(
    Buffer.concat([
      frame(FRAME.headers, FLAG.endHeaders, 1, grpcHeaders(CREATE)),
      frame(FRAME.data, 0, 1, Buffer.concat([first, Buffer.from([0]), uint32(BODY_MAX)])),
    ]),
  );
  await until(() => client.frames.some(({ type, stream }) => type === FRAME.headers && stream === 1));
  client.socket.destroy();
});
