/** Values in this dialect's forms. */
import { expect, test } from "vitest";
import { renderTime, shortest } from "../../../../src/transports/dialects/einstein-vision/render.ts";
import { renderDuration } from "../../../../src/transports/dialects/einstein-vision/render-training.ts";

const time = (text: string, nanos = 0) => ({
  $typeName: "google.protobuf.Timestamp" as const,
  seconds: BigInt(Date.parse(text) / 1000),
  nanos,
});

test("times have milliseconds and an offset without a colon", () => {
  expect(renderTime(time("2026-01-05T10:00:00Z"))).toBe("2026-01-05T10:00:00.000+0000");
  expect(renderTime(time("2026-01-05T10:00:00Z", 987_654_321))).toBe("2026-01-05T10:00:00.987+0000");
});

test.each([
  [0, "00:00:00:000"],
  [999, "00:00:00:999"],
  [61_005, "00:01:01:005"],
  [3_600_000 * 27 + 59_999, "27:00:59:999"],
])("%d ms is %s", (ms, text) => {
  expect(renderDuration(ms)).toBe(text);
});

test.each([
  [Math.fround(0.97554934), "0.97554934"],
  [Math.fround(0.3), "0.3"],
  [Math.fround(2.65e-4), "0.000265"],
  [Math.fround(1e-20), "1e-20"],
  [1, "1"],
  [0, "0"],
])("a float32 is printed by its fewest digits: %d", (value, text) => {
  expect(JSON.stringify(shortest(value))).toBe(text);
});
