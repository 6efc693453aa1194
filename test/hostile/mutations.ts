/** Bytes changed at random, from a seed: the same ones in every run. */

export type Random = () => number;

export const below = (random: Random, end: number): number => Math.floor(random() * end);

export function oneOf<T>(random: Random, items: readonly [T, ...T[]]): T {
  return items[below(random, items.length)] ?? items[0];
}

const BYTES: readonly [number, ...number[]] = [0x00, 0x7f, 0x80, 0xff, 0x22, 0x5c, 0x7b, 0x5b, 0x2d, 0x0a];
const NUMBERS: readonly [number, ...number[]] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff, 0x100];

/** One to four changes: bits, bytes, 32-bit numbers, cuts, repetitions, insertions. */
export function mutated(random: Random, original: Uint8Array): Buffer<ArrayBuffer> {
  let bytes = Buffer.from(original);
  for (let left = 1 + below(random, 4); left > 0; left--) {
    const at = below(random, bytes.length + 1);
    const length = below(random, Math.min(64, bytes.length - at + 1));
    switch (below(random, 7)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8));
        break;
      case 1:
        if (at < bytes.length) bytes[at] = oneOf(random, BYTES);
        break;
      case 2: {
        const number = oneOf(random, NUMBERS);
        if (at + 4 <= bytes.length)
          random() < 0.5 ? bytes.writeUInt32LE(number, at) : bytes.writeUInt32BE(number, at);
        break;
      }
      case 3:
        bytes = Buffer.from(bytes.subarray(0, at));
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
        break;
      default:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from([oneOf(random, BYTES), below(random, 256)]),
          bytes.subarray(at),
        ]);
    }
  }
  return bytes;
}
