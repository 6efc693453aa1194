/** JSON bodies: `countJsonValues`, and the reader of one dialect that says where a text goes wrong. */

import { readJson } from "../../../src/transports/dialects/wriftai/json.ts";
import { countJsonValues } from "../../../src/transports/json-values.ts";
import { holds, noPollution } from "../target.ts";

export const claim =
  "No text has more values than were counted in it before it was read; a text is read exactly when it is JSON, and else its fault lies within it.";

function valuesIn(root: unknown): number {
  let count = 0;
  const left = [root];
  while (left.length > 0) {
    const item = left.pop();
    count++;
    if (typeof item === "object" && item !== null) for (const child of Object.values(item)) left.push(child);
  }
  return count;
}

export function fuzz(data: Buffer): void {
  const text = data.toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const reading = readJson(text);
  noPollution();
  if (value === undefined) {
    holds(reading.kind === "invalid", "what is no JSON is not read");
    holds(reading.message !== "" && reading.offset >= 0, "a fault has a place");
    holds(reading.offset <= [...text].length, "a fault lies within the text");
    return;
  }
  holds(reading.kind === "value", "what is JSON is read");
  // The root needs no sign of its own.
  holds(valuesIn(value) <= countJsonValues(Buffer.from(text)) + 1, "values are not counted too few");
}

export const seeds = (): readonly string[] => [
  '{"a":[1,2,{"b":"\\u00e9\\n"}],"c":-1.5e3}',
  "[[],{},true,false,null]",
  '"\ud83d\ude00"',
  '{"a":01}',
  '{"__proto__":1,"a":1,"a":2}',
];

export const words = ["\\u", "\\", '"', "e+", "true", "null", "__proto__", "\xf0\x9f\x98\x80"];
