/** What turns measurements into figures and goals. */
import { expect, test } from "vitest";
import { readFinished } from "../../bench/finished.ts";
import { isMet, resultText } from "../../bench/report.ts";

test("a goal is a lower or an upper bound, and what is no number meets neither", () => {
  expect(isMet({ what: "rate", value: 4000, atLeast: 4000 })).toBe(true);
  expect(isMet({ what: "rate", value: 3999, atLeast: 4000 })).toBe(false);
  expect(isMet({ what: "ratio", value: 1.5, atMost: 1.5 })).toBe(true);
  expect(isMet({ what: "ratio", value: 1.51, atMost: 1.5 })).toBe(false);
  expect(isMet({ what: "ratio", value: Number.NaN, atMost: 1.5 })).toBe(false);
  expect(isMet({ what: "ratio", value: Number.NaN, atLeast: 0 })).toBe(false);
});

test("a goal's text says which bound it has", () => {
  const goals = [
    { what: "rate", value: 4123.4, atLeast: 4000 },
    { what: "ratio", value: 1.6, atMost: 1.5 },
  ];
  const text = resultText({ settings: {}, tables: [], goals });
  expect(text).toContain("met      rate: 4123, goal at least 4000");
  expect(text).toContain("NOT MET  ratio: 1.600, goal at most 1.5");
});

test("finished predictions are read from the metrics by their status", () => {
  const metrics = `# TYPE auspex_predictions_settled_total counter
auspex_predictions_settled_total{status="succeeded"} 120
auspex_predictions_settled_total{status="failed"} 2
auspex_predictions_settled_total{status="canceled"} 1
auspex_predictions_unfinished 7
`;
  expect(readFinished(metrics)).toEqual({ unfinished: 7, succeeded: 120, otherwise: 3 });
});

test("before anything is finished there is no count of it", () => {
  expect(readFinished("auspex_predictions_unfinished 0\n")).toEqual({
    unfinished: 0,
    succeeded: 0,
    otherwise: 0,
  });
});
