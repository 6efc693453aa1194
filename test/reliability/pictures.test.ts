/** Row F23: poison pictures through every door; their neighbours in the batch are unharmed. */
import { readFile } from "node:fs/promises";
import { deflateSync } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, DOORS, photograph, startServer, type TestServer } from "../harness.ts";

const MODEL = "auspex/mobilenet-tiny";
let server: TestServer;
let zebra: Buffer;

beforeAll(async () => {
  server = await startServer();
  zebra = await readFile(photograph("zebra"));
});
afterAll(() => server?.[Symbol.asyncDispose]());

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  let crc = 0xffffffff;
  for (const byte of body) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeInt32BE(~crc, 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** A few hundred bytes that claim to be a picture of that size. */
function pngClaiming(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk("IHDR", header),
    pngChunk("IDAT", deflateSync(Buffer.alloc(1000))),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

const POISON: Record<string, () => Buffer | Promise<Buffer>> = {
  "a PNG of 30,000 × 30,000 pixels": () => pngClaiming(30_000, 30_000),
  "a truncated JPEG": () => zebra.subarray(0, zebra.length >> 1),
  "an SVG": () =>
    Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    ),
  "an SVG that includes a file": () =>
    Buffer.from(
      '<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>',
    ),
  "a TIFF": () => sharp(zebra).resize(32).tiff().toBuffer(),
  "an AVIF": () => sharp(zebra).resize(32).avif().toBuffer(),
  "a web page behind a JPEG's first bytes": () =>
    Buffer.concat([zebra.subarray(0, 3), Buffer.from("<html></html>")]),
  nothing: () => Buffer.alloc(0),
};

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
