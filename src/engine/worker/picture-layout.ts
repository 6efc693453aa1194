/** How a model takes pictures: its numbers pixel by pixel, as TensorFlow has them, or plane by plane, as PyTorch. */
import type { PictureSpec } from "../../domain/model.ts";
import type { TensorSpec } from "../signature.ts";

export const CHANNELS = 3;

/** `[rows, height, width, 3]` or `[rows, 3, height, width]`. */
export type PictureLayout = "channels-last" | "channels-first";

export function pictureShape(
  layout: PictureLayout,
  rows: number,
  { width, height }: PictureSpec,
): readonly number[] {
  return layout === "channels-last" ? [rows, height, width, CHANNELS] : [rows, CHANNELS, height, width];
}

/** @returns undefined when pictures of this size do not fit; where both ways would, channels are last */
export function pictureLayout({ shape, dtype }: TensorSpec, picture: PictureSpec): PictureLayout | undefined {
  if (dtype === "bool") return undefined;
  return (["channels-last", "channels-first"] as const).find((layout) => {
    const wanted = pictureShape(layout, 1, picture);
    return (
      shape.length === wanted.length && shape.every((size, axis) => size === null || size === wanted[axis])
    );
  });
}

/** @param pixels pictures one after the other, pixel by pixel. @returns them plane by plane */
export function toPlanes(pixels: Float32Array, { width, height }: PictureSpec): Float32Array {
  const plane = width * height;
  const planes = new Float32Array(pixels.length);
  for (let picture = 0; picture < pixels.length; picture += plane * CHANNELS) {
    for (let channel = 0; channel < CHANNELS; channel++) {
      const to = picture + channel * plane;
      for (let i = 0, from = picture + channel; i < plane; i++, from += CHANNELS)
        planes[to + i] = pixels[from] ?? 0;
    }
  }
  return planes;
}
