/**
 * Class names out of a published file, read as text and never run: a JSON array of strings, or JavaScript with an
 * object literal of numbered strings, `0: 'tench, Tinca tinca', 1: 'gold' + 'fish', …`, or of numbered objects with a
 * display name each, `1: { displayName: 'person' }, …`.
 */

const STRING = `(?:'(?:[^'\\\\\\n]|\\\\.)*'|"(?:[^"\\\\\\n]|\\\\.)*")`;
const NUMBERED = new RegExp(`(?<![\\w.'"])(\\d+)\\s*:\\s*(${STRING}(?:\\s*\\+\\s*${STRING})*)`, "g");

const DESCRIBED = new RegExp(`(?<![\\w.'"])(\\d+)\\s*:\\s*\\{[^{}]*?\\bdisplayName\\s*:\\s*(${STRING})`, "g");

/** Numbers that may be left out one after the other: more are a mistake. COCO leaves out two. */
const GAP_MAX = 10;

/** The labels by index. Throws when the file has none, or when an index is missing or there twice. */
export function readLabels(text: string): string[] {
  const json = asJsonArray(text);
  if (json) return json;
  const described = [...text.matchAll(DESCRIBED)];
  if (described.length > 0) return describedLabels(described);
  const labels: string[] = [];
  for (const [, index, literal] of text.matchAll(NUMBERED)) {
    if (Number(index) !== labels.length) {
      throw new Error(`label ${index} stands where ${labels.length} was expected`);
    }
    labels.push(unquote(literal ?? ""));
  }
  if (labels.length === 0) throw new Error("has no labels in a form that is known");
  return labels;
}

/** From the first number on. Numbers may be left out, as COCO's are: such a class has the label "". */
function describedLabels(matches: readonly RegExpExecArray[]): string[] {
  const first = Number(matches[0]?.[1]);
  const labels: string[] = [];
  for (const [, index, literal] of matches) {
    const gap = Number(index) - first - labels.length;
    if (gap < 0 || gap > GAP_MAX) {
      throw new Error(`label ${index} stands where ${first + labels.length} was expected`);
    }
    labels.push(...Array.from({ length: gap }, () => ""), unquote(literal ?? ""));
  }
  return labels;
}

function asJsonArray(text: string): string[] | undefined {
  if (!text.trimStart().startsWith("[")) return undefined;
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value) || !value.every((item): item is string => typeof item === "string")) {
    throw new Error("is not an array of strings");
  }
  return value;
}

function unquote(literal: string): string {
  const parts = literal.match(new RegExp(STRING, "g")) ?? [];
  return parts
    .map((part) => part.slice(1, -1).replace(/\\(.)/g, (_, escaped: string) => plain(escaped)))
    .join("");
}

/** Quotes and the backslash stand for themselves; any other escape would need an interpreter. */
function plain(escaped: string): string {
  if (!`'"\\`.includes(escaped)) throw new Error(`has the escape \\${escaped}, which is not known`);
  return escaped;
}
