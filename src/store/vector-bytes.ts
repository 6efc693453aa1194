/** Vectors as they are stored: float32, little endian, whatever this machine is; and their components' signs. */
import { endianness } from "node:os";

export function bytesOf(floats: Float32Array): Uint8Array {
  const bytes = Buffer.from(floats.buffer.slice(floats.byteOffset, floats.byteOffset + floats.byteLength));
  return endianness() === "LE" ? bytes : bytes.swap32();
}

export function floatsOf(bytes: Uint8Array): Float32Array {
  const own = Buffer.from(new Uint8Array(bytes).buffer);
  return new Float32Array((endianness() === "LE" ? own : own.swap32()).buffer, 0, own.length / 4);
}

/** A bit for each component, set where it is above 0. */
export function signsOf(vector: Float32Array): Uint8Array {
  const signs = new Uint8Array(Math.ceil(vector.length / 8));
  for (const [index, component] of vector.entries()) {
    if (component > 0) signs[index >> 3] = (signs[index >> 3] ?? 0) | (1 << (index & 7));
  }
  return signs;
}
