/** `node bench/fuzz/main.ts`: a coverage-guided fuzzer on the parsers that are ours. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { installFuzzer } from "./install.ts";
import type { Target } from "./target.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const TARGETS = join(import.meta.dirname, "targets");
const DEFAULT_FOLDER = join(tmpdir(), "auspex-fuzzer");
/** An input that takes longer is a finding. */
const INPUT_MS = 5000;
/** One that makes the process larger is one too. */
const MEMORY_MIB = 2048;
const INPUT_BYTES = 4096;
/** Of the fuzzer's own detectors the one for changed prototypes is used; the others watch what no parser does. */
const OTHER_DETECTORS = ["command-injection", "path-traversal", "remote-code-execution", "ssrf"].flatMap(
  (name) => ["--disableBugDetectors", name],
);

const HELP = `node bench/fuzz/main.ts [options]

Runs each target for a while under jazzer.js, which goes where inputs reach new code, and prints how many inputs were
tried, how many edges were reached, and what was found. Ends with 1 on a finding; its input is kept and named.

  --seconds <n>        for each target (default 60)
  --only <name,…>      these targets only
  --to <folder>        where the fuzzer and the corpora lie (default ${DEFAULT_FOLDER}); a corpus grows from run to run
  --seed <n>           of the fuzzer (default 1)
  --json <file>        the table as JSON too
  --help`;

class UsageError extends Error {}

interface Row {
  readonly target: string;
  readonly claim: string;
  readonly seconds: number;
  /** Inputs tried. */
  readonly runs: number;
  /** Edges reached by the seeds (or by what an earlier run found), and in the end. */
  readonly edgesBefore: number;
  readonly edges: number;
  /** Inputs kept, each of which reaches something that none before did. */
  readonly corpus: number;
  /** Path of the input at fault, and what it broke. */
  readonly finding: { readonly input: string; readonly reason: string } | null;
}

async function readOptions(argv: readonly string[]) {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seconds: { type: "string", default: "60" },
      only: { type: "string" },
      to: { type: "string", default: DEFAULT_FOLDER },
      seed: { type: "string", default: "1" },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const known = (await readdir(TARGETS)).map((file) => basename(file, ".ts"));
  const wanted = values.only?.split(",") ?? known;
  for (const name of wanted) if (!known.includes(name)) throw new UsageError(`there is no target ${name}`);
  if (!/^[1-9][0-9]*$/.test(values.seconds)) throw new UsageError("--seconds must be a number from 1");
  return { ...values, targets: wanted, known };
}

/** What libFuzzer reads: one word a line, quoted. */
function dictionary(words: readonly string[]): string {
  const quoted = (word: string): string =>
    [...Buffer.from(word, "latin1")]
      .map((byte) =>
        byte > 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c
          ? String.fromCharCode(byte)
          : `\\x${byte.toString(16).padStart(2, "0")}`,
      )
      .join("");
  return words.map((word) => `"${quoted(word)}"\n`).join("");
}

async function fuzz(name: string, options: { seconds: string; seed: string; to: string }): Promise<Row> {
  const fuzzer = await installFuzzer(join(options.to, "jazzer"));
  const target = (await import(join(TARGETS, `${name}.ts`))) as Target;
  const [corpus, findings] = [join(options.to, "corpus", name), join(options.to, "findings", name)];
  for (const folder of [corpus, findings]) await mkdir(folder, { recursive: true });
  for (const seed of await target.seeds()) {
    const hash = createHash("sha1").update(seed).digest("hex");
    await writeFile(join(corpus, hash), seed);
  }
  const words = join(options.to, `${name}.dict`);
  // The fuzzer loads nothing but JavaScript by itself.
  const entry = join(options.to, `${name}.mjs`);
  const source = pathToFileURL(join(TARGETS, `${name}.ts`)).href;
  await writeFile(entry, `export { fuzz } from ${JSON.stringify(source)};\n`);
  await writeFile(words, dictionary(target.words ?? []));
  const own = [
    "--import",
    join(import.meta.dirname, "type-stripping.ts"),
    "--disable-warning=ExperimentalWarning",
  ];
  const jazzer = [
    ...[entry, "--timeout", String(INPUT_MS)],
    ...["--includes", join(ROOT, "src/"), "--includes", "/yauzl/", "--includes", "/@fastify/busboy/"],
    // The default leaves out whatever lies in a folder of packages.
    ...["--excludes", "/@jazzer.js/", ...OTHER_DETECTORS, corpus],
  ];
  const libFuzzer = [
    ...[`-max_total_time=${options.seconds}`, `-seed=${options.seed}`, `-dict=${words}`],
    ...[`-artifact_prefix=${findings}/`, `-rss_limit_mb=${MEMORY_MIB}`, "-print_final_stats=1"],
    `-max_len=${target.bytesMax ?? INPUT_BYTES}`,
  ];
  const began = performance.now();
  const output = await run([...own, fuzzer.cli, ...jazzer, "--", ...libFuzzer], fuzzer.env);
  return {
    ...readOutput(output),
    target: name,
    claim: target.claim,
    seconds: Math.round((performance.now() - began) / 1000),
  };
}

/** Everything that it printed. */
function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => resolve(output));
  });
}

function readOutput(output: string): Omit<Row, "target" | "claim" | "seconds"> {
  const progress = [...output.matchAll(/^#(\d+)\s+\w+\s+cov: (\d+) ft: \d+ corp: (\d+)/gm)];
  const [first, last] = [progress[0], progress.at(-1)];
  const done = /^Done (\d+) runs/m.exec(output)?.[1] ?? /number_of_executed_units:\s*(\d+)/.exec(output)?.[1];
  if (done === undefined && !last) throw new Error(`the fuzzer did not run:\n${output}`);
  const input = /Test unit written to (\S+)/.exec(output)?.[1];
  const reason = /^==\d+== (?:Uncaught Exception: )?(.+)$/m.exec(output)?.[1] ?? "";
  return {
    runs: Number(done ?? last?.[1]),
    // None when already a seed is a finding.
    edgesBefore: Number(first?.[2] ?? 0),
    edges: Number(last?.[2] ?? 0),
    corpus: Number(last?.[3] ?? 0),
    finding: input === undefined ? null : { input, reason },
  };
}

async function main(): Promise<void> {
  const { help, targets, known, json, ...options } = await readOptions(process.argv.slice(2));
  if (help) {
    console.log(`${HELP}\n\nTargets: ${known.join(", ")}`);
    return;
  }
  const rows: Row[] = [];
  for (const name of targets) {
    const row = await fuzz(name, options);
    rows.push(row);
    const { runs, seconds, edgesBefore, edges, corpus, finding } = row;
    console.log(
      `${name.padEnd(20)} ${String(runs).padStart(10)} inputs in ${seconds} s, edges ${edgesBefore} → ${edges}, ` +
        `${corpus} kept${finding ? `; FOUND ${finding.reason}\n  ${finding.input}` : ""}`,
    );
  }
  if (json !== undefined) await writeFile(json, `${JSON.stringify(rows, undefined, 2)}\n`);
  if (rows.some(({ finding }) => finding)) process.exitCode = 1;
}

main().catch((error: unknown) => {
  const isUsage =
    error instanceof UsageError ||
    (error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"));
  console.error(isUsage ? `${error.message}\n\n${HELP}` : error);
  process.exitCode = 2;
});
