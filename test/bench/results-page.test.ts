/** What the bench says of its figures: met or not, and the page that it writes. */
import { expect, test } from "vitest";
import { isMet, resultText } from "../../bench/report.ts";
import { resultsPage } from "../../bench/results-page.ts";

const LATENCY = { what: "p99 in ms | of all", value: 20, atMost: 20 };
const RATE = { what: "of the echo's", value: 0.349, atLeast: 0.35 };

test("a goal is met at its bound, and a figure that is none meets no goal", () => {
  expect(isMet(LATENCY)).toBe(true);
  expect(isMet({ ...LATENCY, value: 20.01 })).toBe(false);
  expect(isMet(RATE)).toBe(false);
  expect(isMet({ ...RATE, value: 0.35 })).toBe(true);
  for (const value of [Number.NaN]) {
    expect(isMet({ ...LATENCY, value })).toBe(false);
    expect(isMet({ ...RATE, value })).toBe(false);
  }
});

test("figures stand in columns, names from the left", () => {
  const figures = [
    {
      title: "a title",
      headings: ["", "ms"],
      lines: [
        ["one", "1.0"],
        ["another", "100.0"],
      ],
    },
  ];
  expect(resultText({ settings: { model: "MLP" }, tables: [], figures, goals: [RATE] })).toBe(
    [
      "  model  MLP",
      "",
      "a title",
      "              ms",
      "  one        1.0",
      "  another  100.0",
      "",
      "NOT MET  of the echo's: 0.349, goal at least 0.35",
    ].join("\n"),
  );
});

test("the page has the occasion, every goal and every row as it was printed", () => {
  const occasion = { date: "2026-11-28", commit: "0123456789ab", machine: { cpu: "2 × Some", node: "v24" } };
  const rows = [
    { row: "watchers", title: "who watches", text: "  figures\n  more", seconds: 59.4, goals: [LATENCY] },
    { row: "echo", title: "who answers", text: "  others", seconds: 62.2, goals: [RATE] },
  ];
  const page = { title: "What the bench printed", data: "results.json", command: "npm run bench" };
  expect(resultsPage(page, occasion, rows)).toBe(`# What the bench printed

Written by \`npm run bench\` when it has run all; not to be edited. \`results.json\` has the same figures.

2026-11-28, commit 0123456789ab, on 2 × Some, v24. It took 2 min 2 s.

## Goals

| row | figure | value | goal | |
|---|---|---|---|---|
| \`watchers\` | p99 in ms \\| of all | 20.000 | ≤ 20 | met |
| \`echo\` | of the echo's | 0.349 | ≥ 0.35 | **NOT MET** |

## watchers

who watches; took 59 s

\`\`\`text
  figures
  more
\`\`\`

## echo

who answers; took 1 min 2 s

\`\`\`text
  others
\`\`\`
`);
});
