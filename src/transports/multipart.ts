/**
 * Bodies of type multipart/form-data, as clients really send them: quoted boundaries behind other
 * parameters, an epilogue, file names on text fields, blanks around values. The body is in memory already, capped.
 */
import { setImmediate } from "node:timers/promises";
import { Busboy, type BusboyInstance } from "@fastify/busboy";

export interface Part {
  readonly name: string;
  /** As sent; "" for none. */
  readonly fileName: string;
  /** Lower case without parameters; `text/plain` also where the part does not say. */
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** Parts of one body unless a call takes more: the longest documented one has eight. */
export const PARTS_MAX = 32;
/** Of one part; three are in use. */
const PART_HEADER_PAIRS_MAX = 32;
/** Bytes of one part's headers; a file name and a label's name of 180 characters each take about 1 KB. */
const PART_HEADERS_MAX = 8192;
/** Characters of the request's Content-Type: a boundary has at most 70 (RFC 2046 §5.1.1). */
const CONTENT_TYPE_MAX = 512;
/** Bytes that are looked at before others have their turn: at worst a thousand parts, some milliseconds. */
const STEP = 64 * 1024;

/** What is wrong with a body, for each dialect to say in its own words. */
export class BadForm extends Error {
  override readonly name = "BadForm";
  /** 400 for what is no such body, 413 for too many parts. */
  readonly status: 400 | 413;
  constructor(status: 400 | 413, message: string) {
    super(message);
    this.status = status;
  }
}

const malformed = () =>
  new BadForm(400, "The body is not multipart/form-data with the boundary that the Content-Type names");

/** Rejects with `BadForm`. */
export async function readMultipart(
  contentType: string,
  body: Buffer,
  partsMax: number = PARTS_MAX,
): Promise<readonly Part[]> {
  const parts: Part[] = [];
  const busboy = openParser(contentType, partsMax);
  let tooMany = false;
  const ended = Promise.withResolvers<void>();
  busboy.on("file", (name, stream, fileName, _encoding, mediaType) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () =>
      parts.push({
        name: name ?? "",
        fileName: fileName ?? "",
        mediaType: mediaType.trim(),
        bytes: Buffer.concat(chunks),
      }),
    );
    stream.on("error", ended.reject);
  });
  busboy.on("partsLimit", () => {
    tooMany = true;
    ended.resolve();
  });
  busboy.on("finish", ended.resolve);
  busboy.on("error", ended.reject);
  try {
    await Promise.race([ended.promise, feed(busboy, body)]);
    if (!tooMany) await ended.promise;
  } catch {
    throw malformed();
  }
  // What is left of such a body is not looked at.
  if (tooMany) throw new BadForm(413, `The body has more than ${partsMax} parts`);
  return parts;
}

function openParser(contentType: string, partsMax: number): BusboyInstance {
  if (contentType.length > CONTENT_TYPE_MAX) throw malformed();
  try {
    return new Busboy({
      headers: { "content-type": contentType },
      // Every part stays bytes: which one is a file goes by its name, whether or not it has a file's.
      isPartAFile: () => true,
      limits: { parts: partsMax, headerSize: PART_HEADERS_MAX, headerPairs: PART_HEADER_PAIRS_MAX },
    });
  } catch {
    throw malformed();
  }
}

async function feed(busboy: BusboyInstance, body: Buffer): Promise<void> {
  let stopped = false;
  busboy.once("partsLimit", () => {
    stopped = true;
  });
  for (let at = 0; at < body.length && !stopped; at += STEP) {
    await new Promise<void>((resolve) => busboy.write(body.subarray(at, at + STEP), () => resolve()));
    await setImmediate();
  }
  if (!stopped) busboy.end();
}
