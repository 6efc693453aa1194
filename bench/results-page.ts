/** The figures of a whole run as the page that the README refers to: what was printed, and what it was printed of. */
import { isMet, lengthText } from "./report.ts";
import type { Goal } from "./row.ts";

export interface Reported {
  readonly row: string;
  readonly title: string;
  /** As it was printed. */
  readonly text: string;
  /** From its start to its figures, installing and warming up included. */
  readonly seconds: number;
  readonly goals: readonly Goal[];
}

export interface Occasion {
  /** YYYY-MM-DD */
  readonly date: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, string>>;
}

/** What a page is of. */
export interface Page {
  readonly title: string;
  /** Of its data, beside it. */
  readonly data: string;
  readonly command: string;
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

function goalRow(row: string, goal: Goal): string {
  const bound = "atLeast" in goal ? `≥ ${goal.atLeast}` : `≤ ${goal.atMost}`;
  const value = goal.value.toFixed(Math.abs(goal.value) >= 100 ? 0 : 3);
  return `| \`${row}\` | ${cell(goal.what)} | ${value} | ${bound} | ${isMet(goal) ? "met" : "**NOT MET**"} |`;
}

export function resultsPage(
  { title, data, command }: Page,
  { date, commit, machine }: Occasion,
  rows: readonly Reported[],
): string {
  const took = lengthText(rows.reduce((sum, { seconds }) => sum + seconds, 0));
  const goals = rows.flatMap(({ row, goals: own }) => own.map((goal) => goalRow(row, goal)));
  return [
    `# ${title}`,
    `Written by \`${command}\` when it has run all; not to be edited. \`${data}\` has the same figures.`,
    `${date}, commit ${commit}, on ${Object.values(machine).join(", ")}. It took ${took}.`,
    ...(goals.length === 0
      ? []
      : ["## Goals", ["| row | figure | value | goal | |", "|---|---|---|---|---|", ...goals].join("\n")]),
    ...rows.flatMap(({ row, title, text, seconds }) => [
      `## ${row}`,
      `${title}; took ${lengthText(seconds)}`,
      `\`\`\`text\n${text}\n\`\`\``,
    ]),
    "",
  ]
    .join("\n\n")
    .replace(/\n+$/, "\n");
}
