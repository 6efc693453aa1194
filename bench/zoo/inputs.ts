/** What the models are shown: real photographs, real sentences. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { TensorSpec } from "../../src/engine/signature.ts";
import { decodePicture } from "../../src/engine/worker/picture.ts";
import { CHANNELS } from "../../src/engine/worker/picture-layout.ts";
import type { HostTensors } from "../../src/engine/worker/runtime.ts";
import { photograph } from "../../test/harness.ts";
import type { Feed } from "./models.ts";
import { readVocabulary, SENTENCES, sentenceTensors } from "./sentences.ts";

const PHOTOGRAPHS = ["zebra", "panda", "flamingo", "teapot"];
const PIXELS_MAX = 100_000_000;

export interface Input {
  /** For the table: `1`, `3`. */
  readonly rows: number;
  readonly tensors: HostTensors;
}

/** One row, and three together where the model takes any number; else three times one row. */
export function createInputs(
  feed: Feed,
  specs: readonly TensorSpec[],
  folder: string,
): Promise<readonly Input[]> {
  return feed.kind === "sentences" ? sentences(folder) : pictures(feed, specs);
}

async function sentences(folder: string): Promise<readonly Input[]> {
  const vocabulary = await readVocabulary(join(folder, "vocab.json"));
  return [SENTENCES.slice(0, 1), SENTENCES].map((texts) => ({
    rows: texts.length,
    tensors: { ...sentenceTensors(texts, vocabulary) },
  }));
}

async function pictures(
  feed: Extract<Feed, { kind: "pictures" }>,
  specs: readonly TensorSpec[],
): Promise<readonly Input[]> {
  const [spec] = specs;
  if (!spec || specs.length > 1) throw new Error(`a picture model has one input, not ${specs.length}`);
  const groups =
    spec.shape[0] === null ? [["zebra"], PHOTOGRAPHS.slice(1)] : PHOTOGRAPHS.map((name) => [name]);
  return Promise.all(
    groups.map(async (names) => ({
      rows: names.length,
      tensors: { [spec.name]: await pictureTensor(names, feed, spec) },
    })),
  );
}

async function pictureTensor(
  names: readonly string[],
  { width, height, range }: Extract<Feed, { kind: "pictures" }>,
  { dtype }: TensorSpec,
) {
  const values = width * height * CHANNELS;
  const data = new Float32Array(names.length * values);
  const [low, high] = range;
  for (const [row, name] of names.entries()) {
    const spec = { width, height, range, resize: "stretch" } as const;
    const pixels = await decodePicture(await readFile(photograph(name)), spec, PIXELS_MAX);
    for (const [i, value] of pixels.entries()) data[row * values + i] = low + (value / 255) * (high - low);
  }
  const shape = [names.length, height, width, CHANNELS];
  if (dtype === "float32") return { dtype, shape, data };
  if (dtype === "int32") return { dtype, shape, data: Int32Array.from(data) };
  return { dtype, shape, data: Uint8Array.from(data) };
}
