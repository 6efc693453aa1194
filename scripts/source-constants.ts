/** The bounds that stand in the sources as constants: their values, and the comments that say why. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./test-names.ts";

export interface SourceConstant {
  /** `services/check.ts URL_LENGTH_MAX`, the path below `src/`. */
  readonly key: string;
  readonly file: string;
  readonly value: number;
  /** Its comment, "" for none. */
  readonly reason: string;
}

/** A number, or a product, power, sum or difference of numbers and of constants of the same file. */
const CONSTANT = /^(?:export )?const ([A-Z][A-Z0-9_]*)(?:: number)? = ([\w .+*/()-]+?)(?: as const)?;$/;
/** Both ends of a range; they are `NAME.min` and `NAME.max`. */
const RANGE =
  /^(?:export )?const ([A-Z][A-Z0-9_]*) = \{ min: ([\w .+*/()-]+), max: ([\w .+*/()-]+)(?:, \w+: [\w.]+)* \}(?: as const)?;$/;
const BOUND = /_MAX(?:_MS|_S|_US)?$|_TIMEOUT_MS$|^[A-Z_]+_AHEAD_MAX_S$/;

/** All constants whose names say that they are a bound, in the order of files and lines. */
export function sourceConstants(): readonly SourceConstant[] {
  const files = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".ts"))
    .toSorted()
    .flatMap((file) => constantsOf(file, readFileSync(join(ROOT, "src", file), "utf8").split("\n")));
}

function constantsOf(file: string, lines: readonly string[]): SourceConstant[] {
  const values = new Map<string, number>();
  return lines.flatMap((line, at) => {
    const [, range, min = "", max = ""] = RANGE.exec(line) ?? [];
    if (range !== undefined) {
      return Object.entries({ min, max }).flatMap(([end, expression]) => {
        const value = evaluate(expression, values);
        const reason = commentAbove(lines, at);
        return value === undefined ? [] : [{ key: `${file} ${range}.${end}`, file, value, reason }];
      });
    }
    const [, name = "", expression = ""] = CONSTANT.exec(line) ?? [];
    const value = evaluate(expression, values);
    if (value === undefined) return [];
    values.set(name, value);
    return BOUND.test(name) ? [{ key: `${file} ${name}`, file, value, reason: commentAbove(lines, at) }] : [];
  });
}

/** undefined for what is no arithmetic. */
function evaluate(expression: string, known: ReadonlyMap<string, number>): number | undefined {
  const sum = /^(.+?) ([+-]) (.+)$/.exec(expression);
  if (sum?.[1] && sum[3]) {
    const [left, right] = [evaluate(sum[1], known), evaluate(sum[3], known)];
    return left === undefined || right === undefined
      ? undefined
      : sum[2] === "+"
        ? left + right
        : left - right;
  }
  const factors = expression.split(" * ").map((factor) => {
    const [base = Number.NaN, exponent = 1, ...more] = factor.split(" ** ").map((atom) => {
      const text = atom.replaceAll("_", "");
      return known.get(atom) ?? (/^\d+(?:\.\d+)?(?:e-?\d+)?$/.test(text) ? Number(text) : Number.NaN);
    });
    return more.length > 0 ? Number.NaN : base ** exponent;
  });
  const product = factors.reduce((all, factor) => all * factor, 1);
  return Number.isNaN(product) ? undefined : product;
}

/** The text of the comment that ends on the line before. */
function commentAbove(lines: readonly string[], at: number): string {
  if (!lines[at - 1]?.endsWith("*/")) return "";
  const from = lines.findLastIndex((line, i) => i < at && line.trimStart().startsWith("/**"));
  const text = lines.slice(from, at).map((line) => line.replaceAll(/^\s*\/?\*+\/?\s?|\s*\*\/$/g, ""));
  return text.join(" ").replaceAll(/\s+/g, " ").trim();
}
