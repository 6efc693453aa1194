/** Where things are in a photograph, by this dialect, with the catalogue's detector. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { photograph, startServer, type TestServer, until } from "../../harness.ts";
import { DETECTOR, writeDetector } from "../../models/coco-ssd.ts";
import { call } from "./client.ts";

let models: string;
let server: TestServer;

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), "auspex-test-"));
  await writeDetector(models);
  server = await startServer({ settings: { MODELS_DIR: models } });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(models, { recursive: true, force: true });
});

it("boxes are whole pixels, and the other call says that the model does not fit", async () => {
  const form = {
    modelId: DETECTOR,
    sampleContent: [await readFile(photograph("zebra"))] as const,
    sampleId: "z",
  };
  const { body } = await until(async () => {
    const reply = await call(server, "POST", "/v2/vision/detect", { form });
    // Until the model is loaded it is one that cannot be found.
    return reply.status !== 404 && reply;
  });
  expect(Object.keys(body)).toEqual(["probabilities", "object", "sampleId"]);
  const [first] = body.probabilities;
  expect(first).toEqual({
    label: "zebra",
    probability: expect.any(Number),
    boundingBox: {
      minX: expect.any(Number),
      minY: expect.any(Number),
      maxX: expect.any(Number),
      maxY: expect.any(Number),
    },
  });
  const { minX, minY, maxX, maxY } = first.boundingBox;
  expect([minX, minY, maxX, maxY].every(Number.isInteger)).toBe(true);
  expect(maxX - minX).toBeGreaterThan(100);
  expect(maxY - minY).toBeGreaterThan(100);
  expect(await call(server, "POST", "/v2/vision/predict", { form })).toMatchObject({
    status: 400,
    body: { message: "Bad Request: modelType not supported for this endpoint" },
  });
});
