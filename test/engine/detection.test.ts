/** The task `image-detection` over the engine, on detectors that answer known boxes. */
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TensorProto_DataType as DataType } from "../../gen/onnx/onnx_pb.ts";
import type { JsonObject } from "../../src/domain/payload.ts";
import { type GraphInit, info, int64s, node, onnxModel, tensor, writeOnnx } from "../models/onnx.ts";
import { type EngineFixture, mlpJob, startEngine } from "./harness.ts";

const LABELS = ["", "cat", "dog"];
const SIDE = 4;

interface Anchor {
  /** Parts of the picture: ymin, xmin, ymax, xmax. */
  readonly box: readonly [number, number, number, number];
  /** By label. */
  readonly scores: readonly [number, number, number];
}

const LEFT = [0, 0, 1, 0.5] as const;
const ANCHORS: readonly Anchor[] = [
  { box: LEFT, scores: [0.9, 0.75, 0.25] },
  // Overlaps with the one before by 0.8, and so is the same cat; no dog is better.
  { box: [0, 0, 1, 0.4], scores: [0, 0.625, 0.5] },
  { box: [0.25, 0.5, 0.75, 1], scores: [1, 0, 0.875] },
  // Beyond the picture's edges.
  { box: [-0.5, 0.75, 0.25, 1.5], scores: [0, 0.5, 0] },
  // Too small for a pixel.
  { box: [0.5, 0.5, 0.501, 0.501], scores: [0, 1, 1] },
  { box: [0.5, 0.5, 1, 1], scores: [0, 0.375, 0] },
];

interface Shape {
  /** Of the input's and the outputs' first dimension. */
  readonly rows?: number | "n";
  readonly input?: DataType;
  /** Between the anchors and the four numbers, as SSD graphs have it. */
  readonly inner?: readonly number[];
  /** Boxes are divided by one less the picture's mean: on white they are infinite. */
  readonly failsOnWhite?: boolean;
}

/** Boxes that are always the same, with scores that are multiplied with the picture's mean brightness, 0…1. */
function detector(anchors: readonly Anchor[], shape: Shape = {}): Uint8Array<ArrayBuffer> {
  const { rows = "n", input = DataType.UINT8, inner = [], failsOnWhite = false } = shape;
  const count = anchors.length;
  const graph: GraphInit = {
    input: [info("x", input, [rows, "height", "width", 3])],
    output: [
      info("scores", DataType.FLOAT, [rows, count, LABELS.length]),
      info("boxes", DataType.FLOAT, [rows, count, ...inner, 4]),
    ],
    initializer: [
      tensor("all_scores", Float32Array.from(anchors.flatMap(({ scores }) => scores)), [1, count, 3]),
      tensor("all_boxes", Float32Array.from(anchors.flatMap(({ box }) => box)), [1, count, 4]),
      tensor("full", Float32Array.of(255), []),
      tensor("one", Float32Array.of(1), []),
      tensor("zero", Float32Array.of(0), []),
      int64s("inside", [1, 2, 3]),
      int64s("flat", [-1, 1, 1]),
      int64s("boxed", [-1, count, ...inner, 4]),
    ],
    node: [
      node("Cast", ["x"], ["floats"], { to: BigInt(DataType.FLOAT) }),
      node("ReduceMean", ["floats", "inside"], ["mean"]),
      node("Reshape", ["mean", "flat"], ["row_mean"]),
      node("Div", ["row_mean", "full"], ["brightness"]),
      node("Mul", ["all_scores", "brightness"], ["scores"]),
      node("Mul", ["brightness", failsOnWhite ? "one" : "zero"], ["taken"]),
      node("Sub", ["one", "taken"], ["divisor"]),
      node("Div", ["all_boxes", "divisor"], ["divided"]),
      node("Reshape", ["divided", "boxed"], ["boxes"]),
    ],
  };
  return onnxModel(graph);
}

const manifest = {
  task: "image-detection",
  labels: LABELS,
  picture: { width: SIDE, height: SIDE, range: [0, 255] },
  detection: { boxes: "boxes", scores: "scores" },
};

/** As many better boxes of a cat in one place, and a worse one in another place. */
function crowd(count: number): readonly Anchor[] {
  const better: Anchor = { box: LEFT, scores: [0, 1, 0] };
  return [{ box: [0, 0.5, 1, 1], scores: [0, 0.5, 0] }, ...Array.from({ length: count }, () => better)];
}

let fixture: EngineFixture;
beforeAll(async () => {
  fixture = await startEngine({ workers: 1, runtime: undefined }, async (modelsDir) => {
    const write = (name: string, model: Uint8Array, changes: JsonObject = {}): Promise<void> =>
      writeOnnx(join(modelsDir, "acme", name, "1"), model, { ...manifest, ...changes });
    const { detection } = manifest;
    await write("free", detector(ANCHORS));
    await write("single", detector(ANCHORS, { rows: 1, input: DataType.INT32, inner: [1] }));
    await write("few", detector(ANCHORS), { detection: { ...detection, maxDetections: 2 } });
    await write("all", detector(ANCHORS), { detection: { ...detection, iouThreshold: 1 } });
    await write("xyxy", detector(ANCHORS), { detection: { ...detection, boxForm: "xyxy" } });
    await write("logits", detector(ANCHORS), { activation: "sigmoid" });
    await write("softmax", detector(ANCHORS), { activation: "softmax" });
    await write("infinite", detector(ANCHORS, { failsOnWhite: true }));
    await write("crowd-999", detector(crowd(999)));
    await write("crowd-1000", detector(crowd(1000)));
    await write("unnamed", detector(ANCHORS), { detection: { boxes: "y", scores: "scores" } });
    await write("swapped", detector(ANCHORS), { detection: { boxes: "scores", scores: "boxes" } });
    await write("labels", detector(ANCHORS), { labels: ["cat", "dog"] });
  });
});
afterAll(() => fixture?.stop());

interface Detection {
  readonly label: string;
  readonly probability: number;
  readonly boundingBox: {
    readonly minX: number;
    readonly minY: number;
    readonly maxX: number;
    readonly maxY: number;
  };
}

function picture(background: string, width = 200, height = 100): ReturnType<typeof sharp> {
  return sharp({ create: { width, height, channels: 3, background } });
}

async function detect(name: string, image: Uint8Array, json: JsonObject = {}): Promise<readonly Detection[]> {
  const result = await fixture.engine.run(
    mlpJob(0, { name, input: { json, tensors: {}, files: { image } } }),
  );
  return (result.output.json as unknown as { probabilities: Detection[] }).probabilities;
}

const found = (
  label: string,
  probability: number,
  minX: number,
  minY: number,
  maxX: number,
  maxY: number,
) => ({
  label,
  probability,
  boundingBox: { minX, minY, maxX, maxY },
});

const DOG = found("dog", 0.875, 100, 25, 200, 75);
const CAT = found("cat", 0.75, 0, 0, 100, 100);
const LEFT_DOG = found("dog", 0.5, 0, 0, 80, 100);
const EDGE_CAT = found("cat", 0.5, 150, 0, 200, 25);

describe("detections", () => {
  let white: Buffer;
  beforeAll(async () => {
    white = await picture("#ffffff").png().toBuffer();
  });

  test.each(["free", "single"])(
    "of a model with %s rows: the most probable first, in the picture's pixels, once for each thing",
    async (name) => {
      expect(await detect(name, white)).toEqual([DOG, CAT, EDGE_CAT, LEFT_DOG]);
    },
  );

  test("are of the picture that was sent, each of a batch", async () => {
    const grey = await picture("#cccccc", 40, 20).png().toBuffer();
    const { batches } = fixture.engine.stats();
    const seen = await Promise.all(
      Array.from({ length: 20 }, (_, i) => detect("free", i % 2 === 0 ? white : grey)),
    );
    expect(fixture.engine.stats().batches - batches).toBeLessThan(20);
    for (const [i, detections] of seen.entries()) {
      if (i % 2 === 0) expect(detections).toEqual([DOG, CAT, EDGE_CAT, LEFT_DOG]);
      else {
        expect(detections.map(({ boundingBox }) => boundingBox)).toEqual([
          { minX: 20, minY: 5, maxX: 40, maxY: 15 },
          { minX: 0, minY: 0, maxX: 20, maxY: 20 },
        ]);
        expect(detections[0]?.probability).toBeCloseTo(0.875 * 0.8, 6);
        expect(detections[1]?.probability).toBeCloseTo(0.75 * 0.8, 6);
      }
    }
  });

  test("lie in the picture as it is seen: upright", async () => {
    const turned = await picture("#ffffff").jpeg().withMetadata({ orientation: 6 }).toBuffer();
    expect((await detect("free", turned)).map(({ boundingBox }) => boundingBox)).toEqual([
      { minX: 50, minY: 50, maxX: 100, maxY: 150 },
      { minX: 0, minY: 0, maxX: 50, maxY: 200 },
      { minX: 75, minY: 0, maxX: 100, maxY: 50 },
      { minX: 0, minY: 0, maxX: 40, maxY: 200 },
    ]);
  });

  test("are those of at least min_score, 0.5 unless told otherwise", async () => {
    expect(await detect("free", white, { min_score: 0.5 })).toEqual([DOG, CAT, EDGE_CAT, LEFT_DOG]);
    expect(await detect("free", white, { min_score: 0.500001 })).toEqual([DOG, CAT]);
    expect(await detect("free", white, { min_score: 0.875 })).toEqual([DOG]);
    expect(await detect("free", white, { min_score: 1 })).toEqual([]);
    const all = await detect("free", white, { min_score: 0 });
    expect(all).toContainEqual(found("cat", 0.375, 100, 50, 200, 100));
    expect(all.map(({ label }) => label)).not.toContain("");
    const black = await picture("#000000").png().toBuffer();
    expect(await detect("free", black)).toEqual([]);
  });

  test.each([-0.001, 1.001, "0.5", true])("min_score %j is refused", async (score) => {
    await expect(detect("free", white, { min_score: score })).rejects.toMatchObject({
      code: "invalid_argument",
      violations: [{ field: "input.min_score", description: "must be a number from 0 to 1" }],
    });
  });

  test("are as auspex.json says: how many, how close, in which form, of which scores", async () => {
    expect(await detect("few", white)).toEqual([DOG, CAT]);
    expect(await detect("all", white)).toEqual([
      DOG,
      CAT,
      found("cat", 0.625, 0, 0, 80, 100),
      EDGE_CAT,
      LEFT_DOG,
    ]);
    expect((await detect("xyxy", white))[0]).toEqual(found("dog", 0.875, 50, 50, 150, 100));
    const logits = await detect("logits", white, { min_score: 0.7 });
    expect(logits.map(({ label }) => label)).toEqual(["dog"]);
    expect(logits[0]?.probability).toBeCloseTo(1 / (1 + Math.exp(-0.875)), 6);
    // Of the scores [0, x, 0] and, for the one in the left, [0, 0.625, 0.5].
    const e = Math.exp;
    const softmax = await detect("softmax", white, { min_score: 0.41 });
    expect(softmax.map(({ label }) => label)).toEqual(["cat", "cat", "cat"]);
    const expected = [e(0.5) / (e(0.5) + 2), e(0.375) / (e(0.375) + 2), e(0.625) / (e(0.625) + e(0.5) + 1)];
    for (const [i, { probability }] of softmax.entries())
      expect(probability).toBeCloseTo(expected[i] ?? 0, 6);
    expect(softmax[2]?.boundingBox).toEqual({ minX: 0, minY: 0, maxX: 80, maxY: 100 });
  });

  test("are sought among the thousand best boxes of a label", async () => {
    expect(await detect("crowd-999", white)).toEqual([
      found("cat", 1, 0, 0, 100, 100),
      found("cat", 0.5, 100, 0, 200, 100),
    ]);
    expect(await detect("crowd-1000", white)).toEqual([found("cat", 1, 0, 0, 100, 100)]);
  });

  test("a box that is not a number fails its picture, and no other of the batch", async () => {
    const grey = await picture("#808080").png().toBuffer();
    const [good, bad] = await Promise.allSettled([detect("infinite", grey), detect("infinite", white)]);
    expect(good.status).toBe("fulfilled");
    expect(bad).toMatchObject({
      status: "rejected",
      reason: {
        code: "failed_precondition",
        message: expect.stringContaining("a score that is not a number"),
      },
    });
  });
});

test.each([
  ["unnamed", "auspex.json names the output y, and the model has scores, boxes"],
  [
    "swapped",
    "boxes of [rows, anchors, 4] and scores of [rows, anchors, 3] are needed, for 3 labels; scores has " +
      "[rows, 6, 3] and boxes has [rows, 6, 4]",
  ],
  [
    "labels",
    "boxes of [rows, anchors, 4] and scores of [rows, anchors, 2] are needed, for 2 labels; boxes has " +
      "[rows, 6, 4] and scores has [rows, 6, 3]",
  ],
])("a detector that its auspex.json does not fit is not served: %s", (name, reason) => {
  expect(fixture.engine.models.get("acme", name, 1)?.state).toEqual({
    kind: "failed",
    reason: `onnxruntime: ${reason}`,
  });
});
