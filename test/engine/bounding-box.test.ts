import { describe, expect, test } from "vitest";
import type { PictureSpec } from "../../src/domain/model.ts";
import { type Box, overlap, suppress, toPixels } from "../../src/engine/worker/bounding-box.ts";

const box = (minX: number, minY: number, maxX: number, maxY: number): Box => ({ minX, minY, maxX, maxY });

describe("toPixels", () => {
  const picture = (resize: PictureSpec["resize"]): PictureSpec => ({
    width: 200,
    height: 200,
    range: [0, 1],
    resize,
  });

  test("stretched: parts of the model's picture are parts of the original", () => {
    const original = { width: 800, height: 600 };
    const numbers = [0.25, 0.5, 0.75, 1];
    expect(toPixels(numbers, "yxyx", picture("stretch"), original)).toEqual(box(400, 150, 800, 450));
    expect(toPixels(numbers, "xyxy", picture("stretch"), original)).toEqual(box(200, 300, 600, 600));
  });

  test("cut off at the original's edges", () => {
    const original = { width: 800, height: 600 };
    expect(toPixels([-0.1, -2, 1.1, 1.5], "yxyx", picture("stretch"), original)).toEqual(box(0, 0, 800, 600));
    expect(toPixels([1.1, 0.5, 1.2, 0.6], "yxyx", picture("stretch"), original)).toEqual(
      box(400, 600, 480, 600),
    );
  });

  // 800 × 400 becomes 200 × 100, with 50 pixels of border above and below.
  test.each([
    [[0.25, 0, 0.75, 1], box(0, 0, 800, 400)],
    [[0.5, 0.5, 0.625, 0.75], box(400, 200, 600, 300)],
    [[0, 0, 0.3125, 0.25], box(0, 0, 200, 50)],
    [[0, 0, 0.2, 1], box(0, 0, 800, 0)],
  ])("contained: %j lies in a bordered picture", (numbers, expected) => {
    expect(toPixels(numbers, "yxyx", picture("contain"), { width: 800, height: 400 })).toEqual(expected);
  });

  // 800 × 400 becomes 400 × 200, of which the middle 200 are seen: the original's columns 200 to 600.
  test.each([
    [[0, 0, 1, 1], box(200, 0, 600, 400)],
    [[0.5, 0.25, 0.75, 0.5], box(300, 200, 400, 300)],
  ])("covering: %j lies in a picture that was cut off", (numbers, expected) => {
    expect(toPixels(numbers, "yxyx", picture("cover"), { width: 800, height: 400 })).toEqual(expected);
  });
});

describe("overlap", () => {
  test.each([
    ["the same", box(1, 2, 5, 9), box(1, 2, 5, 9), 1],
    ["half of each", box(0, 0, 10, 10), box(5, 0, 15, 10), 50 / 150],
    ["a corner", box(0, 0, 10, 10), box(8, 6, 18, 16), 8 / 192],
    ["one in the other", box(0, 0, 10, 10), box(2, 2, 7, 7), 25 / 100],
    ["touching", box(0, 0, 10, 10), box(10, 0, 20, 10), 0],
    ["apart in both directions", box(0, 0, 10, 10), box(20, 20, 30, 30), 0],
    ["without area", box(3, 3, 3, 9), box(3, 3, 3, 9), 0],
  ])("%s", (_, a, b, expected) => {
    expect(overlap(a, b)).toBeCloseTo(expected, 12);
    expect(overlap(b, a)).toBeCloseTo(expected, 12);
  });
});

describe("suppress", () => {
  const wide = box(0, 0, 10, 10);
  const shifted = box(5, 0, 15, 10);
  const farther = box(10, 0, 20, 10);

  test("drops what overlaps by more than the threshold, and not what overlaps by just that", () => {
    expect(suppress([wide, shifted], 1 / 3 - 1e-9, 9)).toEqual([0]);
    expect(suppress([wide, shifted], 1 / 3, 9)).toEqual([0, 1]);
  });

  test("compares with what is kept: a dropped box drops no other", () => {
    expect(suppress([wide, shifted, farther], 0.2, 9)).toEqual([0, 2]);
    expect(suppress([shifted, wide, farther], 0.2, 9)).toEqual([0]);
  });

  test("at 0 keeps what only touches, at 1 keeps all", () => {
    expect(suppress([wide, farther, shifted], 0, 9)).toEqual([0, 1]);
    expect(suppress([wide, wide, wide], 1, 9)).toEqual([0, 1, 2]);
  });

  test("keeps at most so many", () => {
    const apart = Array.from({ length: 5 }, (_, i) => box(i * 10, 0, i * 10 + 5, 5));
    expect(suppress(apart, 0.5, 3)).toEqual([0, 1, 2]);
    expect(suppress([], 0.5, 3)).toEqual([]);
  });
});
