import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { isSrgbJpeg } from "../../src/engine/worker/colour-profile.ts";
import { uniform } from "../models/mlp.ts";
import { photo } from "./harness.ts";

/** The pixels of a picture, its colours converted by its profile or left as they are. */
function pixels(bytes: Uint8Array, ignoreIcc: boolean): Promise<Buffer> {
  return sharp(bytes, { ignoreIcc }).resize(64, 64, { fit: "fill" }).toColourspace("srgb").raw().toBuffer();
}

describe("isSrgbJpeg", () => {
  it("knows photographs in sRGB, whose pixels are then the same without the conversion", async () => {
    for (const name of ["zebra", "flamingo", "teapot"] as const) {
      const bytes = await photo(name);
      expect(isSrgbJpeg(bytes), name).toBe(true);
      expect(await pixels(bytes, true)).toEqual(await pixels(bytes, false));
    }
  });

  it("leaves others to the conversion, which changes them", async () => {
    // Adobe RGB, by its camera.
    const panda = await photo("panda");
    expect(isSrgbJpeg(panda)).toBe(false);
    expect(await pixels(panda, true)).not.toEqual(await pixels(panda, false));
    const wide = await sharp(await photo("zebra"))
      .withIccProfile("p3")
      .jpeg()
      .toBuffer();
    expect(isSrgbJpeg(wide)).toBe(false);
    expect(
      isSrgbJpeg(
        await sharp(await photo("zebra"))
          .withIccProfile("cmyk")
          .jpeg()
          .toBuffer(),
      ),
    ).toBe(false);
  });

  it("knows profiles of versions 2 and 4, and of none", async () => {
    const zebra = sharp(await photo("zebra"));
    expect(isSrgbJpeg(await zebra.clone().withIccProfile("srgb").jpeg().toBuffer())).toBe(true);
    expect(isSrgbJpeg(await zebra.clone().jpeg().toBuffer())).toBe(false);
    expect(isSrgbJpeg(await zebra.clone().withIccProfile("srgb").png().toBuffer())).toBe(false);
  });

  it("F23 reads hostile bytes without harm, wherever they end and whatever is flipped", async () => {
    const bytes = (await photo("zebra")).subarray(0, 32_768);
    for (let length = 0; length < bytes.length; length++) isSrgbJpeg(bytes.subarray(0, length));
    const random = uniform(23);
    for (let i = 0; i < 5000; i++) {
      const broken = Buffer.from(bytes);
      for (let flips = 0; flips < 8; flips++) {
        broken[Math.floor(random() * broken.length)] = Math.floor(random() * 256);
      }
      isSrgbJpeg(broken);
    }
    expect(isSrgbJpeg(bytes)).toBe(true);
    expect(isSrgbJpeg(Buffer.from(bytes).fill(0, 2))).toBe(false);
  });
});
