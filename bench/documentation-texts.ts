/** Paragraphs that people wrote for people: the documentation of the packages that are installed here. */
import { createHash } from "node:crypto";
import { glob, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

const PACKAGES = join(import.meta.dirname, "..", "node_modules");
/** Characters. */
const LENGTH = { min: 60, max: 600 } as const;
/** Larger ones are generated. */
const FILE_BYTES_MAX = 1024 ** 2;
/** Letters and blanks: what has fewer is code. */
const LETTERS_MIN = 0.8;

/** As many as there are, up to `count`, each once, in an order that has nothing to do with where they are from. */
export async function documentationTexts(count: number): Promise<readonly string[]> {
  const texts = new Map<string, string>();
  for await (const file of glob("**/*.{md,d.ts,d.mts}", { cwd: PACKAGES })) {
    const path = join(PACKAGES, file);
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) continue;
    for (const paragraph of paragraphsOf(await readFile(path, "utf8"), file.endsWith(".md"))) {
      texts.set(createHash("sha256").update(paragraph).digest("hex"), paragraph);
    }
  }
  return [...texts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, count)
    .map(([, text]) => text);
}

function paragraphsOf(text: string, isMarkdown: boolean): readonly string[] {
  const prose = isMarkdown
    ? [text]
    : [...text.matchAll(/\/\*\*([\s\S]*?)\*\//g)].map((match) => match[1] ?? "");
  return prose
    .flatMap((part) => part.replaceAll(/^[ \t]*\*+ ?/gm, "").split(/\n\s*\n/))
    .map((part) => part.replaceAll(/\s+/g, " ").trim().slice(0, LENGTH.max))
    .filter((part) => part.length >= LENGTH.min && lettersOf(part) >= LETTERS_MIN);
}

function lettersOf(text: string): number {
  return text.replaceAll(/[^\p{L} ]/gu, "").length / text.length;
}
