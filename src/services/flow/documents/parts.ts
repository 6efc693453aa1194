/** The parts of a document as they are found, bounded. */
import { AuspexError } from "../../../domain/error.ts";
import type { JsonObject } from "../../../domain/payload.ts";

/** A part that passages do not cross: a section, a page, a row. */
export interface DocumentPart {
  readonly text: string;
  /** `heading`, `page` or `row`, as far as there is one. */
  readonly metadata: JsonObject;
}

export interface PartLimits {
  /** Of all parts together, in UTF-16 code units as JavaScript counts. */
  readonly characters: number;
  readonly parts: number;
}

export class Parts {
  readonly list: DocumentPart[] = [];
  readonly #limits: PartLimits;
  #characters = 0;

  constructor(limits: PartLimits) {
    this.#limits = limits;
  }

  /** A blank one is left out. @throws AuspexError `invalid_argument` past a limit */
  add(text: string, metadata: JsonObject = {}): void {
    const cleaned = clean(text);
    if (cleaned === "") return;
    this.#characters += cleaned.length;
    if (this.#characters > this.#limits.characters) {
      throw tooMuch(`characters of text`, this.#limits.characters);
    }
    if (this.list.length === this.#limits.parts)
      throw tooMuch("parts (rows, sections, pages)", this.#limits.parts);
    this.list.push({ text: cleaned, metadata });
  }
}

export function tooMuch(what: string, limit: number): AuspexError {
  return new AuspexError("invalid_argument", `it has more than ${limit.toLocaleString("en")} ${what}`);
}

/** Without blank lines around it; its first line's indentation stays. */
export function trimLines(text: string): string {
  return text.trimEnd().replace(/^(?:[^\S\n]*\n)+/, "");
}

/** One kind of line end, no control characters, no halves of surrogate pairs: what formats may bring by escapes. */
function clean(text: string): string {
  return trimLines(
    text
      .replaceAll(/\r\n?/g, "\n")
      .replaceAll(/[^\P{Cc}\n\t]/gu, " ")
      .toWellFormed(),
  );
}
