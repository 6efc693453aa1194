/** Zips made byte by byte (PKWARE's APPNOTE.TXT 6.3.3), so that their headers can say what no tool would write. */
import { crc32, deflateRawSync } from "node:zlib";

export interface RawEntry {
  readonly name: string | Buffer;
  readonly data?: Uint8Array;
  /** Packed bytes instead of the data's own. */
  readonly packed?: Uint8Array;
  /** 0 stored, 8 deflated (the default). */
  readonly method?: number;
  /** Bit 0 encrypted, bit 11 UTF-8. */
  readonly flags?: number;
  /** The file's mode of Unix, e.g. 0o120777 for a link. */
  readonly mode?: number;
  /** What the headers say instead of the truth. */
  readonly size?: number;
  readonly packedSize?: number;
  readonly crc?: number;
  /** Where the directory says that the file is, instead of the truth. */
  readonly offset?: number;
}

interface RawZipOptions {
  /** What the end says of the number of entries (up to 65,535) instead of the truth. */
  readonly count?: number;
}

export function rawZip(entries: readonly RawEntry[], options: RawZipOptions = {}): Buffer<ArrayBuffer> {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const data = entry.data ?? Buffer.alloc(0);
    const method = entry.method ?? 8;
    const packed = Buffer.from(entry.packed ?? (method === 8 ? deflateRawSync(data) : data));
    // From "version needed" to "extra field length": the same in both headers.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(entry.flags ?? 0x800, 2);
    common.writeUInt16LE(method, 4);
    common.writeUInt16LE(33, 8);
    common.writeUInt32LE(entry.crc ?? crc32(data), 10);
    common.writeUInt32LE(entry.packedSize ?? packed.length, 14);
    common.writeUInt32LE(entry.size ?? data.length, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common, name, packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 6);
    tail.writeUInt32LE(entry.offset ?? offset, 10);
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02\x14\x03", "latin1"), common, tail, name]));
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(options.count ?? entries.length, 4);
  end.writeUInt16LE(options.count ?? entries.length, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...parts, central, Buffer.from("PK\x05\x06", "latin1"), end]);
}

interface Zip64Claims {
  /** Where the zip64 record and the directory are said to be; default: at the beginning. */
  readonly record?: bigint;
  readonly directory?: bigint;
}

/** An end that says, by its zip64 form, that there are so many entries. */
export function zip64Claiming(count: bigint, claims: Zip64Claims = {}): Buffer<ArrayBuffer> {
  const record = Buffer.alloc(56);
  record.write("PK\x06\x06", 0, "latin1");
  record.writeBigUInt64LE(44n, 4);
  record.writeBigUInt64LE(count, 24);
  record.writeBigUInt64LE(count, 32);
  record.writeBigUInt64LE(claims.directory ?? 0n, 48);
  const locator = Buffer.alloc(20);
  locator.write("PK\x06\x07", 0, "latin1");
  locator.writeBigUInt64LE(claims.record ?? 0n, 8);
  locator.writeUInt32LE(1, 16);
  const end = Buffer.alloc(22, 0xff);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt32LE(0, 4);
  end.writeUInt16LE(0, 20);
  return Buffer.concat([record, locator, end]);
}
