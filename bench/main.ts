/** Every figure that we quote, reproducible: `npm run bench`. README.md beside it says how to read and to add one. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { PEERS, type Peer } from "./peers/peers.ts";
import { cellsText, peersText } from "./peers/report.ts";
import { isMet, lengthText, resultText } from "./report.ts";
import { type Reported, resultsPage } from "./results-page.ts";
import { startGenerator } from "./rounds.ts";
import type { BenchContext, Row } from "./row.ts";
import { asyncCreate } from "./rows/async-create.ts";
import { batching } from "./rows/batching.ts";
import { doors } from "./rows/doors.ts";
import { echo } from "./rows/echo.ts";
import { mlpCreate } from "./rows/mlp-create.ts";
import { overload } from "./rows/overload.ts";
import { comparePeers, PEER_ROUNDS } from "./rows/peers.ts";
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

  --only <row,…>       these rows only; of --peers, these peers
  --in-flight <n,…>    calls in flight, a table for each, for rows that take any (mlp-create, async-create)
  --workers <n,…>      values of AUSPEX_WORKERS to compare (default 1)
  --seconds <n>        length of one round (default 2)
  --rounds <n>         rounds per target, taken in turn (default 3)
  --json <file>        writes the figures there too
  --write              writes bench/RESULTS.md and bench/results.json, as is done when all rows run; with --peers PEERS.md
  --peers              no rows, but other servers beside this one, with the same models: ${PEERS.map(({ name }) => name).join(", ")}.
                       Installs them from Python's registry on first use. Ten minutes, with ${PEER_ROUNDS.rounds} rounds of ${PEER_ROUNDS.seconds} s
  --soak               no rows, but 200 loads and unloads, ten minutes of pictures, ten minutes among hostile
                       callers: does memory stay flat? And 1,000 kills under load: is anything lost? Two hours
  --help

Rows:
${ROWS.map(({ name, title }) => `  ${name.padEnd(20)} ${title}`).join("\n")}`;

const ROW_ROUNDS = { seconds: 2, rounds: 3 } as const;
const SOAK = { cycles: 200, minutes: 10 } as const;
const KILLS = 1000;

const ROWS_PAGE = {
  file: "RESULTS.md",
  data: "results.json",
  title: "What the bench printed",
  command: "npm run bench",
} as const;
const PEERS_PAGE = {
  file: "PEERS.md",
  data: "peers.json",
  title: "Auspex beside other servers",
  command: "npm run bench -- --peers",
} as const;

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

function pick<T extends { readonly name: string }>(
  kind: string,
  all: readonly T[],
  only: string | undefined,
): readonly T[] {
  if (only === undefined) return all;
  return only.split(",").map((name) => {
    const found = all.find((candidate) => candidate.name === name);
    if (!found)
      throw new UsageError(`there is no ${kind} ${name}; there are: ${all.map((r) => r.name).join(", ")}`);
    return found;
  });
}

function readOptions(argv: readonly string[]) {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: { type: "string" },
      "in-flight": { type: "string" },
      workers: { type: "string", default: "1" },
      seconds: { type: "string" },
      rounds: { type: "string" },
      json: { type: "string" },
      write: { type: "boolean", default: false },
      peers: { type: "boolean", default: false },
      soak: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const usual = values.peers ? PEER_ROUNDS : ROW_ROUNDS;
  const [seconds = usual.seconds] = numbers("seconds", values.seconds ?? String(usual.seconds), 600);
  const [rounds = usual.rounds] = wholes("rounds", values.rounds ?? String(usual.rounds), 1000);
  const peers: readonly Peer[] | undefined = values.peers ? pick("peer", PEERS, values.only) : undefined;
  return {
    help: values.help,
    soak: values.soak,
    peers,
    rows: values.peers ? [] : pick("row", ROWS, values.only),
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

interface Done extends Reported {
  /** undefined for what broke. */
  readonly result: object | undefined;
  readonly failed: boolean;
}

type Context = Omit<BenchContext, "generator">;

function secondsSince(beganMs: number): number {
  return (performance.now() - beganMs) / 1000;
}

/** Prints each peer's figures as they come, and all together at the end. They are compared, and have no goals. */
async function reportPeers(peers: readonly Peer[], context: Context): Promise<Done> {
  const began = performance.now();
  await using generator = startGenerator();
  const show = (text: string): void => {
    context.progress("");
    console.log(text);
  };
  const result = await comparePeers(peers, { ...context, generator }, (cells) => show(cellsText(cells)));
  const text = peersText(result);
  show(`\nAll together\n${text}`);
  const title = "Other servers with the same models beside this one; below 1 they are ahead";
  return { row: "peers", title, text, seconds: secondsSince(began), result, goals: [], failed: false };
}

/** Runs one row and prints it. A row that breaks is told and does not keep the others from running. */
async function report(row: Row, context: Context): Promise<Done> {
  const began = performance.now();
  await using generator = startGenerator();
  console.log(`\n${row.name}: ${row.title}`);
  try {
    const result = await row.run({ ...context, generator });
    context.progress("");
    const text = resultText(result);
    const seconds = secondsSince(began);
    console.log(`${text}\n\ntook ${lengthText(seconds)}`);
    return {
      row: row.name,
      title: row.title,
      text,
      seconds,
      result,
      goals: result.goals,
      failed: !result.goals.every(isMet),
    };
  } catch (error) {
    context.progress("");
    console.error(error);
    const text = `broke: ${error instanceof Error ? error.message : String(error)}`;
    return {
      row: row.name,
      title: row.title,
      text,
      seconds: secondsSince(began),
      result: undefined,
      goals: [],
      failed: true,
    };
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const { help, soak, peers, rows, json } = options;
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
  const occasion = { date: new Date().toISOString().slice(0, 10), commit: await commit(), machine: facts };
  const done: Done[] = [];
  if (peers) done.push(await reportPeers(peers, { ...options, progress }));
  for (const row of rows) done.push(await report(row, { ...options, progress }));
  const rowsData = done.map(({ row, text, seconds, result }) => ({
    row,
    seconds,
    ...(result ?? { broke: text }),
  }));
  const asJson = `${JSON.stringify({ ...occasion, rows: rowsData }, null, 2)}\n`;
  if (json !== undefined) await writeFile(json, asJson);
  const broken = done.filter(({ result }) => result === undefined).map(({ row }) => row);
  if (options.write && broken.length > 0) {
    console.log(`the page of results is left as it was, for a row broke: ${broken.join(", ")}`);
  } else if (options.write) {
    const page = peers ? PEERS_PAGE : ROWS_PAGE;
    await writeFile(join(import.meta.dirname, page.file), resultsPage(page, occasion, done));
    await writeFile(join(import.meta.dirname, page.data), asJson);
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
