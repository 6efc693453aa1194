/** The picture tasks in a worker: pictures in, what the model says of each out, each with an outcome of its own. */
import { setImmediate } from "node:timers/promises";
import type { Manifest, PictureSpec } from "../../domain/model.ts";
import type { JsonObject } from "../../domain/payload.ts";
import type { Outcome, PictureItem, WireError } from "../protocol.ts";
import type { Signature } from "../signature.ts";
import { modelFault, toWire } from "../wire-error.ts";
import { createClassAnswers } from "./class-answer.ts";
import type { PictureAnswer } from "./picture-answer.ts";
import { CHANNELS, pictureLayout, pictureShape, toPlanes } from "./picture-layout.ts";
import type { HostTensor, LoadedModel } from "./runtime.ts";

export type PictureTask = (items: readonly PictureItem[]) => Promise<readonly Outcome<JsonObject>[]>;

/** @throws Error when the outputs do not fit the labels */
export async function createPictureTask(
  model: LoadedModel,
  signature: Signature,
  manifest: Manifest,
  maxPixels: number,
): Promise<PictureTask> {
  const { picture } = manifest;
  const [input] = signature.inputs;
  if (!picture || !input) throw new Error("a picture task needs a picture size and an input");
  const readAnswers = createClassAnswers(signature, manifest);
  const layout = pictureLayout(input, picture);
  if (!layout) throw new Error(`pictures do not fit the input ${input.name}`);
  // Imported with the first picture model: it takes 100 ms that other workers need not spend.
  const { decodePicture } = await import("./picture.ts");
  const size = picture.height * picture.width * CHANNELS;

  /** What the model says of pictures that lie one after the other in `pixels`. */
  const infer = async (pixels: Float32Array): Promise<readonly PictureAnswer[]> => {
    const rows = pixels.length / size;
    const values = layout === "channels-last" ? pixels : toPlanes(pixels, picture);
    const tensor: HostTensor = {
      dtype: input.dtype,
      shape: pictureShape(layout, rows, picture),
      data: input.dtype === "float32" ? values : Int32Array.from(values, Math.round),
    };
    return readAnswers(await model.run({ [input.name]: tensor }), rows);
  };

  return async (items) => {
    const outcomes = new Map<number, Outcome<JsonObject>>();
    const decode = (image: Uint8Array): Promise<Buffer> => decodePicture(image, picture, maxPixels);
    for await (const group of asDecoded(items, decode, picture)) {
      for (const { item, error } of group.faults) outcomes.set(item, { ok: false, error });
      const answers = await inferAll(infer, group.pixels, size, signature.joinable);
      for (const [i, index] of group.items.entries()) {
        const item = items[index];
        const answer = answers[i];
        if (item && answer) outcomes.set(index, answer.ok ? await answer.value(item) : answer);
      }
    }
    return items.map((_, item) => outcomes.get(item) ?? LEFT_OUT);
  };
}

const LEFT_OUT: Outcome<never> = { ok: false, error: toWire("the picture was left out") };

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
  infer: (pixels: Float32Array) => Promise<readonly PictureAnswer[]>,
  pixels: Float32Array,
  size: number,
  joinable: boolean,
): Promise<Outcome<PictureAnswer>[]> {
  const count = pixels.length / size;
  if (count === 0) return [];
  if (joinable && count > 1) {
    const together = await infer(pixels).catch(() => undefined);
    if (together) return together.map((value) => ({ ok: true, value }));
  }
  const outcomes: Outcome<PictureAnswer>[] = [];
  for (let i = 0; i < count; i++) {
    try {
      const answers = await infer(pixels.subarray(i * size, (i + 1) * size));
      outcomes.push(...answers.map((value) => ({ ok: true, value }) as const));
    } catch (error) {
      outcomes.push({ ok: false, error: modelFault(error) });
    }
  }
  return outcomes;
}
