/** HTML: a part for each section. Nothing is run, and nothing is fetched. */
import { compile, type FormatCallback } from "html-to-text";
import type { Parts } from "./parts.ts";
import { Sections } from "./sections.ts";

/** Marks a heading in the converted text: a character that the text itself cannot hold, for it is taken out before. */
const MARK = "\u0001";

const heading: FormatCallback = (element, walk, builder, options) => {
  builder.openBlock({ leadingLineBreaks: 2 });
  builder.addLiteral(`${MARK}${options.level}`);
  walk(element.children, builder);
  builder.closeBlock({ trailingLineBreaks: 2 });
};

/** Fenced as in Markdown, so that it is kept whole as there. */
const code: FormatCallback = (element, walk, builder) => {
  builder.openBlock({ leadingLineBreaks: 2, isPre: true });
  builder.addLiteral("```\n");
  walk(element.children, builder);
  builder.addLiteral("\n```");
  builder.closeBlock({ trailingLineBreaks: 2 });
};

const LEVELS = [1, 2, 3, 4, 5, 6];
const UNREAD = ["script", "style", "noscript", "template", "img", "svg", "head"];

const convert = compile({
  wordwrap: false,
  // The bytes are limited already; what is longer would be cut without a word.
  limits: { maxInputLength: Number.MAX_SAFE_INTEGER },
  formatters: { heading, code },
  selectors: [
    { selector: "*", format: "inline" },
    ...LEVELS.map((level) => ({ selector: `h${level}`, format: "heading", options: { level } })),
    ...UNREAD.map((selector) => ({ selector, format: "skip" })),
    { selector: "a", format: "inline" },
    { selector: "pre", format: "code" },
    { selector: "ul", format: "unorderedList", options: { itemPrefix: "- " } },
    // A row a line, whatever the table is for.
    { selector: "table", format: "block", options: { leadingLineBreaks: 2, trailingLineBreaks: 2 } },
    { selector: "tr", format: "block", options: { leadingLineBreaks: 1, trailingLineBreaks: 1 } },
    ...["td", "th"].map((selector) => ({ selector, format: "inlineSurround", options: { suffix: " | " } })),
    ...["td > p", "th > p"].map((selector) => ({ selector, format: "inline" })),
  ],
});

export function readHtml(text: string, parts: Parts): void {
  const sections = new Sections(parts);
  for (const line of convert(text.replaceAll(MARK, "")).split("\n")) {
    const level = line.startsWith(MARK) ? Number(line[1]) : 0;
    const shown = line.slice(level > 0 ? 2 : 0).replace(/ \| *$/, "");
    if (level > 0) sections.heading(level, shown.trim(), `${"#".repeat(level)} ${shown.trim()}`);
    else sections.line(shown);
  }
  sections.end();
}
