/**
 * Parts of a document to passages: as long as they may be, cut where the text itself pauses the longest, at the end of
 * a paragraph, else of a line, a sentence, a word. Every passage is a piece of the text as it stands.
 */

import { type DocumentPart, tooMuch, trimLines } from "./documents/parts.ts";

export interface SplitOptions {
  /** Most characters of a passage, as UTF-16 counts them; at least 2. */
  readonly size: number;
  /** Most characters that neighbouring passages of a part share, less than half of the size. */
  readonly overlap: number;
  /** Most passages. */
  readonly max: number;
}

/** A piece of a text, from its first character to the one after its last. */
type Span = readonly [start: number, end: number];

/** @throws AuspexError `invalid_argument` past the most passages */
export function split(parts: readonly DocumentPart[], options: SplitOptions): readonly DocumentPart[] {
  const passages: DocumentPart[] = [];
  for (const { text, metadata } of parts) {
    for (const passage of splitText(text, options)) {
      if (passages.length === options.max) throw tooMuch("passages", options.max);
      passages.push({ text: passage, metadata });
    }
  }
  return passages;
}

export function* splitText(text: string, { size, overlap }: SplitOptions): Generator<string> {
  let start = 0;
  let end = 0;
  for (const [, next] of spans(text, [0, text.length], size, 0)) {
    if (lengthOf(text, start, next) > size) {
      const passage = trimLines(text.slice(start, end));
      if (passage !== "") yield passage;
      start = sharedFrom(text, end, overlap, (from) => lengthOf(text, from, next) <= size);
    }
    end = next;
  }
  const last = trimLines(text.slice(start, end));
  if (last !== "") yield last;
}

/** Without the white space that a passage does not end with. */
function lengthOf(text: string, start: number, end: number): number {
  return text.slice(start, end).trimEnd().length;
}

/** How to cut, from the longest pause to the shortest. Each answers where the next piece begins. */
const CUTS: readonly ((text: string, size: number) => Iterable<number>)[] = [
  blocks,
  (text) => matchEnds(text, /\n/g),
  sentences,
  (text) => matchEnds(text, /\s+/g),
  characters,
];

/** Pieces of at most `size`, which together are the whole span. */
function* spans(text: string, [start, end]: Span, size: number, depth: number): Generator<Span> {
  const cut = CUTS[depth];
  if (!cut || lengthOf(text, start, end) <= size) {
    yield [start, end];
    return;
  }
  let from = start;
  for (const at of cut(text.slice(start, end), size)) {
    if (start + at <= from || start + at >= end) continue;
    yield* spans(text, [from, start + at], size, depth + 1);
    from = start + at;
  }
  yield* spans(text, [from, end], size, depth + 1);
}

const FENCE = /^ {0,3}(?:`{3,}|~{3,})/;

/** Paragraphs; what is fenced as code is one, blank lines in it or not. */
function* blocks(text: string): Generator<number> {
  let fence = "";
  let at = 0;
  let wasBlank = false;
  for (const line of text.split("\n")) {
    const isBlank = line.trim() === "";
    const mark = FENCE.exec(line)?.[0].trim() ?? "";
    if (fence === "" && at > 0 && ((wasBlank && !isBlank) || mark !== "")) yield at;
    at += line.length + 1;
    if (fence === "") fence = mark;
    else if (mark.startsWith(fence)) {
      fence = "";
      yield at;
    }
    wasBlank = isBlank;
  }
}

function* matchEnds(text: string, pattern: RegExp): Generator<number> {
  for (const match of text.matchAll(pattern)) yield match.index + match[0].length;
}

const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });

function* sentences(text: string): Generator<number> {
  for (const { index } of segmenter.segment(text)) yield index;
}

/** A word that is longer than a passage: anywhere but inside a surrogate pair. */
function* characters(text: string, size: number): Generator<number> {
  for (let at = size; at < text.length; at += size) {
    const code = text.charCodeAt(at - 1);
    if (code >= 0xd800 && code < 0xdc00) at -= 1;
    yield at;
  }
}

/**
 * Where the next passage begins, at most `overlap` before `end`: at a line, else a sentence, else a word, the first that
 * leaves it room for what is new. `end` itself when there is none.
 */
function sharedFrom(text: string, end: number, overlap: number, hasRoom: (from: number) => boolean): number {
  const start = Math.max(0, end - overlap);
  // Half a piece of code would begin with the mark that ends it.
  const fences = [...text.slice(start, end).matchAll(/^ {0,3}(?:`{3,}|~{3,}).*\n?/gm)];
  const first = start + (fences.at(-1)?.index ?? 0) + (fences.at(-1)?.[0].length ?? 0);
  const shared = text.slice(first, end);
  if (shared.trim() === "") return end;
  const cuts = [matchEnds(shared, /\n/g), sentences(shared)];
  // Half a sentence is worth repeating only where the sentence was cut.
  if (!shared.endsWith("\n")) cuts.push(matchEnds(shared, /\s+/g));
  for (const cut of cuts) {
    for (const at of cut) {
      if (at > 0 && at < shared.trimEnd().length && hasRoom(first + at)) return first + at;
    }
  }
  return end;
}
