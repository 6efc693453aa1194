/** The picture tasks in a worker: pictures in, labels with probabilities out, each with an outcome of its own. */
import { setImmediate } from "node:timers/promises";
import type { Manifest, PictureSpec } from "../../domain/model.ts";
import type { JsonObject } from "../../domain/payload.ts";
import { elementCount } from "../../domain/tensor.ts";
import type { Outcome, PictureItem, WireError } from "../protocol.ts";
import type { Signature } from "../signature.ts";
import { modelFault, toWire } from "../wire-error.ts";
import { CHANNELS, pictureLayout, pictureShape, toPlanes } from "./picture-layout.ts";
import type { HostTensor, LoadedModel } from "./runtime.ts";

export type PictureTask = (items: readonly PictureItem[]) => Promise<readonly Outcome<JsonObject>[]>;

/** @throws Error when the output does not fit the labels */
export async function createPictureTask(
  model: LoadedModel,
  signature: Signature,
  manifest: Manifest,
  maxPixels: number,
): Promise<PictureTask> {
  const { picture } = manifest;
  const [input] = signature.inputs;
  if (!picture || !input) throw new Error("a picture task needs a picture size and an input");
  const output = classOutput(signature, manifest);
  const layout = pictureLayout(input, picture);
  if (!layout) throw new Error(`pictures do not fit the input ${input.name}`);
  // Imported with the first picture model: it takes 100 ms that other workers need not spend.
  const { decodePicture } = await import("./picture.ts");
  const size = picture.height * picture.width * CHANNELS;

  /** The scores of pictures that lie one after the other in `pixels`. */
  const infer = async (pixels: Float32Array): Promise<Float32Array[]> => {
    const rows = pixels.length / size;
    const values = layout === "channels-last" ? pixels : toPlanes(pixels, picture);
    const tensor: HostTensor = {
      dtype: input.dtype,
      shape: pictureShape(layout, rows, picture),
      data: input.dtype === "float32" ? values : Int32Array.from(values, Math.round),
    };
    const scores = (await model.run({ [input.name]: tensor }))[output]?.data;
    if (scores?.length !== rows * manifest.labels.length) {
      throw new Error(`the model gave ${scores?.length} scores for ${rows} pictures`);
    }
    const all = Float32Array.from(scores);
    return Array.from({ length: rows }, (_, row) =>
      all.subarray(row * manifest.labels.length, (row + 1) * manifest.labels.length),
    );
  };

  return async (items) => {
    const outcomes = new Map<number, Outcome<JsonObject>>();
    const decode = (image: Uint8Array): Promise<Buffer> => decodePicture(image, picture, maxPixels);
    for await (const group of asDecoded(items, decode, picture)) {
      for (const { item, error } of group.faults) outcomes.set(item, { ok: false, error });
      const scores = await inferAll(infer, group.pixels, size, signature.joinable);
      for (const [i, item] of group.items.entries()) {
        const score = scores[i];
        outcomes.set(
          item,
          score?.ok ? named(score.value, manifest, items[item]?.topK ?? 0) : unscored(score),
        );
      }
    }
    return items.map((_, item) => outcomes.get(item) ?? unscored(undefined));
  };
}

function unscored(score: Outcome<Float32Array> | undefined): Outcome<JsonObject> {
  return { ok: false, error: score && !score.ok ? score.error : toWire("the picture was left out") };
}

/** Bytes of 0…255 onto the model's range. */
export function toRange(bytes: Uint8Array, [low, high]: PictureSpec["range"], target: Float32Array): void {
  const step = (high - low) / 255;
  for (let i = 0; i < target.length; i++) target[i] = low + (bytes[i] ?? 0) * step;
}

interface Fault {
  readonly item: number;
  readonly error: WireError;
}

interface Group {
  /** Indices of the pictures in `pixels`, where one lies after the other. */
  readonly items: readonly number[];
  readonly pixels: Float32Array;
  readonly faults: readonly Fault[];
}

/**
 * Decodes all pictures at once, on libvips's threads, and yields what is there whenever it is asked: while a model
 * blocks this thread with the first ones, the others are decoded. Each picture is yielded once.
 */
async function* asDecoded(
  items: readonly PictureItem[],
  decode: (image: Uint8Array) => Promise<Buffer>,
  spec: PictureSpec,
): AsyncGenerator<Group> {
  const size = spec.height * spec.width * CHANNELS;
  const pixels = new Float32Array(items.length * size);
  let decoded: number[] = [];
  let faults: Fault[] = [];
  let wake = (): void => undefined;
  let filled = 0;
  for (const [item, { image }] of items.entries()) {
    decode(image)
      .then((bytes) => {
        toRange(bytes, spec.range, pixels.subarray(filled * size, (filled + 1) * size));
        filled += 1;
        decoded.push(item);
      })
      .catch((error: unknown) => void faults.push({ item, error: toWire(error) }))
      .finally(() => wake());
  }
  for (let left = items.length; left > 0; ) {
    // What was decoded while this thread was blocked is told in the next turn of the event loop.
    await setImmediate();
    if (decoded.length + faults.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const group = {
      items: decoded,
      faults,
      pixels: pixels.subarray((filled - decoded.length) * size, filled * size),
    };
    left -= decoded.length + faults.length;
    decoded = [];
    faults = [];
    yield group;
  }
}

/** All at once, or one by one where the model cannot or where that failed: a bad item is then alone with it. */
async function inferAll(
  infer: (pixels: Float32Array) => Promise<Float32Array[]>,
  pixels: Float32Array,
  size: number,
  joinable: boolean,
): Promise<Outcome<Float32Array>[]> {
  const count = pixels.length / size;
  if (count === 0) return [];
  if (joinable && count > 1) {
    const together = await infer(pixels).catch(() => undefined);
    if (together) return together.map((value) => ({ ok: true, value }));
  }
  const outcomes: Outcome<Float32Array>[] = [];
  for (let i = 0; i < count; i++) {
    try {
      const [value = new Float32Array()] = await infer(pixels.subarray(i * size, (i + 1) * size));
      outcomes.push({ ok: true, value });
    } catch (error) {
      outcomes.push({ ok: false, error: modelFault(error) });
    }
  }
  return outcomes;
}

/** The output with one value per label and row. */
function classOutput({ outputs }: Signature, { labels }: Manifest): string {
  const fitting = outputs.filter(({ shape }) => elementCount(shape.slice(1).map(Number)) === labels.length);
  if (fitting[0]) return fitting[0].name;
  const sizes = outputs.map(({ name, shape }) => `${name} has ${elementCount(shape.slice(1).map(Number))}`);
  throw new Error(`auspex.json has ${labels.length} labels, and the output ${sizes.join(", ")} classes`);
}

function named(scores: Float32Array, { labels, activation }: Manifest, topK: number): Outcome<JsonObject> {
  const values = activate(scores, activation);
  if (!values.every(Number.isFinite)) {
    return { ok: false, error: modelFault("it gave a probability that is not a number") };
  }
  const order = labels.flatMap((label, i) => (label === "" ? [] : [i]));
  order.sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0) || a - b);
  const probabilities = order
    .slice(0, topK)
    .map((i) => ({ label: labels[i] ?? "", probability: values[i] ?? 0 }));
  return { ok: true, value: { probabilities } };
}

/**
 * A label "" is a class that is never reported (MobileNet's background): it takes its part of the softmax and is
 * then left out.
 */
function activate(scores: Float32Array, activation: Manifest["activation"]): Float32Array {
  switch (activation) {
    case "none":
      return scores;
    case "sigmoid":
      return scores.map((score) => 1 / (1 + Math.exp(-score)));
    case "softmax": {
      // Less the largest, so that no exponential overflows.
      const largest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
      const powers = Float64Array.from(scores, (score) => Math.exp(score - largest));
      const sum = powers.reduce((a, b) => a + b, 0);
      return Float32Array.from(powers, (power) => power / sum);
    }
    default:
      return activation satisfies never;
  }
}
