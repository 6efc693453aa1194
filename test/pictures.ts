/** Pictures that are drawn, not stored: one shape each, in a colour of its own, somewhere on noise. And zips of them. */
import { buffer } from "node:stream/consumers";
import sharp from "sharp";
import { ZipFile } from "yazl";

export const SHAPES = ["circle", "square", "triangle", "cross", "ring"] as const;
export type Shape = (typeof SHAPES)[number];

export interface DrawOptions {
  /** Width and height in pixels. */
  readonly size?: number;
  readonly format?: "jpeg" | "png" | "webp";
}

/** The same shape and seed draw the same bytes. */
export async function drawPicture(
  shape: Shape,
  seed: number,
  { size = 96, format = "jpeg" }: DrawOptions = {},
): Promise<Buffer<ArrayBuffer>> {
  const random = randomFrom(seed * SHAPES.length + SHAPES.indexOf(shape));
  const noise = Buffer.from(Uint8Array.from({ length: size * size * 3 }, () => 90 + random() * 76));
  const colour = `hsl(${Math.floor(random() * 360)} 85% ${random() < 0.5 ? 25 : 75}%)`;
  const radius = size * (0.22 + random() * 0.13);
  const centre = () => radius + random() * (size - 2 * radius);
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}"><g ` +
    `transform="translate(${centre()} ${centre()}) rotate(${random() * 20 - 10}) scale(${radius})" fill="${colour}">` +
    `${OUTLINES[shape]}</g></svg>`;
  const picture = sharp(noise, { raw: { width: size, height: size, channels: 3 } }).composite([
    { input: Buffer.from(svg) },
  ]);
  return Buffer.from(await picture.toFormat(format).toBuffer());
}

/** Within a circle of radius 1 around the origin. */
const OUTLINES: Readonly<Record<Shape, string>> = {
  circle: `<circle r="1"/>`,
  square: `<rect x="-0.8" y="-0.8" width="1.6" height="1.6"/>`,
  triangle: `<polygon points="0,-1 0.9,0.7 -0.9,0.7"/>`,
  cross: `<path d="M-0.3-1h0.6v0.7h0.7v0.6h-0.7v0.7h-0.6v-0.7h-0.7v-0.6h0.7z"/>`,
  ring: `<path fill-rule="evenodd" d="M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0M-0.6 0a0.6 0.6 0 1 0 1.2 0a0.6 0.6 0 1 0-1.2 0"/>`,
};

/** Numbers from 0 to 1 (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed * 0x9e3779b9;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A zip with these files, in this order, e.g. `{ "circle/1.jpg": bytes }`; a name that ends with `/` is a folder. */
export async function zipOf(files: Readonly<Record<string, Uint8Array>>): Promise<Buffer<ArrayBuffer>> {
  const zip = new ZipFile();
  for (const [name, bytes] of Object.entries(files)) {
    if (name.endsWith("/")) zip.addEmptyDirectory(name);
    else zip.addBuffer(Buffer.from(bytes), name);
  }
  zip.end();
  return Buffer.from(await buffer(zip.outputStream));
}

/** A zip of `count` drawn pictures for each of the shapes: `circle/circle-1.jpg`, … Other seeds are other pictures. */
export async function zipOfShapes(
  shapes: readonly Shape[],
  count: number,
  { firstSeed = 1, ...options }: DrawOptions & { readonly firstSeed?: number } = {},
): Promise<Buffer<ArrayBuffer>> {
  const files: Record<string, Uint8Array> = {};
  for (const shape of shapes) {
    for (let index = 1; index <= count; index++) {
      files[`${shape}/${shape}-${index}.jpg`] = await drawPicture(shape, firstSeed + index - 1, options);
    }
  }
  return zipOf(files);
}
