/** Row F23: poison pictures through every door; their neighbours in the batch are unharmed. */
import { readFile } from "node:fs/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, photograph, startServer, type TestServer } from "../harness.ts";
import { POISON } from "./poison.ts";

const MODEL = "auspex/mobilenet-tiny";
let server: TestServer;
let zebra: Buffer;

beforeAll(async () => {
  server = await startServer();
  zebra = await readFile(photograph("zebra"));
});
afterAll(() => server?.[Symbol.asyncDispose]());

test.each(Object.entries(POISON))("F23 %s fails alone", async (_name, make) => {
  const client = clientOf(server, "grpc", PredictionService);
  const poison = new Uint8Array(await make());
  const create = (image: Uint8Array<ArrayBuffer>) =>
    client.createPrediction({ model: MODEL, files: { image }, wait: { seconds: 30n } });
  const neighbours = Array.from({ length: 6 }, () => create(new Uint8Array(zebra)));
  const { prediction } = await create(poison);
  expect(prediction?.status).toBe(PredictionStatus.FAILED);
  expect(prediction?.error).toMatchObject({ code: "invalid_argument" });
  for (const { prediction: neighbour } of await Promise.all(neighbours)) {
    expect(neighbour?.status).toBe(PredictionStatus.SUCCEEDED);
  }
  for (const door of DOORS) {
    const refused = await clientOf(server, door, PredictionService)
      .createPrediction({ model: MODEL, files: { image: poison }, validateInput: true })
      .catch((thrown: unknown) => ConnectError.from(thrown).code);
    expect(refused).toBe(Code.InvalidArgument);
  }
});

const UNUSUAL: Record<string, () => Promise<Buffer>> = {
  "a CMYK JPEG": () => sharp(zebra).toColourspace("cmyk").jpeg().toBuffer(),
  "a 16-bit PNG": () => sharp(zebra).resize(300).toColourspace("rgb16").png().toBuffer(),
  "a grey PNG with alpha": () => sharp(zebra).resize(300).ensureAlpha().png().toBuffer(),
  "a WebP": () => sharp(zebra).webp().toBuffer(),
};

test.each(Object.entries(UNUSUAL))("F23 %s is a picture like another", async (_name, make) => {
  const { prediction } = await clientOf(server, "grpc", PredictionService).createPrediction({
    model: MODEL,
    files: { image: new Uint8Array(await make()) },
    wait: { seconds: 30n },
  });
  expect(prediction?.status, prediction?.error?.message).toBe(PredictionStatus.SUCCEEDED);
});
