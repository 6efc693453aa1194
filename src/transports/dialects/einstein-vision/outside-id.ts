/** Ids as this API writes them: the 128 bits of a UUID in 26 characters of base32 (RFC 4648 §6, without padding). */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/** The last character holds three bits. */
const SPARE_BITS = 2n;

export function outsideId(uuid: string): string {
  let bits = BigInt(`0x${uuid.replaceAll("-", "")}`) << SPARE_BITS;
  let text = "";
  for (let i = 0; i < 26; i++) {
    text = (ALPHABET[Number(bits & 31n)] ?? "") + text;
    bits >>= 5n;
  }
  return text;
}

/** The UUID, or undefined for what is no such id. */
export function insideId(text: string): string | undefined {
  if (!/^[A-Z2-7]{26}$/.test(text)) return undefined;
  const bits = [...text].reduce((sum, char) => (sum << 5n) | BigInt(ALPHABET.indexOf(char)), 0n);
  const hex = (bits >> SPARE_BITS).toString(16).padStart(32, "0");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
