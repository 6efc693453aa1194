/**
 * JSON text as CPython's `json` module reads it, because the clients of this dialect know a bad text by that
 * module's message and offset (FastAPI passes both on). `JSON.parse` does the reading; only when it fails is the
 * text scanned again for the place, so that a good request pays nothing.
 *
 * One deliberate difference: the literals NaN, Infinity and -Infinity, which Python takes, are refused as
 * "Expecting value". They are not JSON (RFC 8259 §6) and no model input can carry them onward.
 */
import type { JsonValue } from "../../../domain/payload.ts";

/**
 * Levels of nesting in a whole body. About where CPython's own reader gives up (its recursion limit of 1000), and
 * far inside what `JSON.stringify` can echo without exhausting the stack. The input's own, lower limit is
 * MAX_JSON_DEPTH, which the services hold.
 */
export const BODY_DEPTH_MAX = 1000;

export type JsonReading =
  | { readonly kind: "value"; readonly value: JsonValue }
  /** `offset` counts characters (code points) from 0, `message` is CPython's. */
  | { readonly kind: "invalid"; readonly offset: number; readonly message: string }
  | { readonly kind: "too_deep" };

export function readJson(text: string): JsonReading {
  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch {
    return locateFault(text);
  }
  return isDeeper(value, text.length) ? { kind: "too_deep" } : { kind: "value", value };
}

/** Counts without recursion; a text that is too short to be that deep is not looked at. */
function isDeeper(value: JsonValue, textLength: number): boolean {
  if (textLength < 2 * BODY_DEPTH_MAX) return false;
  let level: JsonValue[] = [value];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > BODY_DEPTH_MAX) return true;
    const next: JsonValue[] = [];
    for (const item of level) {
      if (typeof item !== "object" || item === null) continue;
      for (const child of Object.values(item)) {
        if (typeof child === "object" && child !== null) next.push(child);
      }
    }
    level = next;
  }
  return false;
}

class Fault extends Error {
  override readonly name = "Fault";
  /** In UTF-16 code units. */
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

function locateFault(text: string): JsonReading {
  try {
    scan(text);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    let offset = 0;
    for (const _ of text.slice(0, error.at)) offset++;
    return { kind: "invalid", offset, message: error.message };
  }
  // The scanner follows the same grammar as JSON.parse; were it ever to find nothing, the text is bad all the same.
  return { kind: "invalid", offset: 0, message: "Expecting value" };
}

/** Walks the text without recursion, so that 10^5 opening brackets are a fault like any other. */
function scan(text: string): void {
  const open: ("{" | "[")[] = [];
  let at = skipBlanks(text, 0);
  for (;;) {
    const char = text[at];
    if (char === "{" || char === "[") {
      at = skipBlanks(text, at + 1);
      open.push(char);
      if (text[at] !== closerOf(char)) {
        if (char === "{") at = scanKey(text, at);
        continue;
      }
    } else {
      at = scanScalar(text, at);
    }
    const next = scanAfterValue(text, at, open);
    if (next === undefined) return;
    at = next;
  }
}

const closerOf = (opener: "{" | "[") => (opener === "{" ? "}" : "]");

/** From behind a value to where the next one is expected; undefined at the proper end of the text. */
function scanAfterValue(text: string, from: number, open: ("{" | "[")[]): number | undefined {
  let at = skipBlanks(text, from);
  for (let inside = open.at(-1); inside !== undefined; inside = open.at(-1)) {
    if (text[at] === closerOf(inside)) {
      open.pop();
      at = skipBlanks(text, at + 1);
      continue;
    }
    if (text[at] !== ",") throw new Fault("Expecting ',' delimiter", at);
    at = skipBlanks(text, at + 1);
    return inside === "{" ? scanKey(text, at) : at;
  }
  if (at < text.length) throw new Fault("Extra data", at);
  return undefined;
}

/** A member's key and colon; answers where its value is expected. */
function scanKey(text: string, from: number): number {
  if (text[from] !== '"') throw new Fault("Expecting property name enclosed in double quotes", from);
  const at = skipBlanks(text, scanString(text, from));
  if (text[at] !== ":") throw new Fault("Expecting ':' delimiter", at);
  return skipBlanks(text, at + 1);
}

const BLANKS = /[ \t\n\r]*/y;

function skipBlanks(text: string, from: number): number {
  BLANKS.lastIndex = from;
  BLANKS.test(text);
  return BLANKS.lastIndex;
}

/** CPython takes as much of a number as is one: `01` is a 0 with something behind it. */
const SCALAR = /null|true|false|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;

function scanScalar(text: string, from: number): number {
  if (text[from] === '"') return scanString(text, from);
  SCALAR.lastIndex = from;
  if (!SCALAR.test(text)) throw new Fault("Expecting value", from);
  return SCALAR.lastIndex;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const STRING_STOP = /["\\\u0000-\u001f]/g;
const UNICODE_ESCAPE = /u[0-9a-fA-F]{4}/y;

/** Answers the position behind the closing quote. */
function scanString(text: string, quote: number): number {
  let at = quote + 1;
  for (;;) {
    STRING_STOP.lastIndex = at;
    const stop = STRING_STOP.exec(text);
    if (!stop) throw new Fault("Unterminated string starting at", quote);
    at = stop.index;
    if (stop[0] === '"') return at + 1;
    if (stop[0] !== "\\") throw new Fault("Invalid control character at", at);
    const escaped = text[at + 1];
    if (escaped === undefined) throw new Fault("Unterminated string starting at", quote);
    if (escaped === "u") {
      UNICODE_ESCAPE.lastIndex = at + 1;
      // Four digits that end the text are refused here too, as CPython does: no quote can follow.
      if (!UNICODE_ESCAPE.test(text) || at + 6 >= text.length)
        throw new Fault("Invalid \\uXXXX escape", at + 1);
      at += 6;
    } else {
      if (!'"\\/bfnrt'.includes(escaped)) throw new Fault("Invalid \\escape", at);
      at += 2;
    }
  }
}
