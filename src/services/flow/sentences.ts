/** The sentences of a passage, as they stand. */

export interface Sentence {
  readonly text: string;
  /** Stands on lines of its own: a list's entry, a table's row, a piece of code. */
  readonly isBlock: boolean;
}

const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });

/** Begins a list's entry, a table's row or a quotation. */
const BLOCK_START = /^\s*(?:[-*+•]\s|\d{1,3}[.)]\s|\||>)/;
/** Says what comes, and nothing by itself. */
const HEADING = /^\s{0,3}#{1,6}\s/;
const FENCE = /^\s*(?:```|~~~)/;
/** A table's line between head and rows, or a rule. */
const RULE = /^[\s|:=*_-]+$/;

/**
 * In order. Lines that only the width of a page has broken are joined; a fenced piece of code is one sentence, whole.
 */
export function sentencesOf(text: string): readonly Sentence[] {
  const sentences: Sentence[] = [];
  let paragraph: string[] = [];
  let isBlock = false;
  let code: string[] | undefined;

  const end = () => {
    const joined = paragraph.map((line) => line.trim()).join(" ");
    paragraph = [];
    if (joined === "") return;
    if (isBlock) sentences.push({ text: joined, isBlock });
    else for (const { segment } of segmenter.segment(joined)) add(segment.trim());
  };
  const add = (sentence: string) => {
    if (sentence !== "") sentences.push({ text: sentence, isBlock: false });
  };

  for (const line of text.split(/\r?\n/)) {
    if (code) {
      code.push(line);
      if (FENCE.test(line)) {
        sentences.push({ text: code.join("\n"), isBlock: true });
        code = undefined;
      }
    } else if (FENCE.test(line)) {
      end();
      code = [line];
    } else if (line.trim() === "" || RULE.test(line) || HEADING.test(line)) {
      end();
      isBlock = false;
    } else {
      if (BLOCK_START.test(line)) {
        end();
        isBlock = true;
      }
      paragraph.push(line);
    }
  }
  end();
  if (code) sentences.push({ text: code.join("\n"), isBlock: true });
  return sentences;
}
