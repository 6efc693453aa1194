/** CSV and JSON: a part for each row or object, of lines `name: value`. */
import { parse } from "csv-parse/sync";
import { AuspexError } from "../../../domain/error.ts";
import type { Parts } from "./parts.ts";

const DELIMITERS = [",", ";", "\t"];

/** The first row names the columns. */
export function readCsv(text: string, parts: Parts): void {
  const rows: string[][] = parse(text, {
    delimiter: delimiterOf(text),
    record_delimiter: ["\r\n", "\n", "\r"],
    relax_column_count: true,
    skip_empty_lines: true,
  });
  const [header, ...data] = rows;
  const names = header?.map((name, column) => name.trim() || `column ${column + 1}`) ?? [];
  for (const [index, row] of data.entries()) {
    const lines = row.flatMap((value, column) =>
      value.trim() === "" ? [] : [`${names[column] ?? `column ${column + 1}`}: ${value.trim()}`],
    );
    parts.add(lines.join("\n"), { row: index + 1 });
  }
}

/** Spreadsheets write semicolons where the comma is the decimal point: the one that the first line has most of. */
function delimiterOf(text: string): string {
  const first = /^[^\n]*/.exec(text)?.[0] ?? "";
  const counts = DELIMITERS.map((delimiter) => first.split(delimiter).length);
  return DELIMITERS[counts.indexOf(Math.max(...counts))] ?? ",";
}

export function readJson(text: string, parts: Parts): void {
  let value: unknown;
  try {
    value = parseJson(text, (_key, item, { source }) => (isRounded(item) ? source : item));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new AuspexError("invalid_argument", `it is not JSON: ${error.message.slice(0, 200)}`);
  }
  if (Array.isArray(value) && value.length > 0 && value.every(isObject)) {
    for (const [index, item] of value.entries()) {
      const lines = Object.entries(item).map(([name, field]) => `${name}: ${shown(field)}`);
      parts.add(lines.join("\n"), { row: index + 1 });
    }
  } else parts.add(typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

/** As Node has it: a number's text is told as well. */
const parseJson = JSON.parse as (
  text: string,
  reviver: (key: string, item: unknown, context: { readonly source?: string }) => unknown,
) => unknown;

/** Long ids are written as numbers, and would not be shown as they are. */
function isRounded(value: unknown): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
