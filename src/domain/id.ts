/**
 * Ids of rows: UUIDv7 (RFC 9562 §5.7), lower case with hyphens, so that ids sort by creation time and an index on
 * them stays dense.
 */
export type PredictionId = string & { readonly __brand: "PredictionId" };
export type ImageId = string & { readonly __brand: "ImageId" };

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * Mints ids that rise strictly within one process, also within a millisecond: the 12 bits after the version are a
 * counter that begins at random (RFC 9562 §6.2, method 1) and carries into the time when it overflows.
 *
 * @param random fills the given bytes from a cryptographic source
 */
export function createIdMinter(random: (bytes: Uint8Array) => void): (nowMs: number) => string {
  let lastMs = 0;
  let time = "";
  let counter = 0;
  // 8 random bytes an id; asking the source for many at once makes an id cheap.
  const pool = new Uint8Array(8 * 128);
  let used = pool.length;
  return (nowMs) => {
    if (used === pool.length) {
      random(pool);
      used = 0;
    }
    const r = pool.subarray(used, used + 8);
    used += 8;
    if (nowMs > lastMs) {
      lastMs = nowMs;
      time = timePart(lastMs);
      counter = (((r[0] ?? 0) << 3) ^ (r[1] ?? 0)) & 0x7ff;
    } else if (++counter > 0xfff) {
      lastMs += 1;
      time = timePart(lastMs);
      counter = 0;
    }
    const tail = Buffer.from(r.buffer, r.byteOffset, 8).toString("hex");
    // Bits that are not in the tail as well, so that all 62 have to be guessed.
    const variant = (8 | ((r[0] ?? 0) >> 6)).toString(16);
    return (
      `${time}-7${counter.toString(16).padStart(3, "0")}` + `-${variant}${tail.slice(1, 4)}-${tail.slice(4)}`
    );
  };
}

/** Sorts after every id of an earlier millisecond since the epoch, and before all others. */
export function firstIdOf(ms: number): string {
  return timePart(Math.floor(ms));
}

function timePart(ms: number): string {
  const time = ms.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}`;
}

/** Answers the id in its canonical form, or undefined when the text is not a UUID. */
export function parseUuid(text: string): string | undefined {
  const lower = text.toLowerCase();
  return UUID.test(lower) ? lower : undefined;
}

/** RFC 4648 §6. */
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/** 26 characters of five bits hold two more than a UUID has. */
const SPARE_BITS = 2n;

/** A UUID's 128 bits in 26 characters of base32, without padding: how Einstein's clients write ids. */
export function base32OfUuid(uuid: string): string {
  let bits = BigInt(`0x${uuid.replaceAll("-", "")}`) << SPARE_BITS;
  let text = "";
  for (let i = 0; i < 26; i++) {
    text = BASE32.charAt(Number(bits & 31n)) + text;
    bits >>= 5n;
  }
  return text;
}

/** The UUID of such an id, or undefined when the text is none. */
export function uuidOfBase32(text: string): string | undefined {
  if (!/^[A-Z2-7]{26}$/.test(text)) return undefined;
  const bits = [...text].reduce((sum, char) => (sum << 5n) | BigInt(BASE32.indexOf(char)), 0n);
  const hex = (bits >> SPARE_BITS).toString(16).padStart(32, "0");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
