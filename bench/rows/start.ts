/** From starting the server to "ready", beside what a process and the runtime's load of the same models take alone. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { startServer } from "../../test/harness.ts";
import { writeMlp } from "../../test/models/mlp.ts";
import type { BenchContext, Figures, Row, RowResult } from "../row.ts";
import { spread } from "../statistics.ts";

const CATALOGUE = join(import.meta.dirname, "..", "..", "catalog", ".cache");
const FLOOR = join(import.meta.dirname, "..", "start-floor.ts");

interface Start {
  readonly name: string;
  /** Milliseconds. */
  readonly run: () => Promise<number>;
  /** What it is compared with. */
  readonly of: string;
  readonly times: number[];
}

/** The folders of the pulled catalogue's versions; beside them lie what tests and checks have pulled, under a dot. */
async function catalogueFolders(): Promise<readonly string[]> {
  const found = await readdir(CATALOGUE, { recursive: true });
  return found
    .filter((path) => path.endsWith("auspex.json") && !path.startsWith("."))
    .map((path) => join(CATALOGUE, path, ".."));
}

/** From the start of a process to its end. */
async function processMs(...args: readonly string[]): Promise<number> {
  const began = performance.now();
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const [code] = (await once(child, "exit")) as [number | null];
  const ms = performance.now() - began;
  if (code !== 0) throw new Error(`a process of the floor ended with ${code}: ${complaint}`);
  return ms;
}

async function serverMs(settings: Readonly<Record<string, string>>): Promise<number> {
  await using server = await startServer({
    settings: { WORKERS: String(availableParallelism()), ...settings },
  });
  const { startMs } = server;
  await server.terminate();
  return startMs;
}

async function run({ rounds, progress }: BenchContext): Promise<RowResult> {
  if (!existsSync(CATALOGUE)) throw new Error("the catalogue has not been pulled: npm run models");
  await using cleanUp = new AsyncDisposableStack();
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-bench-"));
  cleanUp.defer(() => rm(modelsDir, { recursive: true, force: true }));
  const mlp = join(modelsDir, "bench", "mlp", "1");
  await writeMlp(mlp);
  const catalogue = await catalogueFolders();
  const start = (name: string, of: string, run: () => Promise<number>): Start => ({
    name,
    of,
    run,
    times: [],
  });
  const [bare, bareMlp, bareCatalogue] = ["node -e 0", "bare load of the MLP", "bare load of the catalogue"];
  const starts = [
    start(bare, bare, () => processMs("-e", "0")),
    start(bareMlp, bare, () => processMs(FLOOR, mlp)),
    start("server with the MLP alone", bareMlp, () => serverMs({ MODELS_DIR: modelsDir, CATALOGUE: "0" })),
    start(bareCatalogue, bare, () => processMs(FLOOR, ...catalogue)),
    start("server with the default catalogue", bareCatalogue, () => serverMs({})),
  ];
  for (let round = 0; round <= rounds; round++) {
    for (const one of starts) {
      progress(`round ${round} of ${rounds}: ${one.name}`);
      const ms = await one.run();
      // The first one brings the files into memory.
      if (round > 0) one.times.push(ms);
    }
  }
  const medianOf = (name: string) => spread(starts.find((one) => one.name === name)?.times ?? []).median;
  const figures: Figures = {
    title: "a process: from its start to its end; the server: from its start to “ready”",
    headings: ["", "ms", "min", "max", "of its floor", "which is"],
    lines: starts.map(({ name, of, times }) => {
      const { median, min, max } = spread(times);
      return [name, ...[median, min, max].map((ms) => ms.toFixed(0)), (median / medianOf(of)).toFixed(1), of];
    }),
  };
  return {
    settings: {
      catalogue: `${catalogue.length} models`,
      server: `on a new data folder, ${availableParallelism()} workers; every model is loaded and has had a first input`,
      "bare load":
        "the same models one after the other by the server's own runtimes, in one process and nothing else",
      rounds: `${rounds}, in turn, after one of warming up; medians`,
    },
    tables: [],
    figures: [figures],
    goals: [],
  };
}

export const start: Row = {
  name: "start",
  title: "from starting the server to ready",
  run,
};
