/** Colour profiles in JPEGs: `isSrgbJpeg`. */
import { isSrgbJpeg } from "../../../src/engine/worker/colour-profile.ts";
import { holds } from "../target.ts";

export const claim = "Whatever the bytes are, they say sRGB or not, alone or with other bytes around them.";

export function fuzz(data: Buffer): void {
  const alone = isSrgbJpeg(data);
  const around = Buffer.concat([Buffer.alloc(7, 0xff), data, Buffer.alloc(64, 0x41)]);
  // A view: what lies beside it is not read.
  holds(isSrgbJpeg(around.subarray(7, 7 + data.length)) === alone, "bytes outside are read");
}

export function seeds(): readonly Uint8Array[] {
  const profile = Buffer.alloc(132 + 12 + 40);
  profile.write("RGB ", 16, "latin1");
  profile.writeUInt32BE(1, 128);
  profile.write("desc", 132, "latin1");
  profile.writeUInt32BE(144, 136);
  profile.writeUInt32BE(40, 140);
  profile.write("desc", 144, "latin1");
  profile.writeUInt32BE(5, 152);
  profile.write("sRGB\0", 156, "latin1");
  const wide = Buffer.from(profile);
  wide.write("mluc", 144, "latin1");
  wide.writeUInt32BE(8, 164);
  wide.writeUInt32BE(28, 168);
  wide.write("\0s\0R\0G\0B", 172, "latin1");
  return [profile, wide].map((icc) => {
    const segment = Buffer.concat([Buffer.from("ICC_PROFILE\0\x01\x01", "latin1"), icc]);
    const head = Buffer.from([0xff, 0xd8, 0xff, 0xe2, 0, 0]);
    head.writeUInt16BE(segment.length + 2, 4);
    return Buffer.concat([head, segment, Buffer.from([0xff, 0xda])]);
  });
}

export const words = ["\xff\xd8", "\xff\xe2", "\xff\xda", "ICC_PROFILE\x00", "desc", "mluc", "RGB ", "sRGB"];
