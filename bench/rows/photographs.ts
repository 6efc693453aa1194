/**
 * Whether the runtimes say the same: every output of the full MobileNet over real photographs and seeded crops of them,
 * flipped and lightened, against TF.js on WebAssembly with its batch norms folded.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { RUNTIMES, type RuntimeName } from "../../src/domain/model.ts";
import { MANIFEST_FILE, readManifest } from "../../src/engine/manifest.ts";
import { decodePicture } from "../../src/engine/worker/picture.ts";
import { toRange } from "../../src/engine/worker/picture-batch.ts";
import type { LoadedModel } from "../../src/engine/worker/runtime.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { photograph } from "../../test/harness.ts";
import { uniform } from "../../test/models/mlp.ts";
import type { BenchContext, Goal, Row, RowResult } from "../row.ts";

const FOLDER = join(import.meta.dirname, "..", "..", "catalog", ".cache", "auspex", "mobilenet", "1");
const FLOOR: RuntimeName = "tfjs-wasm";
/** The runtime that must agree; others are shown beside it. */
const HELD: RuntimeName = "onnxruntime";
const DIFFERENCE_MAX = 1e-4;
/** All photographs that come with the development dependencies. */
const NAMES = [
  ...["zebra", "panda", "flamingo", "teapot", "duck", "swan", "fish", "detr", "thumbnail_Photo"],
  ...["wnn_photo1_fpo", "wnn_photo2_fpo", "wnn_photo3_fpo"],
] as const;
const CROPS = 9;
const MAX_PIXELS = 50_000_000;

/** The photograph, and crops of a third to all of each side, some mirrored, darker or lighter. */
async function variants(bytes: Buffer, random: () => number): Promise<readonly Buffer[]> {
  const { width, height } = await sharp(bytes).metadata();
  const made: Buffer[] = [bytes];
  for (let i = 0; i < CROPS; i++) {
    const [w, h] = [width, height].map((side) => Math.round(side * (1 / 3 + (random() * 2) / 3))) as [
      number,
      number,
    ];
    const left = Math.floor(random() * (width - w + 1));
    const top = Math.floor(random() * (height - h + 1));
    made.push(
      await sharp(bytes)
        .extract({ left, top, width: w, height: h })
        .flop(random() < 0.5)
        .modulate({ brightness: 0.6 + random() * 0.8 })
        .jpeg()
        .toBuffer(),
    );
  }
  return made;
}

interface Comparison {
  readonly runtime: RuntimeName;
  difference: number;
  /** Pictures with another class in front. */
  otherwise: number;
}

const topOf = (scores: Float32Array): number => scores.indexOf(scores.reduce((a, b) => Math.max(a, b)));

async function scoresOf(
  model: LoadedModel,
  shape: readonly number[],
  data: Float32Array,
): Promise<Float32Array> {
  const outputs = await model.run({ [model.inputs[0]?.name ?? ""]: { dtype: "float32", shape, data } });
  return Float32Array.from(Object.values(outputs)[0]?.data ?? []);
}

async function run({ progress }: BenchContext): Promise<RowResult> {
  const manifest = readManifest(await readFile(join(FOLDER, MANIFEST_FILE), "utf8"));
  const { picture } = manifest;
  if (!picture) throw new Error("the model takes no pictures");
  const runtimes = createRuntimes(1);
  const settings: Record<string, string> = {};
  const models = new Map<RuntimeName, LoadedModel>();
  for (const runtime of RUNTIMES) {
    try {
      models.set(runtime, (await runtimes.load(FOLDER, manifest, runtime)).model);
    } catch (error) {
      settings[runtime] = `left out: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  const floor = models.get(FLOOR);
  if (!floor) throw new Error(`${FLOOR} did not take the model`);
  const comparisons: Comparison[] = [...models.keys()].flatMap((runtime) =>
    runtime === FLOOR ? [] : [{ runtime, difference: 0, otherwise: 0 }],
  );
  const random = uniform(100);
  const classes = new Set<number>();
  let pictures = 0;
  for (const name of NAMES) {
    for (const bytes of await variants(await readFile(photograph(name)), random)) {
      progress(`${name}: picture ${++pictures}`);
      const pixels = await decodePicture(bytes, picture, MAX_PIXELS);
      const data = new Float32Array(pixels.length);
      toRange(pixels, picture.range, data);
      const shape = [1, picture.height, picture.width, 3];
      const expected = await scoresOf(floor, shape, data);
      classes.add(topOf(expected));
      for (const comparison of comparisons) {
        const model = models.get(comparison.runtime);
        const scores = model ? await scoresOf(model, shape, data) : new Float32Array();
        if (scores.length !== expected.length)
          throw new Error("the runtimes do not agree on the output's shape");
        const differences = scores.map((score, i) => Math.abs(score - (expected[i] ?? Number.NaN)));
        // NaN stays NaN, and misses the goal.
        comparison.difference = differences.reduce((a, b) => Math.max(a, b), comparison.difference);
        if (topOf(scores) !== topOf(expected)) comparison.otherwise += 1;
      }
    }
  }
  for (const model of models.values()) model.dispose();
  for (const { runtime, difference, otherwise } of comparisons)
    settings[runtime] =
      `largest difference ${difference.toExponential(2)}, another class first in ${otherwise}`;
  const held = comparisons.find(({ runtime }) => runtime === HELD);
  const goal: Goal = {
    what: `${DIFFERENCE_MAX.toExponential()}, of the largest difference of any output on ${HELD}`,
    value: held ? DIFFERENCE_MAX / held.difference : 0,
    atLeast: 1,
  };
  const counted = `${pictures}: ${NAMES.length} photographs and ${CROPS} crops of each; ${classes.size} classes in front`;
  return { settings: { pictures: counted, ...settings }, tables: [], goals: [goal] };
}

export const photographs: Row = {
  name: "photographs",
  title: "whether the runtimes say the same of photographs and crops of them",
  run,
};
