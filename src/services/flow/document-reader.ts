/** Documents to text. */
import type { JsonObject } from "../../domain/payload.ts";

export interface DocumentFile {
  readonly name: string;
  /** "" for what the name's extension says. */
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** A part that passages do not cross: a section, a page, a row. */
export interface DocumentPart {
  readonly text: string;
  /** `heading`, `page` or `row`, as far as there is one. */
  readonly metadata: JsonObject;
}

export interface DocumentReader {
  /** Off this thread. Rejects with `invalid_argument` that says what is wrong with the file. */
  read(file: DocumentFile, signal: AbortSignal): Promise<readonly DocumentPart[]>;
  close(): Promise<void>;
}
