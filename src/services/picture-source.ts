/**
 * Where a picture comes from: an input's `image` is a data URI, an http(s) URL or the id of an uploaded image.
 * An id is looked up by the caller, who knows whose it must be.
 */
import { AuspexError } from "../domain/error.ts";
import { parseUuid } from "../domain/id.ts";
import type { Egress } from "./egress.ts";

export type PictureReference =
  | {
      readonly kind: "bytes";
      readonly bytes: Uint8Array;
      /** As the data URI claims, lower case without parameters; the bytes may say otherwise. */
      readonly mediaType: string;
    }
  | { readonly kind: "url"; readonly url: string }
  | { readonly kind: "image"; readonly id: string }
  | { readonly kind: "invalid"; readonly reason: string };

/** RFC 2397's default. */
const DEFAULT_MEDIA_TYPE = "text/plain";
/** Media type and parameters; a picture's are about 10 characters long. */
const DATA_URI_HEAD_MAX = 256;
/** Servers of pictures answer within seconds; a prediction should not wait for one that does not. */
const FETCH_TIMEOUT_MS = 15_000;

/** @param maxBytes of a data URI's picture; without it only the limit on the whole request holds */
export function parsePictureReference(value: string, maxBytes = Number.POSITIVE_INFINITY): PictureReference {
  const scheme = /^(data|https?):/i.exec(value)?.[1]?.toLowerCase();
  switch (scheme) {
    case "data":
      return parseDataUri(value, maxBytes);
    case "http":
    case "https":
      return { kind: "url", url: value };
    default: {
      const id = parseUuid(value);
      if (id !== undefined) return { kind: "image", id };
      return invalid("must be a data URI, an http or https URL, or the id of an uploaded image");
    }
  }
}

function invalid(reason: string): PictureReference {
  return { kind: "invalid", reason };
}

/** `data:[<media type>][;base64],<data>` (RFC 2397). */
function parseDataUri(uri: string, maxBytes: number): PictureReference {
  const comma = uri.slice(0, DATA_URI_HEAD_MAX).indexOf(",");
  if (comma < 0) return invalid("is a data URI without a comma between its media type and its data");
  const [mediaType = "", ...parameters] = uri.slice("data:".length, comma).toLowerCase().split(";");
  const data = uri.slice(comma + 1);
  const bytes =
    parameters.at(-1)?.trim() === "base64" ? decodeBase64(data, maxBytes) : decodePercent(data, maxBytes);
  if (bytes === "malformed")
    return invalid("is a data URI whose data is not well-formed (base64 with padding, no blanks)");
  if (bytes === "too long") return invalid(`holds a picture of more than ${maxBytes} bytes`);
  if (bytes.length === 0) return invalid("is a data URI without data");
  return { kind: "bytes", bytes, mediaType: mediaType.trim() || DEFAULT_MEDIA_TYPE };
}

type Decoded = Uint8Array | "malformed" | "too long";

/** RFC 4648 §4, strict: Buffer alone would skip what is not base64 and answer other bytes than were meant. */
function decodeBase64(data: string, maxBytes: number): Decoded {
  const text = data.includes("%") ? percentDecoded(data)?.toString("latin1") : data;
  if (text === undefined || text.length % 4 !== 0) return "malformed";
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  if ((text.length / 4) * 3 - padding > maxBytes) return "too long";
  // A search for one wrong character, because matching the whole would need stack in proportion to its length.
  if (/[^A-Za-z0-9+/]/.test(padding === 0 ? text : text.slice(0, -padding))) return "malformed";
  return Buffer.from(text, "base64");
}

function decodePercent(data: string, maxBytes: number): Decoded {
  const bytes = percentDecoded(data);
  if (bytes === undefined) return "malformed";
  return bytes.length > maxBytes ? "too long" : bytes;
}

/** The bytes of URL-encoded text; undefined for a `%` without two hexadecimal digits or text that is not ASCII. */
function percentDecoded(data: string): Buffer | undefined {
  if (/%(?![0-9A-Fa-f]{2})|[^\x20-\x7e]/.test(data)) return undefined;
  return Buffer.from(
    data.replace(/%(..)/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    "latin1",
  );
}

/** The bytes of a picture behind a URL; see `fetchUrl`. */
export function fetchPicture(
  url: string,
  egress: Egress,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  return fetchUrl({ url, what: "picture", egress, maxBytes, signal });
}

const ACCEPT = { picture: "image/*", document: "*/*" } as const;

/**
 * The bytes behind a URL. Rejects with `invalid_argument` when the address is not allowed, the answer is anything
 * but 200, compressed, empty or longer than `maxBytes`; otherwise as `Egress.fetch` does.
 */
export async function fetchUrl({
  url,
  what,
  egress,
  maxBytes,
  signal,
}: {
  readonly url: string;
  readonly what: keyof typeof ACCEPT;
  readonly egress: Egress;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}): Promise<Uint8Array> {
  const { status, headers, body } = await egress
    .fetch({
      url,
      method: "GET",
      headers: { accept: ACCEPT[what] },
      maxBytes,
      overflow: "fail",
      timeoutMs: FETCH_TIMEOUT_MS,
      signal,
    })
    .catch((error: unknown) => {
      // Too long a file is the input's fault; as `resource_exhausted` it would invite the caller to try again.
      if (error instanceof AuspexError && error.code === "resource_exhausted")
        throw unusable(error.message, error);
      throw error;
    });
  if (status >= 300 && status < 400)
    throw unusable(`the ${what}'s URL answered ${status}; redirects are not followed`);
  if (status !== 200) throw unusable(`the ${what}'s URL answered ${status}`);
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding !== "identity")
    throw unusable(`the ${what}'s URL answered with content-encoding ${encoding}, unasked`);
  if (body.length === 0) throw unusable(`the ${what}'s URL answered with an empty body`);
  return body;
}

function unusable(message: string, cause?: unknown): AuspexError {
  return new AuspexError("invalid_argument", message, { cause });
}
