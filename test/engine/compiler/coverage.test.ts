/** No operator joins the table without being held against TF.js. (The layers' tests say so of themselves.) */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { OPERATOR_FAMILIES, OPERATORS } from "../../../src/engine/compiler/operators/operators.ts";

test("every operator is named in a test", () => {
  const folders = [import.meta.dirname, join(import.meta.dirname, "operators")];
  const texts = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((file) => file.endsWith(".test.ts") && file !== "coverage.test.ts")
      .map((file) => readFileSync(join(folder, file), "utf8")),
  );
  const named = new Set(texts.flatMap((text) => text.match(/\b\w+\b/g) ?? []));
  expect(Object.keys(OPERATORS).filter((name) => !named.has(name))).toEqual([]);
});

test("no operator is in two families", () => {
  const names = Object.values(OPERATOR_FAMILIES).flatMap((family) => Object.keys(family));
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});
