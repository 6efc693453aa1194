/**
 * Zips from outside, read by random access and never unpacked to a folder: the whole directory is judged before the
 * first file is read, and a file is inflated into memory, up to a limit that its own header has no say in.
 */
import { type FileHandle, open } from "node:fs/promises";
import { promisify } from "node:util";
import { crc32, inflateRaw } from "node:zlib";
import yauzl from "yauzl";
import { AuspexError } from "../domain/error.ts";
import { invalidZip, layOut } from "./zip-layout.ts";
import { ZipReader } from "./zip-reader.ts";

export interface ZipLimits {
  /** Files and folders. */
  readonly entries: number;
  /** Bytes of all files together, unpacked. */
  readonly unpackedBytes: number;
  /** Unpacked to packed size of one file. */
  readonly ratio: number;
  /** Bytes of one file, unpacked; a larger one is skipped. */
  readonly fileBytes: number;
}

interface Named {
  /** As it is told: its name in the zip, cut where that is long. */
  readonly path: string;
}

export type ZipFile = Named &
  (
    | { readonly kind: "example"; readonly label: string; readonly name: string; readonly bytes: Uint8Array }
    | { readonly kind: "skipped"; readonly reason: string }
  );

export interface LabelledZip {
  readonly labels: ReadonlySet<string>;
  /** How many `files` there will be. */
  readonly fileCount: number;
  /** One after the other, in the zip's order, each read when it is asked for. */
  files(): AsyncIterable<ZipFile>;
  close(): Promise<void>;
}

/** A smaller file is no bomb, however little it was packed into. */
const RATIO_FROM_BYTES = 1024 ** 2;
/** Longer than any folder and file name that could be used here. */
const PATH_LENGTH_MAX = 1024;
/** Far more folders than a label and what may wrap it. */
const PATH_DEPTH_MAX = 16;
/** Deflated data is never longer than this beyond what is deflated, up to files of 100 MB. */
const DEFLATE_OVERHEAD = 32 * 1024;
/** What a file's name is cut to where it is named. */
const SHOWN_PATH_LENGTH_MAX = 200;

/**
 * Honest files share no bytes, so that what a zip costs is in proportion to its size. Twice, for a file whose size is
 * wrong is skipped by itself.
 */
const SHARING_MAX = 2;

const COMPLAINT_LENGTH_MAX = 300;

const STORED = 0;
/** File types of Unix, in the upper half of an entry's attributes; 0 where they were not written. */
const TYPE_MASK = 0o170000;
const PLAIN_TYPES = [0, 0o100000, 0o040000];

const inflate = promisify<Buffer, { maxOutputLength: number }, Buffer>(inflateRaw);

/** What is needed of an entry to read it: a hundred thousand of yauzl's own would take a hundred megabytes. */
interface Entry {
  readonly path: string;
  readonly offset: number;
  readonly method: number;
  readonly packed: number;
  readonly unpacked: number;
  readonly crc: number;
}

/** Rejects with `invalid_argument` and a message that begins with `Invalid zip: ` for one that must not be read. */
export async function openLabelledZip(path: string, limits: ZipLimits): Promise<LabelledZip> {
  const handle = await open(path, "r");
  try {
    const { size } = await handle.stat();
    const options = { autoClose: false, strictFileNames: true };
    const reader = new ZipReader(handle, size);
    const zip = await readable(yauzl.fromRandomAccessReaderPromise(reader, size, options));
    const entries = await readDirectory(zip, limits);
    const places = layOut(entries.map((entry) => entry.path));
    const placed = entries.flatMap((entry, index) => {
      const place = places[index];
      return !place || place.kind === "passed_over" ? [] : [{ entry, place }];
    });
    return {
      labels: new Set(placed.flatMap(({ place }) => (place.kind === "example" ? [place.label] : []))),
      fileCount: placed.length,
      async *files(): AsyncGenerator<ZipFile> {
        for (const { entry, place } of placed) {
          if (place.kind === "misplaced") {
            yield skipped(entry, place.reason);
          } else if (entry.unpacked > limits.fileBytes) {
            yield skipped(entry, `has ${entry.unpacked} bytes; at most ${limits.fileBytes} are allowed`);
          } else {
            const bytes = await readEntry(zip, handle, entry);
            yield bytes
              ? { ...place, path: shown(entry.path), bytes }
              : skipped(entry, "is damaged in the zip");
          }
        }
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function skipped({ path }: Entry, reason: string): ZipFile {
  return { kind: "skipped", path: shown(path), reason };
}

function shown(path: string): string {
  return path.length > SHOWN_PATH_LENGTH_MAX ? `${path.slice(0, SHOWN_PATH_LENGTH_MAX)}…` : path;
}

/** Whatever the reader complains of is the zip's fault, unless the disk failed. */
async function readable<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof AuspexError || !(error instanceof Error) || "errno" in error) throw error;
    // It may hold a name of any length.
    throw invalidZip(error.message.slice(0, COMPLAINT_LENGTH_MAX), error);
  }
}

async function readDirectory(zip: yauzl.ZipFile, limits: ZipLimits): Promise<readonly Entry[]> {
  if (zip.entryCount > limits.entries) {
    throw invalidZip(`it has ${zip.entryCount} entries; at most ${limits.entries} are allowed`);
  }
  const entries: Entry[] = [];
  const paths = new Set<string>();
  let total = 0;
  let packed = 0;
  const directory = zip.eachEntry();
  for (let next = await readable(directory.next()); !next.done; next = await readable(directory.next())) {
    const entry = next.value;
    checkEntry(entry, limits);
    if (paths.has(entry.fileName)) throw invalidZip(`${named(entry)} is in it twice`);
    paths.add(entry.fileName);
    total += entry.uncompressedSize;
    if (total > limits.unpackedBytes) {
      throw invalidZip(`unpacked it has more than the ${limits.unpackedBytes} bytes that are allowed`);
    }
    packed += entry.compressedSize;
    if (packed > SHARING_MAX * zip.fileSize) {
      throw invalidZip(`its files share their bytes: ${packed} of them are said to be in ${zip.fileSize}`);
    }
    entries.push({
      path: entry.fileName,
      offset: entry.relativeOffsetOfLocalHeader,
      method: entry.compressionMethod,
      packed: entry.compressedSize,
      unpacked: entry.uncompressedSize,
      crc: entry.crc32,
    });
  }
  return entries;
}

function named({ fileName }: yauzl.Entry): string {
  return JSON.stringify(shown(fileName));
}

/** The reader itself refuses absolute names, `..` and backslashes. */
function checkEntry(entry: yauzl.Entry, limits: ZipLimits): void {
  const { fileName, compressedSize, uncompressedSize } = entry;
  if (fileName.length > PATH_LENGTH_MAX || fileName.split("/").length > PATH_DEPTH_MAX) {
    throw invalidZip(
      `a name in it has more than ${PATH_LENGTH_MAX} characters or ${PATH_DEPTH_MAX} folders: ${named(entry)}`,
    );
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\x00-\x1f\x7f]/.test(fileName)) throw invalidZip(`the name ${named(entry)} has a control character`);
  if (!PLAIN_TYPES.includes((entry.externalFileAttributes >>> 16) & TYPE_MASK)) {
    throw invalidZip(`${named(entry)} is a link or a special file`);
  }
  if (entry.isEncrypted()) throw invalidZip(`${named(entry)} is encrypted`);
  if (!entry.canDecodeFileData()) {
    throw invalidZip(
      `${named(entry)} is packed by method ${entry.compressionMethod}, which is not supported`,
    );
  }
  if (uncompressedSize > RATIO_FROM_BYTES && uncompressedSize > limits.ratio * compressedSize) {
    throw invalidZip(
      `${named(entry)} unpacks to more than ${limits.ratio} times its size, from ${compressedSize} to ${uncompressedSize} bytes`,
    );
  }
}

/** Undefined when what is there is not what the directory says. */
async function readEntry(
  zip: yauzl.ZipFile,
  handle: FileHandle,
  entry: Entry,
): Promise<Uint8Array | undefined> {
  if (entry.packed > entry.unpacked + DEFLATE_OVERHEAD) return undefined;
  const packed = Buffer.allocUnsafe(entry.packed);
  if (!(await readFully(handle, packed, await dataOffset(zip, entry)))) return undefined;
  const bytes = entry.method === STORED ? packed : await inflated(packed, entry.unpacked);
  return bytes?.length === entry.unpacked && crc32(bytes) === entry.crc ? bytes : undefined;
}

/** After the file's own header; undefined when there is none, or its data would end after the zip. */
async function dataOffset(zip: yauzl.ZipFile, { offset, packed }: Entry): Promise<number | undefined> {
  const entry = Object.assign(new yauzl.Entry(), {
    relativeOffsetOfLocalHeader: offset,
    compressedSize: packed,
  });
  try {
    return (await readable(zip.readLocalFileHeaderPromise(entry, { minimal: true }))).fileDataStart;
  } catch (error) {
    if (error instanceof AuspexError) return undefined;
    throw error;
  }
}

async function readFully(handle: FileHandle, into: Buffer, from: number | undefined): Promise<boolean> {
  if (from === undefined) return false;
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await handle.read(into, done, into.length - done, from + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}

/** Inflation stops at the length that was announced; one that goes on has lied. */
async function inflated(packed: Buffer, length: number): Promise<Buffer | undefined> {
  try {
    return await inflate(packed, { maxOutputLength: Math.max(length, 1) });
  } catch {
    return undefined;
  }
}
