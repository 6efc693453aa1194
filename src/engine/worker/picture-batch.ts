/**
 * Pictures in, what a model makes of each out, each with an outcome of its own: decoded beside one another, run
 * together, and one by one where that fails.
 */
import { setImmediate } from "node:timers/promises";
import type { PictureSpec } from "../../domain/model.ts";
import type { Dtype } from "../../domain/tensor.ts";
import type { Outcome, WireError } from "../protocol.ts";
import type { Signature } from "../signature.ts";
import { modelFault, toWire } from "../wire-error.ts";
import { CHANNELS, pictureLayout, pictureShape, toPlanes } from "./picture-layout.ts";
import type { HostTensor, HostTensors } from "./runtime.ts";

/** What each version in a worker may keep from one batch to the next. */
const SPARE_BYTES_MAX = 16 * 1024 ** 2;

/** One outcome for each picture, in their order. */
export type PictureBatch<T> = (images: readonly Uint8Array[]) => Promise<readonly Outcome<T>[]>;

export interface PictureBatchOptions<T> {
  readonly signature: Signature;
  readonly picture: PictureSpec | null;
  /** Width × height above which a picture is refused from its header. */
  readonly maxPixels: number;
  /** Runs the model on so many pictures; one result for each. */
  readonly run: (inputs: HostTensors, rows: number) => Promise<readonly T[]>;
}

/** @throws Error when pictures do not fit the model's input */
export async function createPictureBatch<T>(options: PictureBatchOptions<T>): Promise<PictureBatch<T>> {
  const { signature, picture, maxPixels, run } = options;
  const [input] = signature.inputs;
  if (!picture || !input) throw new Error("a picture task needs a picture size and an input");
  const layout = pictureLayout(input, picture);
  if (!layout) throw new Error(`pictures do not fit the input ${input.name}`);
  // Imported with the first picture model: it takes 100 ms that other workers need not spend.
  const { decodePicture } = await import("./picture.ts");
  const size = picture.height * picture.width * CHANNELS;

  /** What the model says of pictures that lie one after the other in `pixels`. */
  const infer = async (pixels: Float32Array): Promise<readonly T[]> => {
    const rows = pixels.length / size;
    const values = layout === "channels-last" ? pixels : toPlanes(pixels, picture);
    const tensor: HostTensor = {
      dtype: input.dtype,
      shape: pictureShape(layout, rows, picture),
      data: ofType(input.dtype, values),
    };
    return run({ [input.name]: tensor }, rows);
  };

  /**
   * Of the batch before, if no other is at work with them: for eight pictures of a MobileNet 5 MB, which need not be found
   * and cleared for each.
   */
  let spare = new Float32Array();

  return async (images) => {
    const outcomes = new Map<number, Outcome<T>>();
    const decode = (image: Uint8Array): Promise<Buffer> => decodePicture(image, picture, maxPixels);
    const pixels = spare.length >= images.length * size ? spare : new Float32Array(images.length * size);
    spare = new Float32Array();
    for await (const group of asDecoded(images, decode, picture, pixels)) {
      for (const { item, error } of group.faults) outcomes.set(item, { ok: false, error });
      const results = await inferAll(infer, group.pixels, size, signature.joinable);
      for (const [i, item] of group.items.entries()) outcomes.set(item, results[i] ?? LEFT_OUT);
    }
    if (pixels.byteLength <= SPARE_BYTES_MAX) spare = pixels;
    return images.map((_, item) => outcomes.get(item) ?? LEFT_OUT);
  };
}

function ofType(dtype: Dtype, values: Float32Array): HostTensor["data"] {
  if (dtype === "float32") return values;
  return dtype === "uint8" ? Uint8Array.from(values, Math.round) : Int32Array.from(values, Math.round);
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
 * Decodes all pictures at once, on libvips's threads, into `pixels`, and yields what is there whenever it is asked: while a model
 * blocks this thread with the first ones, the others are decoded. Each picture is yielded once.
 */
async function* asDecoded(
  images: readonly Uint8Array[],
  decode: (image: Uint8Array) => Promise<Buffer>,
  spec: PictureSpec,
  pixels: Float32Array,
): AsyncGenerator<Group> {
  const size = spec.height * spec.width * CHANNELS;
  let decoded: number[] = [];
  let faults: Fault[] = [];
  let wake = (): void => undefined;
  let filled = 0;
  for (const [item, image] of images.entries()) {
    decode(image)
      .then((bytes) => {
        toRange(bytes, spec.range, pixels.subarray(filled * size, (filled + 1) * size));
        filled += 1;
        decoded.push(item);
      })
      .catch((error: unknown) => void faults.push({ item, error: toWire(error) }))
      .finally(() => wake());
  }
  for (let left = images.length; left > 0; ) {
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
async function inferAll<T>(
  infer: (pixels: Float32Array) => Promise<readonly T[]>,
  pixels: Float32Array,
  size: number,
  joinable: boolean,
): Promise<Outcome<T>[]> {
  const count = pixels.length / size;
  if (count === 0) return [];
  if (joinable && count > 1) {
    const together = await infer(pixels).catch(() => undefined);
    if (together) return together.map((value) => ({ ok: true, value }));
  }
  const outcomes: Outcome<T>[] = [];
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
