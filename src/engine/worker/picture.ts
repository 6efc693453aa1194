/**
 * Pictures in: bytes of a JPEG, PNG, WebP or GIF to the numbers that a model takes. Bytes are hostile until shown
 * otherwise: all other decoders are blocked, the size is taken from the header before anything is decoded, and a
 * picture that is cut off or damaged is refused instead of shown half.
 */
import sharp, { type Metadata, type Sharp, type SharpOptions } from "sharp";
import { AuspexError } from "../../domain/error.ts";
import type { PictureSpec } from "../../domain/model.ts";
import type { PictureInfo } from "../engine.ts";
import type { Size } from "./bounding-box.ts";
import { isSrgbJpeg } from "./colour-profile.ts";
import { CHANNELS } from "./picture-layout.ts";

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  jpeg: "image/jpeg",
  png: "image/png",
  webp: "image/webp",
  gif: "image/gif",
};

sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({
  operation: [
    "VipsForeignLoadJpegBuffer",
    "VipsForeignLoadPngBuffer",
    "VipsForeignLoadWebpBuffer",
    "VipsForeignLoadNsgifBuffer",
  ],
});
// Cores are shared out between processes, and no picture comes twice.
sharp.concurrency(1);
sharp.cache(false);

/** What shows through where a picture is transparent, as on a page. */
const BEHIND = "#ffffff";
/** What fills the rest where a picture is fitted into the model's size. */
const AROUND = "#000000";

/**
 * Decodes one picture: height × width × 3 bytes, rows first. Only the first frame of an animation,
 * upright by its EXIF orientation, in sRGB, transparency on white. A JPEG is decoded at an eighth, a quarter or half of
 * its size where that is not below the size wanted.
 *
 * It is one errand of libvips, done on a thread of its own even while a model blocks this one: the header is read
 * beforehand by libvips itself, and here only to say what was wrong.
 *
 * @throws AuspexError `invalid_argument` with a sentence
 */
export async function decodePicture(
  bytes: Uint8Array,
  spec: PictureSpec,
  maxPixels: number,
): Promise<Buffer> {
  const picture = (): Sharp =>
    sharp(bytes, { ...options(maxPixels), ignoreIcc: isSrgbJpeg(bytes) })
      .autoOrient()
      .resize(spec.width, spec.height, {
        fit: ({ stretch: "fill", cover: "cover", contain: "contain" } as const)[spec.resize],
        background: AROUND,
        // A triangle: bilinear, and with antialiasing when it shrinks, as the models were trained.
        kernel: "linear",
      })
      .flatten({ background: BEHIND });
  const pixels = await decoded(bytes, maxPixels, picture);
  const size = spec.height * spec.width * CHANNELS;
  if (pixels.length !== size) throw new Error(`sharp gave ${pixels.length} values for ${size}`);
  return pixels;
}

/** Pixels of a picture that can be decoded, from its header, upright by its EXIF orientation. */
export async function uprightSize(bytes: Uint8Array): Promise<Size> {
  const { width, height } = (await sharp(bytes, { limitInputPixels: false }).metadata()).autoOrient;
  return { width, height };
}

/** Reads the header and decodes all of it, small, so that what is said holds for the whole picture. */
export async function inspectPicture(bytes: Uint8Array, maxPixels: number): Promise<PictureInfo> {
  const { format, autoOrient } = await readHeader(bytes, maxPixels);
  await decoded(bytes, maxPixels, () =>
    sharp(bytes, options(maxPixels)).resize(8, 8, { fit: "fill" }).flatten(),
  );
  return { mediaType: MEDIA_TYPES[format] ?? "", width: autoOrient.width, height: autoOrient.height };
}

async function readHeader(bytes: Uint8Array, maxPixels: number): Promise<Metadata> {
  if (bytes.length === 0) throw refusal("is empty");
  let header: Metadata;
  try {
    header = await sharp(bytes, { limitInputPixels: false }).metadata();
  } catch (error) {
    throw refusal("is not a JPEG, PNG, WebP or GIF that can be read", error);
  }
  if (!(header.format in MEDIA_TYPES)) {
    throw refusal(`is ${header.format}; only JPEG, PNG, WebP and GIF are taken`);
  }
  const { width, height } = header;
  if (width * height > maxPixels) {
    throw refusal(`has ${width} × ${height} pixels; at most ${maxPixels} are allowed`);
  }
  return header;
}

function options(maxPixels: number): SharpOptions {
  return { limitInputPixels: maxPixels, failOn: "error", pages: 1, autoOrient: false };
}

async function decoded(bytes: Uint8Array, maxPixels: number, picture: () => Sharp): Promise<Buffer> {
  try {
    return await picture().toColourspace("srgb").raw({ depth: "uchar" }).toBuffer();
  } catch (error) {
    await readHeader(bytes, maxPixels);
    throw refusal("is damaged or cut off", error);
  }
}

function refusal(description: string, cause?: unknown): AuspexError {
  const message = `the picture ${description}`;
  const violations = [{ field: 'files["image"]', description: message, reason: "invalid_picture" }];
  return new AuspexError("invalid_argument", message, { violations, cause });
}
