/** The bench's figures as text. */
import type { Measurement } from "./rounds.ts";
import type { Figures, Goal, RowResult, Table } from "./row.ts";
import type { Spread } from "./statistics.ts";

export const whole = (value: number): string => (Number.isNaN(value) ? "n/a" : value.toFixed(0));
export const milliseconds = (micros: number): string => (micros / 1000).toFixed(2);
export const ranged = ({ median, min, max }: Spread): string =>
  `${whole(median)} (${whole(min)}–${whole(max)})`;

type Column = readonly [heading: string, cell: (m: Measurement, floor: Measurement) => string];

/** Names are read from the left, figures compared from the right. */
export function aligned(lines: readonly (readonly string[])[]): readonly string[] {
  const columns = Math.max(...lines.map((line) => line.length));
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(...lines.map((line) => line[i]?.length ?? 0)),
  );
  return lines.map((line) =>
    line
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}

const COLUMNS: readonly Column[] = [
  ["", (m) => m.name],
  ["answers/s (min–max)", (m) => ranged(m.rate)],
  ["of floor", (m, floor) => (m.rate.median / floor.rate.median).toFixed(2)],
  ["p50 ms", (m) => milliseconds(m.p50.median)],
  ["p95", (m) => milliseconds(m.p95.median)],
  ["p99", (m) => milliseconds(m.p99.median)],
  ["CPU µs/answer: main", (m) => whole(m.mainCpu.median)],
  ["workers", (m) => whole(m.workerCpu.median)],
  ["generator", (m) => whole(m.generatorCpu.median)],
  ["answers", (m) => whole(m.requests)],
  ["checked", (m) => whole(m.checked)],
];

export function tableText({ title, measurements }: Table): string {
  const [floor] = measurements;
  if (!floor) return title;
  return figuresText({
    title,
    headings: COLUMNS.map(([heading]) => heading),
    lines: measurements.map((m) => COLUMNS.map(([, cell]) => cell(m, floor))),
  });
}

function figuresText({ title, headings, lines }: Figures): string {
  return [title, ...aligned([headings, ...lines]).map((line) => `  ${line}`)].join("\n");
}

/** A value that is no number, where the system does not say, meets nothing. */
export function isMet(goal: Goal): boolean {
  return "atLeast" in goal ? goal.value >= goal.atLeast : goal.value <= goal.atMost;
}

function goalText(goal: Goal): string {
  const bound = "atLeast" in goal ? `at least ${goal.atLeast}` : `at most ${goal.atMost}`;
  const digits = goal.value >= 100 ? 0 : 3;
  return `${isMet(goal) ? "met    " : "NOT MET"}  ${goal.what}: ${goal.value.toFixed(digits)}, goal ${bound}`;
}

export function resultText({ settings, tables, figures = [], goals }: RowResult): string {
  const width = Math.max(...Object.keys(settings).map((name) => name.length));
  return [
    ...Object.entries(settings).map(([name, value]) => `  ${name.padEnd(width)}  ${value}`),
    ...tables.map((table) => `\n${tableText(table)}`),
    ...figures.map((each) => `\n${figuresText(each)}`),
    ...goals.map(
      (goal) => `
${goalText(goal)}`,
    ),
  ].join("\n");
}

/** `842` → `14 min 2 s` */
export function lengthText(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
