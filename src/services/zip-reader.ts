/**
 * A zip's bytes for the library that reads it. It asks for what the zip names, be that 18 exabytes from its beginning;
 * a file handle would throw at such a place, out of a callback, where nobody could catch it.
 */
import type { FileHandle } from "node:fs/promises";
import yauzl from "yauzl";

/** Told the error, or how many bytes were read. */
type Done = (error: Error | null, bytesRead?: number) => void;

export class ZipReader extends yauzl.RandomAccessReader {
  readonly #handle: FileHandle;
  readonly #size: number;

  constructor(handle: FileHandle, size: number) {
    super();
    this.#handle = handle;
    this.#size = size;
  }

  /** Behind the file's end there is nothing, however far. */
  override read(into: Buffer, offset: number, length: number, position: number, done: Done): void {
    if (!(position >= 0 && position < this.#size)) {
      setImmediate(done, null, 0);
      return;
    }
    this.#handle.read(into, offset, length, position).then(
      ({ bytesRead }) => done(null, bytesRead),
      (error: Error) => done(error),
    );
  }
}
