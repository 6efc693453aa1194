/** Sections of a document that has headings: each becomes a part, with the path of headings down to its own. */
import type { Parts } from "./parts.ts";

const HEADING_LENGTH_MAX = 200;
const PATH_SEPARATOR = " > ";

export class Sections {
  readonly #parts: Parts;
  /** By level; a level that was left out has none. */
  readonly #path: (string | undefined)[] = [];
  #lines: string[] = [];
  #hasText = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Begins a section. One that holds nothing but its heading stands in front of the next.
   *
   * @param level from 1
   * @param line the heading as it reads in the text
   */
  heading(level: number, title: string, line: string): void {
    if (this.#hasText) this.end();
    this.#path.length = Math.min(this.#path.length, level - 1);
    this.#path[level - 1] = title.slice(0, HEADING_LENGTH_MAX).toWellFormed();
    this.#lines.push(line);
  }

  line(line: string): void {
    this.#lines.push(line);
    this.#hasText ||= line.trim() !== "";
  }

  /** Takes the last line back: it turned out to be a heading. */
  takeBack(): string {
    const line = this.#lines.pop() ?? "";
    this.#hasText = this.#lines.some((each) => each.trim() !== "");
    return line;
  }

  /** The last line but `back`; "" before the section's first. */
  before(back: number): string {
    return this.#lines.at(-1 - back) ?? "";
  }

  end(): void {
    const heading = this.#path.filter((title) => title).join(PATH_SEPARATOR);
    this.#parts.add(this.#lines.join("\n"), heading === "" ? {} : { heading });
    this.#lines = [];
    this.#hasText = false;
  }
}
