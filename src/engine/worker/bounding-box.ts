/** Boxes in pictures: where a detector's box lies in the original picture, and which of many say something new. */
import type { DetectionSpec, PictureSpec } from "../../domain/model.ts";

/** Edges in pixels, not rounded; the origin is the top left corner. */
export interface Box {
  readonly minX: number;
  readonly minY: number;
  readonly maxX: number;
  readonly maxY: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * From a box in parts of the model's picture to one in pixels of the original, which was resized to it as `picture`
 * says; cut off at the original's edges.
 *
 * @param numbers four, in the order of `form`
 */
export function toPixels(
  numbers: ArrayLike<number>,
  form: DetectionSpec["boxForm"],
  picture: PictureSpec,
  original: Size,
): Box {
  const [a = 0, b = 0, c = 0, d = 0] = Array.from(numbers);
  const [minX, minY, maxX, maxY] = form === "yxyx" ? [b, a, d, c] : [a, b, c, d];
  const x = axis(picture.width, original.width, scale(picture, original, "width"));
  const y = axis(picture.height, original.height, scale(picture, original, "height"));
  return { minX: x(minX), minY: y(minY), maxX: x(maxX), maxY: y(maxY) };
}

/** Pixels of the model's picture for each of the original's. */
function scale(picture: PictureSpec, original: Size, side: keyof Size): number {
  const horizontal = picture.width / original.width;
  const vertical = picture.height / original.height;
  switch (picture.resize) {
    case "stretch":
      return side === "width" ? horizontal : vertical;
    case "contain":
      return Math.min(horizontal, vertical);
    case "cover":
      return Math.max(horizontal, vertical);
    default:
      return picture.resize satisfies never;
  }
}

/** The original lies in the middle of the model's picture, with a border around it or cut off on both sides. */
function axis(side: number, original: number, factor: number): (part: number) => number {
  const before = (side - original * factor) / 2;
  return (part) => Math.min(Math.max((part * side - before) / factor, 0), original);
}

/** Intersection over union of two boxes, 0…1. */
export function overlap(a: Box, b: Box): number {
  const width = Math.min(a.maxX, b.maxX) - Math.max(a.minX, b.minX);
  const height = Math.min(a.maxY, b.maxY) - Math.max(a.minY, b.minY);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / (area(a) + area(b) - shared);
}

function area({ minX, minY, maxX, maxY }: Box): number {
  return (maxX - minX) * (maxY - minY);
}

/**
 * Non-maximum suppression: of boxes in descending order of score, those that do not overlap by more than `threshold`
 * with one that is kept.
 *
 * @returns their indices, at most `max`
 */
export function suppress(boxes: readonly Box[], threshold: number, max: number): number[] {
  const kept: { readonly index: number; readonly box: Box }[] = [];
  for (const [index, box] of boxes.entries()) {
    if (kept.length >= max) break;
    if (kept.every((other) => overlap(other.box, box) <= threshold)) kept.push({ index, box });
  }
  return kept.map(({ index }) => index);
}
