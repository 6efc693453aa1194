/** Page tokens of lists: `decodePageToken`, `decodeNumberToken`. */
import { AuspexError } from "../../../src/domain/error.ts";
import { decodeNumberToken, decodePageToken, encodePageToken } from "../../../src/services/page-token.ts";
import { holds, unlessRefused } from "../target.ts";

export const claim = "A token is refused as `invalid_argument`, or reads the same when it is written anew.";

const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError &&
  error.code === "invalid_argument" &&
  error.violations[0]?.field === "page_token";

export function fuzz(data: Buffer): void {
  const token = data.toString();
  const position = unlessRefused(isRefusal, () => decodePageToken(token));
  if (position) {
    const again = decodePageToken(encodePageToken(position));
    holds(again?.direction === position.direction && again.key === position.key, "a token keeps its place");
  }
  const number = unlessRefused(isRefusal, () => decodeNumberToken(token));
  holds(number === undefined || (Number.isSafeInteger(number) && number >= 0), "a number is one");
}

export const seeds = (): readonly string[] => [
  encodePageToken({ direction: "after", key: "0192f0c1-2345-7abc-8def-0123456789ab" }),
  encodePageToken({ direction: "before", key: "17" }),
  Buffer.from('["before","1e3"]').toString("base64url"),
];
