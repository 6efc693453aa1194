/** Bytes that are offered as pictures and are none that anybody should decode. */
import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { photograph } from "../harness.ts";

const picture = readFileSync(photograph("zebra"));

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  let crc = 0xffffffff;
  for (const byte of body) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeInt32BE(~crc, 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** A few hundred bytes that claim to be a picture of that size. */
function pngClaiming(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk("IHDR", header),
    pngChunk("IDAT", deflateSync(Buffer.alloc(1000))),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

export const POISON: Readonly<Record<string, () => Buffer | Promise<Buffer>>> = {
  "a PNG of 30,000 × 30,000 pixels": () => pngClaiming(30_000, 30_000),
  "a truncated JPEG": () => picture.subarray(0, picture.length >> 1),
  "an SVG": () =>
    Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    ),
  "an SVG that includes a file": () =>
    Buffer.from(
      '<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>',
    ),
  "a TIFF": () => sharp(picture).resize(32).tiff().toBuffer(),
  "an AVIF": () => sharp(picture).resize(32).avif().toBuffer(),
  "a web page behind a JPEG's first bytes": () =>
    Buffer.concat([picture.subarray(0, 3), Buffer.from("<html></html>")]),
  nothing: () => Buffer.alloc(0),
};
