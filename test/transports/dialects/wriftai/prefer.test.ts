import { expect, it } from "vitest";
import { preferredWait } from "../../../../src/transports/dialects/wriftai/prefer.ts";

it.each([
  ["wait=10", 10],
  ["respond-async, wait=10", 10],
  ["wait=10, respond-async", 10],
  ["WAIT = 10", 10],
  ['wait="10"', 10],
  ["wait=10; foo=bar", 10],
  ["wait=10, wait=20", 10],
  ['foo="a, wait=3", wait=5', 5],
  ['foo="\\", wait=3", wait=5', 5],
  ["wait=0", 0],
  ["wait=99999999999999999999", 1e20],
  ["", 0],
  ["wait", 0],
  ["wait=", 0],
  ["wait=-5", 0],
  ["wait=1.5", 0],
  ["wait=ten", 0],
  ["wait==5", 0],
  ["wait 5", 0],
  ["waiting=5", 0],
  ["return=minimal", 0],
  ["x;wait=5", 0],
])("Prefer: %s waits %d s", (header, seconds) => {
  expect(preferredWait(header)).toBe(seconds);
});
