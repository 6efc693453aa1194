/** Row F15: nothing on the server's own network can be reached through a picture URL or a webhook. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ImageService } from "../../gen/auspex/v1/image_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, startServer, type TestServer } from "../harness.ts";

const MODEL = "auspex/mobilenet-tiny";
let server: TestServer;
let trap: Server;
let port: number;
let visits = 0;

beforeAll(async () => {
  trap = createServer((socket) => {
    visits++;
    socket.destroy();
  }).listen(0, "::");
  await once(trap, "listening");
  port = (trap.address() as AddressInfo).port;
  server = await startServer();
});
afterAll(async () => {
  trap?.close();
  await server?.[Symbol.asyncDispose]();
});

const HOSTS = [
  "127.0.0.1",
  "127.1",
  "2130706433",
  "0x7f000001",
  "0177.0.0.1",
  "0.0.0.0",
  "[::1]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[64:ff9b::7f00:1]",
  "169.254.169.254",
  "10.0.0.1",
  "172.16.0.1",
  "192.168.0.1",
  "100.64.0.1",
  "[fe80::1]",
  "[fd00::1]",
  "[::]",
];

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => expect.fail("the call was expected to be refused"),
    (thrown: unknown) => ConnectError.from(thrown),
  );
}

test.each(HOSTS)("F15 http://%s is refused as a picture, an import and a webhook", async (host) => {
  const url = `http://${host}:${port}/x.jpg`;
  const predictions = clientOf(server, "grpc", PredictionService);
  const calls = [
    predictions.createPrediction({ model: MODEL, input: { image: url } }),
    predictions.createPrediction({ model: MODEL, input: {}, webhook: { url } }),
    clientOf(server, "grpc", ImageService).importImage({ url }),
  ];
  for (const { code } of await Promise.all(calls.map(refusal))) expect(code).toBe(Code.InvalidArgument);
  expect(visits).toBe(0);
});

test.each([
  "file:///etc/passwd",
  "gopher://127.0.0.1/",
  "ftp://127.0.0.1/x",
  "http://user:pass@93.184.216.34/",
])("F15 %s is refused as a webhook", async (url) => {
  const call = clientOf(server, "connect", PredictionService).createPrediction({
    model: MODEL,
    webhook: { url },
  });
  expect((await refusal(call)).code).toBe(Code.InvalidArgument);
});

test("F15 a name that resolves to this machine is refused when connecting", async () => {
  const { prediction } = await clientOf(server, "grpc", PredictionService).createPrediction({
    model: MODEL,
    input: { image: `http://localhost:${port}/x.jpg` },
    wait: { seconds: 30n },
  });
  expect(prediction?.status).toBe(PredictionStatus.FAILED);
  expect(prediction?.error?.message).toMatch(/is not a public address/);
  expect(visits).toBe(0);
});
