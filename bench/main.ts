/** Every figure that we quote, reproducible: `npm run bench`. README.md beside it says how to read and to add one. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { isMet, resultText } from "./report.ts";
import { type Reported, resultsPage } from "./results-page.ts";
import { startGenerator } from "./rounds.ts";
import type { BenchContext, Row } from "./row.ts";
import { asyncCreate } from "./rows/async-create.ts";
import { batching } from "./rows/batching.ts";
import { doors } from "./rows/doors.ts";
import { echo } from "./rows/echo.ts";
import { mlpCreate } from "./rows/mlp-create.ts";
import { overload } from "./rows/overload.ts";
import { photographs } from "./rows/photographs.ts";
import { pictures } from "./rows/pictures.ts";
import { reload } from "./rows/reload.ts";
import { retrieval } from "./rows/retrieval.ts";
import { runtimes } from "./rows/runtimes.ts";
import { start } from "./rows/start.ts";
import { training } from "./rows/training.ts";
import { watchers } from "./rows/watchers.ts";

const ROWS: readonly Row[] = [
  echo,
  doors,
  mlpCreate,
  asyncCreate,
  watchers,
  overload,
  reload,
  start,
  runtimes,
  photographs,
  pictures,
  batching,
  training,
  retrieval,
];

const HELP = `npm run bench -- [options]

Runs the rows below against their floors, on this machine and over loopback alone, and prints the figures.
Exits with 1 when a goal is missed.

  --only <row,…>       these rows only
  --in-flight <n,…>    calls in flight, a table for each, for rows that take any (mlp-create, async-create)
  --workers <n,…>      values of AUSPEX_WORKERS to compare (default 1)
  --seconds <n>        length of one round (default 2)
  --rounds <n>         rounds per target, taken in turn (default 3)
  --json <file>        writes the figures there too
  --write              writes bench/RESULTS.md and bench/results.json, as is done when all rows run
  --soak               no rows, but 200 loads and unloads, ten minutes of pictures, ten minutes among hostile
                       callers: does memory stay flat? And 1,000 kills under load: is anything lost? Two hours
  --help

Rows:
${ROWS.map(({ name, title }) => `  ${name.padEnd(20)} ${title}`).join("\n")}`;

const SOAK = { cycles: 200, minutes: 10 } as const;
const KILLS = 1000;

class UsageError extends Error {}

function numbers(option: string, text: string, max: number): readonly number[] {
  return text.split(",").map((item) => {
    const value = Number(item);
    if (item.trim() === "" || !(value > 0 && value <= max)) {
      throw new UsageError(`--${option} takes numbers above 0 and up to ${max}, not ${JSON.stringify(item)}`);
    }
    return value;
  });
}

function wholes(option: string, text: string, max: number): readonly number[] {
  const values = numbers(option, text, max);
  if (!values.every(Number.isInteger)) throw new UsageError(`--${option} takes whole numbers, not ${text}`);
  return values;
}

function pickRows(only: string | undefined): readonly Row[] {
  if (only === undefined) return ROWS;
  return only.split(",").map((name) => {
    const row = ROWS.find((candidate) => candidate.name === name);
    if (!row)
      throw new UsageError(`there is no row ${name}; there are: ${ROWS.map((r) => r.name).join(", ")}`);
    return row;
  });
}

function readOptions(argv: readonly string[]) {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: { type: "string" },
      "in-flight": { type: "string" },
      workers: { type: "string", default: "1" },
      seconds: { type: "string", default: "2" },
      rounds: { type: "string", default: "3" },
      json: { type: "string" },
      write: { type: "boolean", default: false },
      soak: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [seconds = 2] = numbers("seconds", values.seconds, 600);
  const [rounds = 3] = wholes("rounds", values.rounds, 1000);
  return {
    help: values.help,
    soak: values.soak,
    rows: pickRows(values.only),
    inFlight: values["in-flight"] === undefined ? undefined : wholes("in-flight", values["in-flight"], 4096),
    workers: wholes("workers", values.workers, 256),
    seconds,
    rounds,
    json: values.json,
    write: values.write || values.only === undefined,
  };
}

/** Figures mean nothing without the machine that made them. */
function machine(): Readonly<Record<string, string>> {
  return {
    cpu: `${availableParallelism()} × ${cpus()[0]?.model ?? "unknown"}`,
    memory: `${(totalmem() / 1024 ** 3).toFixed(1)} GiB`,
    node: `${process.version} on ${process.platform} ${process.arch}`,
  };
}

/** Of what stands in the working tree; "unknown" outside of a checkout. */
async function commit(): Promise<string> {
  const git = async (...args: readonly string[]) =>
    (await promisify(execFile)("git", args, { cwd: import.meta.dirname })).stdout.trim();
  try {
    const changed = await git("status", "--porcelain", "--", "..", ":!RESULTS.md", ":!results.json");
    return `${await git("rev-parse", "--short=12", "HEAD")}${changed === "" ? "" : " with changes"}`;
  } catch {
    return "unknown";
  }
}

/** Runs one row and prints it. A row that breaks is told and does not keep the others from running. */
async function report(row: Row, context: Omit<BenchContext, "generator">) {
  await using generator = startGenerator();
  console.log(`\n${row.name}: ${row.title}`);
  try {
    const result = await row.run({ ...context, generator });
    context.progress("");
    const text = resultText(result);
    console.log(text);
    return { row: row.name, title: row.title, text, result, failed: !result.goals.every(isMet) };
  } catch (error) {
    context.progress("");
    console.error(error);
    const text = `broke: ${error instanceof Error ? error.message : String(error)}`;
    return { row: row.name, title: row.title, text, result: undefined, failed: true };
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const { help, soak, rows, json } = options;
  if (help) {
    console.log(HELP);
    return;
  }
  const facts = machine();
  console.log(Object.values(facts).join(", "));
  const progress = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  };
  if (soak) {
    const { soakMemory } = await import("./soak/memory.ts");
    const { soakKills } = await import("./soak/kills.ts");
    const { soakHostile } = await import("./soak/hostile.ts");
    const passed = [
      await soakMemory({ ...SOAK, progress }),
      await soakHostile(SOAK.minutes, progress),
      await soakKills(KILLS, progress),
    ];
    if (!passed.every(Boolean)) process.exitCode = 1;
    return;
  }
  const done: Awaited<ReturnType<typeof report>>[] = [];
  for (const row of rows) done.push(await report(row, { ...options, progress }));
  const occasion = { date: new Date().toISOString().slice(0, 10), commit: await commit(), machine: facts };
  const figures = {
    ...occasion,
    rows: done.map(({ row, text, result }) => ({ row, ...(result ?? { broke: text }) })),
  };
  const asJson = `${JSON.stringify(figures, null, 2)}\n`;
  if (json !== undefined) await writeFile(json, asJson);
  if (options.write) {
    const reported: Reported[] = done.map(({ result, ...each }) => ({ ...each, goals: result?.goals ?? [] }));
    await writeFile(join(import.meta.dirname, "RESULTS.md"), resultsPage(occasion, reported));
    await writeFile(join(import.meta.dirname, "results.json"), asJson);
  }
  if (done.some(({ failed }) => failed)) process.exitCode = 1;
}

function isUsageError(error: unknown): error is Error {
  if (error instanceof UsageError) return true;
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}

main().catch((error: unknown) => {
  console.error(isUsageError(error) ? `${error.message}\n\n${HELP}` : error);
  process.exitCode = 2;
});
