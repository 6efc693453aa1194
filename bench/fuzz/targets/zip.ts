/** Zips of pictures: `openLabelledZip`. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { AuspexError } from "../../../src/domain/error.ts";
import { openLabelledZip } from "../../../src/services/zip.ts";
import { rawZip, zip64Claiming } from "../../../test/raw-zip.ts";
import { holds, unlessRejected } from "../target.ts";

export const claim =
  "A zip is refused with `Invalid zip: …`, or gives as many files as it said, each within the limits, and their bytes within its own.";

const LIMITS = { entries: 50, unpackedBytes: 1_000_000, ratio: 200, fileBytes: 100_000 } as const;
const folder = mkdtempSync(join(tmpdir(), "auspex-fuzz-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "x.zip");

const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError && error.code === "invalid_argument" && /^Invalid zip: ./.test(error.message);

export async function fuzz(data: Buffer): Promise<void> {
  writeFileSync(path, data);
  const zip = await unlessRejected(isRefusal, () => openLabelledZip(path, LIMITS));
  if (!zip) return;
  try {
    let count = 0;
    let unpacked = 0;
    for await (const file of zip.files()) {
      count++;
      if (file.kind === "skipped") {
        holds(file.reason !== "", "a file is skipped for a reason");
        continue;
      }
      unpacked += file.bytes.length;
      holds(file.bytes.length <= LIMITS.fileBytes, "a file is longer than is allowed");
      holds(zip.labels.has(file.label), "a file has a label that the zip has not");
      holds(!/[\\/]|^\.\.?$/.test(file.name), "a file's name leads elsewhere");
    }
    holds(count === zip.fileCount, "there are as many files as was said");
    holds(unpacked <= LIMITS.unpackedBytes, "the files together are longer than is allowed");
  } finally {
    await zip.close();
  }
}

export function seeds(): readonly Uint8Array[] {
  const data = Buffer.from("picture");
  return [
    rawZip([{ name: "cats/a.jpg", data }]),
    rawZip([
      { name: "all/cats/a.jpg", data, method: 0 },
      { name: "all/dogs/b.jpg", data },
      { name: "all/dogs/deep/c.jpg", data },
      { name: "__MACOSX/x", data },
    ]),
    rawZip([{ name: "cats/a.jpg", data, flags: 1, mode: 0o120777 }]),
    rawZip([{ name: "cats/a.jpg", packed: deflateRawSync(Buffer.alloc(5000)), size: 5000, crc: 0 }]),
    zip64Claiming(2n),
  ];
}

export const words = [
  "PK\x01\x02",
  "PK\x03\x04",
  "PK\x05\x06",
  "PK\x06\x06",
  "PK\x06\x07",
  "../",
  "cats/",
  "\xff\xff\xff\xff",
];
