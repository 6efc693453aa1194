/** How far one runtime's outputs are from another's. */
import type { HostTensor, HostTensors } from "../../src/engine/worker/runtime.ts";

/**
 * Part of an output's largest magnitude below which elements count as being of that size: sums that cancel to almost
 * nothing keep no digits. With a thousandth in its place, the WebAssembly and the JavaScript backend of TF.js already
 * differ from each other by 4e-3 on the sentence encoder.
 */
const FLOOR = 1e-2;

export interface Difference {
  readonly output: string;
  /** See `difference`. */
  readonly relative: number;
  /** The largest |a − b|, as a part of the largest |a| in the output. */
  readonly ofLargest: number;
}

/**
 * The worst of all outputs. In an output of floats, `relative` is the largest of
 *
 *     |a − b| / max(|a|, |b|, 0.01 · max |a| over the output)
 *
 * with `a` of the reference. In an output of whole numbers or truth values it is the part of
 * the elements that differ: a class may tip where two scores are equal up to rounding. Another name, type or shape,
 * and a value that is not finite on one side alone, are infinitely far.
 */
export function difference(reference: HostTensors, other: HostTensors): Difference {
  let worst: Difference = { output: "", relative: 0, ofLargest: 0 };
  const names = new Set([...Object.keys(reference), ...Object.keys(other)]);
  if (names.size === 0) return { output: "no output", relative: Number.POSITIVE_INFINITY, ofLargest: 1 };
  for (const output of names) {
    const found = { output, ...distance(reference[output], other[output]) };
    if (worst.output === "" || found.relative > worst.relative) worst = found;
  }
  return worst;
}

const APART = { relative: Number.POSITIVE_INFINITY, ofLargest: Number.POSITIVE_INFINITY };

function distance(a: HostTensor | undefined, b: HostTensor | undefined): Omit<Difference, "output"> {
  if (!a || !b || a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) return APART;
  if (a.data.length !== b.data.length || a.data.length === 0) return APART;
  return a.dtype === "float32" ? floatDistance(a.data, b.data) : shareThatDiffers(a.data, b.data);
}

function floatDistance(a: ArrayLike<number>, b: ArrayLike<number>): Omit<Difference, "output"> {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] ?? 0));
  if (!Number.isFinite(largest)) return APART;
  let relative = 0;
  let absolute = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] ?? 0;
    const y = b[i] ?? Number.NaN;
    const apart = Math.abs(x - y);
    if (apart === 0) continue;
    const ratio = apart / Math.max(Math.abs(x), Math.abs(y), FLOOR * largest);
    if (Number.isNaN(ratio)) return APART;
    relative = Math.max(relative, ratio);
    absolute = Math.max(absolute, apart);
  }
  return { relative, ofLargest: largest === 0 ? relative : absolute / largest };
}

function shareThatDiffers(a: ArrayLike<number>, b: ArrayLike<number>): Omit<Difference, "output"> {
  let differing = 0;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) differing++;
  const share = differing / a.length;
  return { relative: share, ofLargest: share };
}
