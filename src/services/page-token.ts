/**
 * Opaque page tokens: base64url of a small JSON array, [direction, id]. They hold no secret: every query is by
 * principal, whatever the token says.
 */
import { type AuspexError, invalidArgument } from "../domain/error.ts";

export interface PagePosition {
  /** `before`: the page of older items that follows the id; `after`: the page of newer ones. */
  readonly direction: "before" | "after";
  readonly key: string;
}

export function encodePageToken({ direction, key }: PagePosition): string {
  return Buffer.from(JSON.stringify([direction, key])).toString("base64url");
}

/** @throws AuspexError `invalid_argument` for a text that `encodePageToken` did not make; undefined for "" */
export function decodePageToken(token: string): PagePosition | undefined {
  if (token === "") return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    if (Array.isArray(value) && value.length === 2) {
      const [direction, key]: unknown[] = value;
      if ((direction === "before" || direction === "after") && typeof key === "string")
        return { direction, key };
    }
  } catch {
    // Falls through to the same complaint.
  }
  throw malformed();
}

/** One page of a list. */
export interface Page<T> {
  readonly page: readonly T[];
  /** "" on the last page. */
  readonly nextPageToken: string;
}

/**
 * The first `size` of what was found, which may be more: one more than the page tells whether there is another page.
 *
 * @param keyOf what the next page goes on after, or before where `direction` says so
 */
export function pageOf<T>(
  found: readonly T[],
  size: number,
  keyOf: (item: T) => string | number | bigint,
  direction: PagePosition["direction"] = "after",
): Page<T> {
  const page = found.slice(0, size);
  const last = found.length > size ? page.at(-1) : undefined;
  return { page, nextPageToken: last ? encodePageToken({ direction, key: String(keyOf(last)) }) : "" };
}

/** Of a list by number: the one that the page follows; undefined for "". */
export function decodeNumberToken(token: string): number | undefined {
  const position = decodePageToken(token);
  if (!position) return undefined;
  const key = Number(position.key);
  if (!Number.isSafeInteger(key) || key < 0) throw malformed();
  return key;
}

function malformed(): AuspexError {
  return invalidArgument({
    field: "page_token",
    reason: "format",
    description: "is not a token that a list has answered",
  });
}
