/** Predictions carry whole numbers of 32 bits; runtimes also give some of 64. */

/** @throws Error naming the output when a number does not fit */
export function narrowed(name: string, values: BigInt64Array): Int32Array {
  return Int32Array.from(values, (value) => {
    if (BigInt.asIntN(32, value) !== value)
      throw new Error(`the output ${name} has ${value}, beyond 32 bits`);
    return Number(value);
  });
}
