import { expect, test } from "vitest";
import { checkAnswer, type ExpectedValues } from "../../bench/load-answer.ts";

const expected: ExpectedValues = {
  kind: "JSON values",
  values: [
    { at: ["status"], is: ["succeeded"] },
    { at: ["outputs", 0, "data"], is: [0.25, 0.75] },
  ],
  within: 1e-4,
};

function check(answer: unknown): boolean {
  return checkAnswer(expected, new TextEncoder().encode(JSON.stringify(answer)));
}

test.each([
  ["as it should be", [0.25, 0.75]],
  ["as near as it has to be", [0.25009, 0.74991]],
  ["as a row of a batch", [[0.25, 0.75]]],
])("takes an answer %s", (_, data) => {
  expect(check({ status: "succeeded", outputs: [{ data }], more: 1 })).toBe(true);
});

test.each([
  ["another number", { status: "succeeded", outputs: [{ data: [0.25, 0.7502] }] }],
  ["a number too few", { status: "succeeded", outputs: [{ data: [0.25] }] }],
  ["a number too many", { status: "succeeded", outputs: [{ data: [0.25, 0.75, 0] }] }],
  ["a text for a number", { status: "succeeded", outputs: [{ data: ["0.25", 0.75] }] }],
  ["another text", { status: "failed", outputs: [{ data: [0.25, 0.75] }] }],
  ["nothing there", { status: "succeeded", outputs: [] }],
  ["a text where it should go on", { status: "succeeded", outputs: "none" }],
  ["null", null],
])("refuses %s", (_, answer) => {
  expect(() => check(answer)).toThrow(/^a wrong answer: (?:status|outputs\.0\.data) should be /);
});
