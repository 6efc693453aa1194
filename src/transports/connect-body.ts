/**
 * The body of a Connect or gRPC-Web call, read and unpacked within every limit before Connect's library sees it. Each
 * call takes one message, bare or in one envelope (a flag, a length of 32 bits, the message), packed with gzip or not;
 * the library gets it unpacked and whole.
 */
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import type { DescMessage } from "@bufbuild/protobuf";
import { AuspexError } from "../domain/error.ts";
import type { ByteShare } from "./byte-budget.ts";
import { decodeMessage } from "./decode-message.ts";
import { countJsonValues } from "./json-values.ts";

export interface BodyLimits {
  /** Bytes of the message, unpacked. */
  readonly maxBytes: number;
  /** Values in the message. */
  readonly maxValues: number;
  readonly share: ByteShare;
}

export interface BodyForm {
  readonly enveloped: boolean;
  readonly json: boolean;
  /** The name of the compression that the headers announce. */
  readonly encoding: string | undefined;
  /** From the headers; undefined for a body in chunks. */
  readonly length: number | undefined;
  readonly schema: DescMessage;
}

type Bytes = AsyncIterable<Uint8Array>;

const ENVELOPE_HEAD = 5;
const COMPRESSED = 1;

/** Throws AuspexError while it is read. What no message can be made of is left for the library to complain about. */
export async function* readBody(
  source: Bytes,
  form: BodyForm,
  limits: BodyLimits,
): AsyncGenerator<Uint8Array> {
  const raw = within(source, form, limits);
  if (form.enveloped) {
    try {
      yield* readEnvelope(raw, form, limits);
    } finally {
      // One that was refused by its head is let go of, or what follows would never be thrown away.
      await raw.return(undefined);
    }
    return;
  }
  const message = await join(unpacked(raw, form.encoding === "gzip", form, limits));
  check(message, form, limits);
  yield message;
}

async function* readEnvelope(
  raw: AsyncGenerator<Uint8Array>,
  form: BodyForm,
  limits: BodyLimits,
): AsyncGenerator<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (let next = await raw.next(); ; next = await raw.next()) {
    if (!next.done) {
      chunks.push(next.value);
      size += next.value.length;
    }
    if (size >= ENVELOPE_HEAD || next.done) break;
  }
  const start = Buffer.concat(chunks);
  if (start.length < ENVELOPE_HEAD) {
    yield start;
    return;
  }
  const flags = start.readUInt8(0);
  const length = start.readUInt32BE(1);
  if (length > limits.maxBytes) throw tooLarge(length, limits.maxBytes);
  let read = start.length - ENVELOPE_HEAD;
  async function* rest(): AsyncGenerator<Uint8Array> {
    yield start.subarray(ENVELOPE_HEAD);
    for await (const chunk of raw) {
      read += chunk.length;
      yield chunk;
    }
  }
  const isPacked = (flags & COMPRESSED) !== 0 && form.encoding === "gzip";
  const message = await join(unpacked(rest(), isPacked, form, limits));
  const head = Buffer.alloc(ENVELOPE_HEAD);
  head.writeUInt8(isPacked ? flags & ~COMPRESSED : flags, 0);
  // A body that is not one whole envelope keeps the length it promised, for the library to find.
  const isWhole = read === length;
  head.writeUInt32BE(isWhole ? message.length : isPacked ? message.length + 1 : length, 1);
  if (isWhole && (isPacked || (flags & COMPRESSED) === 0)) check(message, form, limits);
  yield head;
  yield message;
}

/** The bytes as they come, counted against the limit and the budget. */
async function* within(
  source: Bytes,
  { length, enveloped }: BodyForm,
  limits: BodyLimits,
): AsyncGenerator<Uint8Array> {
  const max = limits.maxBytes + (enveloped ? ENVELOPE_HEAD : 0);
  if (length !== undefined) {
    if (length > max) throw tooLarge(length, limits.maxBytes);
    limits.share.take(length);
  }
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > max) throw tooLarge(size, limits.maxBytes);
    if (length === undefined) limits.share.take(chunk.length);
    limits.share.takePiece(chunk.length);
    yield chunk;
  }
}

/** The message, counted while it is unpacked: a bomb stops where it passes a limit. */
async function* unpacked(
  packed: AsyncGenerator<Uint8Array>,
  isPacked: boolean,
  { json }: BodyForm,
  { maxBytes, maxValues, share }: BodyLimits,
): AsyncGenerator<Uint8Array> {
  let size = 0;
  let values = 0;
  for await (const chunk of isPacked ? gunzip(packed) : packed) {
    if (isPacked) {
      size += chunk.length;
      if (size > maxBytes) throw tooLarge(size, maxBytes);
      share.take(chunk.length);
    }
    if (json) {
      values += countJsonValues(chunk);
      if (values > maxValues) {
        throw new AuspexError("resource_exhausted", `the body has more than ${maxValues} JSON values`);
      }
    }
    yield chunk;
  }
}

async function* gunzip(packed: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = Readable.from(packed, { objectMode: false });
  const gunzip = createGunzip();
  source.once("error", (error) => gunzip.destroy(error));
  source.pipe(gunzip);
  try {
    yield* gunzip;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && String(thrown.code).startsWith("Z_")) {
      throw new AuspexError("invalid_argument", "the body is not gzip, as its headers say", {
        cause: thrown,
      });
    }
    throw thrown;
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

async function join(chunks: Bytes): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

/** The library would make a malformed message our fault (`internal`); of JSON it says whose it is. */
function check(message: Uint8Array, { json, schema }: BodyForm, { maxValues }: BodyLimits): void {
  if (!json) decodeMessage(schema, message, maxValues);
}

export function tooLarge(bytes: number, max: number): AuspexError {
  return new AuspexError(
    "resource_exhausted",
    `the message has ${bytes} bytes or more; at most ${max} are allowed`,
  );
}
