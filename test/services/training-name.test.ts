import { expect, test } from "vitest";
import { NAME_PART } from "../../src/domain/model.ts";
import { slugOf } from "../../src/services/training.ts";

test.each([
  ["Beach and Mountain Model", "beach-and-mountain-model"],
  ["  Über-Hunde & Katzen!  ", "u-ber-hunde-katzen"],
  ["犬と猫", "model"],
  ["---", "model"],
  ["../../etc/passwd", "etc-passwd"],
])("the slug of %j is %s", (name, slug) => {
  expect(slugOf(name)).toBe(slug);
});

test("whatever the name, the model's is a model's name", () => {
  for (const name of ["x".repeat(180), `${"y".repeat(43)} z`, "-a-", "A.B_C"]) {
    expect(`${slugOf(name)}-${Number.MAX_SAFE_INTEGER}`).toMatch(NAME_PART);
  }
});
