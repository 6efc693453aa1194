import { describe, expect, it } from "vitest";
import { BODY_DEPTH_MAX, readJson } from "../../../../src/transports/dialects/wriftai/json.ts";

/** Text, offset in characters and message as CPython 3.11's `json.loads` has them. */
const FAULTS: readonly (readonly [string, number, string])[] = [
  ["", 0, "Expecting value"],
  ["{", 1, "Expecting property name enclosed in double quotes"],
  ['{"', 1, "Unterminated string starting at"],
  ['{"a', 1, "Unterminated string starting at"],
  ['{"a"', 4, "Expecting ':' delimiter"],
  ['{"a":', 5, "Expecting value"],
  ['{"model": ', 10, "Expecting value"],
  ['{"a":1', 6, "Expecting ',' delimiter"],
  ['{"a":1,', 7, "Expecting property name enclosed in double quotes"],
  ['{"a":1,}', 7, "Expecting property name enclosed in double quotes"],
  ['{"model":"a/b",}', 15, "Expecting property name enclosed in double quotes"],
  ["[", 1, "Expecting value"],
  ["[1", 2, "Expecting ',' delimiter"],
  ["[1,", 3, "Expecting value"],
  ["[1,]", 3, "Expecting value"],
  ["[1 2]", 3, "Expecting ',' delimiter"],
  ["[1 ", 3, "Expecting ',' delimiter"],
  ['{"a" 1}', 5, "Expecting ':' delimiter"],
  ['{"a":"\u0001"}', 6, "Invalid control character at"],
  ['"\n"', 1, "Invalid control character at"],
  ['"a\tb"', 2, "Invalid control character at"],
  ['{"a":"\\x"}', 6, "Invalid \\escape"],
  ['{"a":"\\u12"}', 7, "Invalid \\uXXXX escape"],
  ['{"a":"\\u12', 7, "Invalid \\uXXXX escape"],
  ['{"a":"\\uZZZZ"}', 7, "Invalid \\uXXXX escape"],
  ['"\\u1234', 2, "Invalid \\uXXXX escape"],
  ['"\\u123', 2, "Invalid \\uXXXX escape"],
  ['"\\ud83d\\uZZZZ"', 8, "Invalid \\uXXXX escape"],
  ['"\\ud83d\\u12', 8, "Invalid \\uXXXX escape"],
  ['{"a":"\\', 5, "Unterminated string starting at"],
  ['"', 0, "Unterminated string starting at"],
  ['"abc', 0, "Unterminated string starting at"],
  ["tru", 0, "Expecting value"],
  ["nul", 0, "Expecting value"],
  ["tRue", 0, "Expecting value"],
  ["[tru]", 1, "Expecting value"],
  ["-", 0, "Expecting value"],
  ["-a", 0, "Expecting value"],
  ["-Inf", 0, "Expecting value"],
  ["01", 1, "Extra data"],
  ["-01", 2, "Extra data"],
  ["[01]", 2, "Expecting ',' delimiter"],
  ["1.", 1, "Extra data"],
  ["1.e", 1, "Extra data"],
  ["1e", 1, "Extra data"],
  ["1e+", 1, "Extra data"],
  [".5", 0, "Expecting value"],
  ["+1", 0, "Expecting value"],
  ["0x1", 1, "Extra data"],
  ["1_000", 1, "Extra data"],
  ["{1:2}", 1, "Expecting property name enclosed in double quotes"],
  ["{'a':1}", 1, "Expecting property name enclosed in double quotes"],
  ["[1,,2]", 3, "Expecting value"],
  [",", 0, "Expecting value"],
  ["}", 0, "Expecting value"],
  ["]", 0, "Expecting value"],
  ["{}}", 2, "Extra data"],
  ["1 2", 2, "Extra data"],
  ["{} x", 3, "Extra data"],
  ['{"a":1 "b":2}', 7, "Expecting ',' delimiter"],
  ['{"a":1;', 6, "Expecting ',' delimiter"],
  ["{,}", 1, "Expecting property name enclosed in double quotes"],
  ["[,1]", 1, "Expecting value"],
  ["\t\n\r ", 4, "Expecting value"],
  ["\u000b1", 0, "Expecting value"],
  ["\u00a01", 0, "Expecting value"],
  ["{ ", 2, "Expecting property name enclosed in double quotes"],
  ['{"a" ', 5, "Expecting ':' delimiter"],
  ['{"a": ', 6, "Expecting value"],
  ['{"a":1 ', 7, "Expecting ',' delimiter"],
  ['{"a":1, ', 8, "Expecting property name enclosed in double quotes"],
  ['"\\/"x', 4, "Extra data"],
  ['{"\ud83d\ude00":"\ud83d\ude00" x', 9, "Expecting ',' delimiter"],
  ['["\ud83d\ude00\ud83d\ude00",]', 6, "Expecting value"],
  ["\ud83d\ude00", 0, "Expecting value"],
  ['{"a":[{"b":[1,{"c":}]}]}', 19, "Expecting value"],
  ["[}", 1, "Expecting value"],
  ['{"a":1]', 6, "Expecting ',' delimiter"],
  ["[1}", 2, "Expecting ',' delimiter"],
  ['"\u007f"x', 3, "Extra data"],
];

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

describe("a JSON text", () => {
  it.each(FAULTS)("%j is wrong at %i: %s", (text, offset, message) => {
    expect(readJson(text)).toEqual({ kind: "invalid", offset, message });
  });

  it.each(["NaN", "Infinity", "-Infinity"])("does not have %s, which Python takes", (text) => {
    expect(readJson(text)).toEqual({ kind: "invalid", offset: 0, message: "Expecting value" });
  });

  it.each(['{"a":1,"a":2}', "1", "null", '"\\ud83d"', " [ ] ", "-0.5e-3"])("%s is read", (text) => {
    expect(readJson(text)).toEqual({ kind: "value", value: JSON.parse(text) });
  });

  it("leaves prototypes alone", () => {
    const reading = readJson('{"__proto__":{"polluted":true},"constructor":1}');
    expect(reading.kind).toBe("value");
    expect(Object.hasOwn((reading as { value: object }).value, "__proto__")).toBe(true);
    expect("polluted" in {}).toBe(false);
  });

  it("may be nested to the limit and not deeper", () => {
    expect(readJson(nested(BODY_DEPTH_MAX)).kind).toBe("value");
    expect(readJson(nested(BODY_DEPTH_MAX + 1))).toEqual({ kind: "too_deep" });
    expect(readJson(`{"a":${'{"a":'.repeat(BODY_DEPTH_MAX)}1${"}".repeat(BODY_DEPTH_MAX)}}`).kind).toBe(
      "too_deep",
    );
  });

  it("of 10^5 levels is refused, whole or cut", () => {
    expect(readJson(nested(100_000))).toEqual({ kind: "too_deep" });
    expect(readJson("[".repeat(100_000))).toEqual({
      kind: "invalid",
      offset: 100_000,
      message: "Expecting value",
    });
    expect(readJson('{"a":'.repeat(100_000))).toMatchObject({ kind: "invalid", offset: 500_000 });
  });
});
