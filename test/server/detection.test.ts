/**
 * What photographs show and where: `auspex/coco-ssd` on the real server. The boxes were read off the photographs, not
 * off the answers.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ModelService } from "../../gen/auspex/v1/model_pb.ts";
import { PredictionService, PredictionStatus } from "../../gen/auspex/v1/prediction_pb.ts";
import { clientOf, photograph, startServer, type TestServer } from "../harness.ts";
import { DETECTOR, writeDetector } from "../models/coco-ssd.ts";

interface Detection {
  readonly label: string;
  readonly probability: number;
  readonly boundingBox: Readonly<Record<"minX" | "minY" | "maxX" | "maxY", number>>;
}

/** Left, upper, right and lower edge in pixels. */
type Edges = readonly [number, number, number, number];

interface Picture {
  readonly photo: string;
  /** Left, top, width and height of the part that is shown; all of it without. */
  readonly part?: Edges;
  readonly minScore: number;
  /** Everything that is to be found. */
  readonly things: readonly {
    readonly label: string;
    readonly edges: Edges;
    /** How far off each edge may be, in pixels. */
    readonly within: number;
  }[];
}

const PICTURES: readonly Picture[] = [
  {
    photo: "zebra",
    minScore: 0.7,
    things: [
      { label: "zebra", edges: [62, 133, 422, 528], within: 20 },
      { label: "zebra", edges: [289, 32, 598, 533], within: 15 },
    ],
  },
  // Its head alone: the rest is behind another zebra.
  {
    photo: "zebra",
    part: [560, 40, 240, 300],
    minScore: 0.5,
    things: [{ label: "zebra", edges: [10, 24, 182, 282], within: 20 }],
  },
  {
    photo: "panda",
    minScore: 0.5,
    things: [{ label: "bear", edges: [220, 87, 665, 497], within: 20 }],
  },
  {
    photo: "detr",
    minScore: 0.5,
    things: [
      { label: "cell phone", edges: [588, 460, 882, 712], within: 10 },
      { label: "cup", edges: [131, 190, 498, 688], within: 20 },
      { label: "keyboard", edges: [478, 260, 1000, 450], within: 20 },
    ],
  },
  {
    photo: "duck",
    minScore: 0.45,
    things: [
      // With its reflection in the water.
      { label: "bird", edges: [57, 340, 426, 672], within: 30 },
      { label: "bird", edges: [740, 457, 806, 553], within: 12 },
      { label: "bird", edges: [483, 409, 553, 492], within: 12 },
      { label: "bird", edges: [577, 533, 649, 628], within: 12 },
    ],
  },
  {
    photo: "swan",
    minScore: 0.6,
    things: [
      { label: "bird", edges: [10, 338, 298, 647], within: 35 },
      { label: "bird", edges: [505, 437, 771, 631], within: 20 },
    ],
  },
  {
    photo: "swan",
    part: [460, 400, 340, 260],
    minScore: 0.5,
    things: [
      { label: "bird", edges: [45, 37, 311, 231], within: 15 },
      { label: "bird", edges: [196, 30, 275, 167], within: 10 },
    ],
  },
  {
    photo: "swan",
    part: [820, 480, 204, 288],
    minScore: 0.5,
    things: [{ label: "bird", edges: [45, 49, 183, 251], within: 20 }],
  },
  {
    photo: "swan",
    part: [0, 300, 380, 380],
    minScore: 0.5,
    things: [
      { label: "bird", edges: [191, 70, 349, 260], within: 10 },
      { label: "bird", edges: [10, 38, 298, 347], within: 25 },
    ],
  },
  { photo: "fish", minScore: 0.5, things: [] },
];

let folder: string;
let server: TestServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "auspex-detection-"));
  await writeDetector(folder);
  server = await startServer({ settings: { MODELS_DIR: folder } });
}, 180_000);
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function imageOf({ photo, part }: Picture): Promise<Uint8Array<ArrayBuffer>> {
  const file = await readFile(photograph(photo));
  if (!part) return new Uint8Array(file);
  const [left, top, width, height] = part;
  return new Uint8Array(await sharp(file).extract({ left, top, width, height }).png().toBuffer());
}

async function detect(
  on: TestServer,
  image: Uint8Array<ArrayBuffer>,
  minScore?: number,
): Promise<readonly Detection[]> {
  const { prediction } = await clientOf(on, "grpc", PredictionService).createPrediction({
    model: DETECTOR,
    files: { image },
    wait: { seconds: 30n },
    ...(minScore === undefined ? {} : { input: { min_score: minScore } }),
  });
  expect(prediction?.status, prediction?.error?.message).toBe(PredictionStatus.SUCCEEDED);
  return prediction?.output?.probabilities as unknown as Detection[];
}

const edgesOf = ({ boundingBox: { minX, minY, maxX, maxY } }: Detection): Edges => [minX, minY, maxX, maxY];

/** How far the edge that is farthest off is off. */
const apart = (a: Edges, b: Edges): number =>
  Math.max(...a.map((edge, i) => Math.abs(edge - (b[i] ?? Number.NaN))));

const nameOf = ({ photo, part }: Picture): string =>
  part ? `${photo}, the part at ${part.join(", ")}` : photo;

test.each(PICTURES.map((picture) => [nameOf(picture), picture] as const))(
  "finds what is in %s, and where",
  async (_, picture) => {
    const detections = await detect(server, await imageOf(picture), picture.minScore);
    expect(detections.map(({ label }) => label).sort()).toEqual(
      picture.things.map(({ label }) => label).sort(),
    );
    for (const { label, edges, within } of picture.things) {
      const same = detections.filter((detection) => detection.label === label).map(edgesOf);
      const nearest = Math.min(...same.map((found) => apart(found, edges)));
      expect(nearest, `${label} at ${edges} among ${JSON.stringify(same)}`).toBeLessThanOrEqual(within);
    }
    for (const { probability, boundingBox } of detections) {
      expect(probability).toBeGreaterThanOrEqual(picture.minScore);
      expect(Object.values(boundingBox).every(Number.isInteger)).toBe(true);
    }
    const probabilities = detections.map(({ probability }) => probability);
    expect(probabilities).toEqual(probabilities.toSorted((a, b) => b - a));
  },
);

test("a phone camera's picture that lies on its side is seen upright", async () => {
  const picture = PICTURES.find(({ photo }) => photo === "panda");
  const upright = await imageOf({ photo: "panda", minScore: 0.5, things: [] });
  // Stored turned by 270°, with the note to turn it by 90°.
  const turned = await sharp(upright).rotate(270).withMetadata({ orientation: 6 }).jpeg({ quality: 100 });
  const [found] = await detect(server, new Uint8Array(await turned.toBuffer()));
  expect(found?.label).toBe("bear");
  expect(
    apart(found ? edgesOf(found) : [0, 0, 0, 0], picture?.things[0]?.edges ?? [0, 0, 0, 0]),
  ).toBeLessThan(20);
});

test("reports what is at least as probable as half, unless told otherwise", async () => {
  const image = await imageOf({ photo: "duck", minScore: 0, things: [] });
  const byDefault = await detect(server, image);
  expect(byDefault.length).toBeGreaterThan(0);
  expect(byDefault).toEqual(await detect(server, image, 0.5));
  const all = await detect(server, image, 0);
  expect(all.length).toBe(100);
  expect(all.filter(({ probability }) => probability >= 0.5)).toEqual(byDefault);
  for (const { label, boundingBox } of all) {
    expect(label).not.toBe("");
    expect(boundingBox.minX).toBeGreaterThanOrEqual(0);
    expect(boundingBox.minY).toBeGreaterThanOrEqual(0);
    expect(boundingBox.maxX).toBeLessThanOrEqual(1024);
    expect(boundingBox.maxY).toBeLessThanOrEqual(768);
  }
});

test("says what it takes and gives, and refuses what it does not take", async () => {
  const models = clientOf(server, "grpc", ModelService);
  const { version } = await models.getModelVersion({ model: DETECTOR, version: 1 });
  expect(version).toMatchObject({ task: "image-detection", runtime: "onnxruntime" });
  expect(version?.inputSchema).toMatchObject({ properties: { min_score: { default: 0.5 } } });
  expect(JSON.stringify(version?.outputSchema)).toContain("boundingBox");
  const client = clientOf(server, "grpc", PredictionService);
  const request = {
    model: DETECTOR,
    files: { image: await imageOf({ photo: "panda", minScore: 0, things: [] }) },
    input: { min_score: 1.5 },
    wait: { seconds: 30n },
  };
  await expect(client.createPrediction({ ...request, validateInput: true })).rejects.toThrow(
    "input.min_score",
  );
  const { prediction } = await client.createPrediction(request);
  expect(prediction).toMatchObject({
    status: PredictionStatus.FAILED,
    error: { message: expect.stringContaining("must be a number from 0 to 1") },
  });
});

describe("on WebAssembly", () => {
  test("the same things are found, in the same places to 2 pixels", async () => {
    await using wasm = await startServer({ settings: { MODELS_DIR: folder, RUNTIME: "tfjs-wasm" } });
    let compared = 0;
    for (const picture of PICTURES) {
      const image = await imageOf(picture);
      const [here, there] = await Promise.all([
        detect(server, image, picture.minScore),
        detect(wasm, image, picture.minScore),
      ]);
      expect(there.map(({ label }) => label)).toEqual(here.map(({ label }) => label));
      for (const [i, detection] of there.entries()) {
        const other = here[i];
        if (!other) throw new Error("one is missing");
        expect(apart(edgesOf(detection), edgesOf(other))).toBeLessThanOrEqual(2);
        expect(Math.abs(detection.probability - other.probability)).toBeLessThan(0.01);
        compared += 1;
      }
    }
    expect(compared).toBeGreaterThanOrEqual(15);
  });
});
