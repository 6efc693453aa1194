/** Markdown: a part for each section. Its text stays as it is, marks and all. */
import type { Parts } from "./parts.ts";
import { Sections } from "./sections.ts";

const ATX = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const SETEXT = /^ {0,3}(=+|-+)[ \t]*$/;
/** What a paragraph may begin with, as opposed to a list, a quote or a table. */
const PARAGRAPH = /^ {0,3}[\p{L}\p{N}"'([_`]/u;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
/** A closing fence; only the same characters may follow, and white space. */
const CLOSING_FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*$/;

export function readMarkdown(text: string, parts: Parts): void {
  const sections = new Sections(parts);
  const lines = text.split(/\r\n?|\n/);
  let fence = "";
  for (const line of lines.slice(frontMatter(lines, parts))) {
    if (fence !== "") {
      const closing = CLOSING_FENCE.exec(line)?.[1];
      if (closing?.startsWith(fence)) fence = "";
      sections.line(line);
      continue;
    }
    fence = FENCE.exec(line)?.[1] ?? "";
    const marks = ATX.exec(line)?.[1];
    const underline = SETEXT.exec(line)?.[1];
    if (marks) sections.heading(marks.length, atxTitle(line), line);
    else if (underline && PARAGRAPH.test(sections.before(0)) && sections.before(1).trim() === "") {
      const title = sections.takeBack();
      sections.heading(underline.startsWith("=") ? 1 : 2, plain(title), `${title}\n${line}`);
    } else sections.line(line);
  }
  sections.end();
}

/** Makes a part of the metadata between two lines of three hyphens that a document may begin with. Answers its lines. */
function frontMatter(lines: readonly string[], parts: Parts): number {
  if (lines[0]?.trimEnd() !== "---") return 0;
  const end = lines.findIndex((line, index) => index > 0 && /^(?:---|\.\.\.)[ \t]*$/.test(line));
  if (end < 0) return 0;
  parts.add(lines.slice(1, end).join("\n"));
  return end + 1;
}

function atxTitle(line: string): string {
  let title = line.trim().replace(/^#+/, "").trim();
  const closed = title.length;
  let end = closed;
  while (title[end - 1] === "#") end -= 1;
  // Closing marks stand apart from the title: "C#" has none.
  if (end < closed && (end === 0 || /[ \t]/.test(title[end - 1] ?? ""))) title = title.slice(0, end).trim();
  return plain(title);
}

/** Without the marks of links, code and emphasis. */
function plain(title: string): string {
  return title
    .slice(0, 1000)
    .replaceAll(/!?\[([^\][]*)\]\([^()]*\)/g, "$1")
    .replaceAll(/[`*]/g, "")
    .trim();
}
