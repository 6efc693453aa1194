/** Where a fit stands after an epoch, as bytes that it can go on from. */
import type { HeadState } from "./head-weights.ts";
import type { Rest } from "./rest.ts";

export interface Standing {
  /** Epochs that have ended. */
  readonly epoch: number;
  readonly rest: Rest;
  readonly state: HeadState;
}

const DIGEST_BYTES = 32;
const HEAD_BYTES = DIGEST_BYTES + 20;

/** @param digest SHA-256 of the plan and the examples that it belongs to */
export function writeCheckpoint(digest: Buffer, { epoch, rest, state }: Standing): Uint8Array {
  const { weights, mean, variance } = state;
  const bytes = Buffer.alloc(HEAD_BYTES + 3 * weights.byteLength);
  digest.copy(bytes);
  bytes.writeUInt32LE(epoch, DIGEST_BYTES);
  bytes.writeUInt32LE(rest.stale, DIGEST_BYTES + 4);
  bytes.writeUInt32LE(rest.plateaus, DIGEST_BYTES + 8);
  bytes.writeDoubleLE(rest.least, DIGEST_BYTES + 12);
  for (const [i, values] of [weights, mean, variance].entries()) {
    const { buffer, byteOffset, byteLength } = values;
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), HEAD_BYTES + i * byteLength);
  }
  return bytes;
}

/** @returns undefined for what does not belong to the plan and the examples: the fit then begins anew */
export function readCheckpoint(bytes: Uint8Array, digest: Buffer, size: number): Standing | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length !== HEAD_BYTES + 12 * size || !view.subarray(0, DIGEST_BYTES).equals(digest))
    return undefined;
  // A copy lies at a multiple of four bytes, which numbers have to.
  const values = (i: number): Float32Array =>
    new Float32Array(
      Uint8Array.from(view.subarray(HEAD_BYTES + i * 4 * size, HEAD_BYTES + (i + 1) * 4 * size)).buffer,
    );
  return {
    epoch: view.readUInt32LE(DIGEST_BYTES),
    rest: {
      stale: view.readUInt32LE(DIGEST_BYTES + 4),
      plateaus: view.readUInt32LE(DIGEST_BYTES + 8),
      least: view.readDoubleLE(DIGEST_BYTES + 12),
    },
    state: { weights: values(0), mean: values(1), variance: values(2) },
  };
}
