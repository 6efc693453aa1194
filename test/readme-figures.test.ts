/** No figure in the README that a bench does not print. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

/** Between these, figures may stand that are in the named file. */
const QUOTE = /<!-- figures of (\S+) -->(.*?)<!-- end of figures -->/gs;

/** A time, a rate or a ratio of them: what a bench measures. Sizes and limits are none. */
const FIGURE =
  /\b\d[\d.,]*\s?(?:µs|ms|s|seconds?|minutes?)\b|\b\d[\d.,]*\s?(?:\/\s?s\b|(?:a|per) second)|\b(?:\d[\d.,]*|two|three|four|five|ten|twenty|hundred)\s?(?:×|times)(?= (?:as )?(?:fast|slow|less|more|the rate))|\b\d[\d.,]* ?%/g;

/** Prose and tables: code is quoted from elsewhere, and what it prints is not ours to say. */
function prose(markdown: string): string {
  return markdown.replaceAll(/^```.*?^```$/gms, "").replaceAll(/`[^`\n]*`/g, "");
}

function figuresIn(markdown: string): readonly string[] {
  return [...prose(markdown).matchAll(FIGURE)].map(([figure]) => figure);
}

const numbersIn = (text: string): readonly string[] => text.match(/\d[\d.,]*\d|\d/g) ?? [];

test("what stands between the marks of a quotation is in the file that it is quoted from", () => {
  const quotes = [...read("README.md").matchAll(QUOTE)];
  expect(quotes.length).toBeGreaterThan(0);
  for (const [, file = "", text = ""] of quotes) {
    const known = new Set(numbersIn(read(file)));
    expect(numbersIn(text).filter((number) => !known.has(number))).toEqual([]);
  }
});

test("beside that the README quotes no time, no rate and no ratio", () => {
  expect(figuresIn(read("README.md").replaceAll(QUOTE, ""))).toEqual([]);
});

test("figures are told from limits and sizes", () => {
  expect(
    figuresIn("It takes 12 ms, 4,000/s, 5,000 a second, ten times as fast, 3 × the rate, 90 %."),
  ).toEqual(["12 ms", "4,000/s", "5,000 a second", "ten times", "3 ×", "90 %"]);
  expect(
    figuresIn("17 MB, 1,000 classes, 5 folds × 5, up to `10s`, node 24\n```sh\nsleep 1 s\n```\n"),
  ).toEqual([]);
});
