/**
 * One budget of bytes for the bodies of all requests that are in memory at once, over every door: each body is
 * bounded by MAX_BODY_BYTES, and this bounds their sum. A body is counted from before it is read until its request is
 * answered, packed and unpacked bytes alike; what decoding makes of it (text, objects) is not.
 */
import { AuspexError } from "../domain/error.ts";

/** A body up to this may use the part of the budget that is kept for small ones; a picture or a tensor is larger. */
export const SMALL_BODY_BYTES = 64 * 1024;
/** One part in so many is kept for small bodies, so that large ones, sent slowly, never shut out the small calls. */
const KEPT_PART = 8;
/**
 * What a piece of a body costs at least, however short it is: it is an object of Node's, some 200 bytes beside its own. In
 * pieces of one byte, which any caller may send, a body holds 200 times what it is long.
 */
export const PIECE_BYTES = 256;
/** A body takes a second or so to be answered; its caller can come back then. */
const RETRY_AFTER_MS = 1_000;

export interface ByteBudget {
  /** Bytes that are taken. */
  readonly taken: number;
  /** A share for one body, empty at first. */
  open(): ByteShare;
}

export interface ByteShare {
  /**
   * Takes so many bytes more, or none of them.
   *
   * @throws AuspexError `resource_exhausted` when the budget does not have them
   */
  take(bytes: number): void;
  /**
   * Takes what a piece that has come costs beside its bytes; those are taken by themselves.
   *
   * @throws AuspexError as `take`
   */
  takePiece(bytes: number): void;
  /** Gives everything back; once is enough. */
  close(): void;
}

/** @param maxBytes what all bodies together may take */
export function createByteBudget(maxBytes: number): ByteBudget {
  const maxForLarge = maxBytes - Math.floor(maxBytes / KEPT_PART);
  let taken = 0;
  return {
    get taken() {
      return taken;
    },
    open() {
      let held = 0;
      let closed = false;
      const take = (bytes: number): void => {
        if (closed) return;
        const max = held + bytes <= SMALL_BODY_BYTES ? maxBytes : maxForLarge;
        if (taken + bytes > max) {
          throw new AuspexError(
            "resource_exhausted",
            `the server holds ${taken} bytes of requests already and has no room for ${bytes} more`,
            { retryAfterMs: RETRY_AFTER_MS },
          );
        }
        taken += bytes;
        held += bytes;
      };
      return {
        take,
        takePiece(bytes) {
          if (bytes < PIECE_BYTES) take(PIECE_BYTES - bytes);
        },
        close() {
          closed = true;
          taken -= held;
          held = 0;
        },
      };
    },
  };
}
