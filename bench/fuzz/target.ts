/** What a fuzz target is. A file under `targets/` is one: its exports are these, and its name is the target's. */
export interface Target {
  /** One sentence: what must hold of every input. */
  readonly claim: string;
  /** Throws `Broken`, or whatever the parser threw that nobody foresaw. */
  readonly fuzz: (data: Buffer) => void | Promise<void>;
  /** Inputs to begin with. */
  readonly seeds: () => readonly (string | Uint8Array)[] | Promise<readonly (string | Uint8Array)[]>;
  /** Words that inputs of this kind are made of. */
  readonly words?: readonly string[];
  /** Bytes of the longest input; by default 4096. */
  readonly bytesMax?: number;
}

/** An invariant that does not hold. */
export class Broken extends Error {
  override readonly name = "Broken";
}

export function holds(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new Broken(claim);
}

/** What the call answers; undefined where it was refused in a way that `isRefusal` knows. Everything else passes. */
export function unlessRefused<T>(isRefusal: (error: unknown) => boolean, call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

export async function unlessRejected<T>(
  isRefusal: (error: unknown) => boolean,
  call: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** That nothing has been added to what all objects inherit. */
export function noPollution(): void {
  for (const name of Object.keys(Object.prototype)) throw new Broken(`every object has ${name} now`);
}

/** JSON, or undefined. */
export function parsed(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString()) as unknown;
  } catch {
    return undefined;
  }
}

/** The part before the first line feed as text, and the bytes behind it. */
export function headed(data: Buffer): { readonly head: string; readonly rest: Buffer } {
  const end = data.indexOf(10);
  if (end < 0) return { head: data.toString("latin1"), rest: Buffer.alloc(0) };
  return { head: data.toString("latin1", 0, end), rest: data.subarray(end + 1) };
}
