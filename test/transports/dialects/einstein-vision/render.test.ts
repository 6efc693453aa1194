/** Values in this dialect's forms. */
import { expect, it, test } from "vitest";
import { insideId, outsideId } from "../../../../src/transports/dialects/einstein-vision/outside-id.ts";
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

it("writes the 128 bits of an id in 26 characters, and reads them again", () => {
  for (const id of [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "019c0000-1234-7000-8000-0123456789ab",
  ]) {
    expect(outsideId(id)).toMatch(/^[A-Z2-7]{26}$/);
    expect(insideId(outsideId(id))).toBe(id);
  }
  // By RFC 4648's own alphabet.
  expect(outsideId("00000000-0000-0000-0000-000000000001")).toBe("AAAAAAAAAAAAAAAAAAAAAAAAAE");
  for (const text of ["", "A".repeat(25), "a".repeat(26), "A".repeat(27), "1".repeat(26)]) {
    expect(insideId(text)).toBeUndefined();
  }
});
