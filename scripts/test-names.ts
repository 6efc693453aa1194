/** Names of tests, as they stand in their files; the pages of the docs that are made of them read them here. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");

export interface TestName {
  /** `test/server/life.test.ts` */
  readonly file: string;
  /** Of a test, or of a group of them; what a table of cases fills in stands as `…`. */
  readonly name: string;
}

/** The first argument of `test`, `it`, `describe`, and of these with `.each(…)` or other conditions. */
const NAMED = /\b(?:test|it|describe)\b[^\n;]*?\(\s*(["'`])((?:(?!\1)[^\\]|\\.)+)\1\s*,/g;
/** That of a table whose rows go over several lines. */
const NAMED_AFTER_TABLE = /^\s*\][^\n;]*?\)\(\s*(["'`])((?:(?!\1)[^\\]|\\.)+)\1\s*,/gm;

/** In the order of files and lines. */
export async function testNames(): Promise<readonly TestName[]> {
  const entries = await readdir(join(ROOT, "test"), { recursive: true });
  const files = entries.filter((file) => file.endsWith(".test.ts")).map((file) => `test/${file}`);
  const names = await Promise.all(files.toSorted().map(async (file) => namesIn(file, await text(file))));
  return names.flat();
}

const text = (file: string) => readFile(join(ROOT, file), "utf8");

function namesIn(file: string, source: string): TestName[] {
  const found = [...source.matchAll(NAMED), ...source.matchAll(NAMED_AFTER_TABLE)];
  return found
    .toSorted((a, b) => a.index - b.index)
    .map(([, , name = ""]) => ({
      file,
      name: name.replaceAll(/\\(.)/g, "$1").replaceAll(/\$\{[^}]*\}|\$[\w.]+|%[sijdf]/g, "…"),
    }));
}
