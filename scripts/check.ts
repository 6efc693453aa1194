/**
 * Types, lint, and generated code up to date: `npm run check`. Needs no network, changes nothing in the working tree,
 * and fails if anything is to be mended.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { stalePages } from "./pages.ts";

const ROOT = join(import.meta.dirname, "..");

interface Step {
  readonly name: string;
  /** Answers what is wrong; "" for nothing. */
  readonly run: () => Promise<string>;
}

/** What the tool printed if it failed; "" if it succeeded. */
function tool(command: string, args: readonly string[]): Promise<string> {
  const path = `${join(ROOT, "node_modules", ".bin")}${delimiter}${process.env.PATH ?? ""}`;
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, PATH: path },
    stdio: ["ignore", "pipe", "pipe"],
    // The tools are .cmd files on Windows.
    shell: process.platform === "win32",
  });
  let output = "";
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve(code === 0 ? "" : output.trim() || `${command} ended with ${code ?? signal} and said nothing`);
    });
  });
}

/** Relative path → text of every file below the folder. */
async function textsBelow(folder: string): Promise<ReadonlyMap<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    await Promise.all(
      files.map(async (file) => [relative(folder, file), await readFile(file, "utf8")] as const),
    ),
  );
}

async function generatedIsFresh(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "auspex-gen-"));
  try {
    const failure = await tool("buf", ["generate", "--output", folder]);
    if (failure !== "") return failure;
    const [fresh, committed] = await Promise.all([
      textsBelow(join(folder, "gen")),
      textsBelow(join(ROOT, "gen")),
    ]);
    const stale = [...new Set([...fresh.keys(), ...committed.keys()])]
      .filter((file) => fresh.get(file) !== committed.get(file))
      .sort();
    if (stale.length === 0) return "";
    return `these differ from what proto/ says: run npm run generate\n${stale.map((file) => `gen/${file}`).join("\n")}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const STEPS: readonly Step[] = [
  { name: "types (tsc)", run: () => tool("tsc", ["-p", "."]) },
  // A page has the DOM and no Node, so it is a project of its own.
  { name: "types of the browser page (tsc)", run: () => tool("tsc", ["-p", "test/browser/page"]) },
  { name: "lint and format (biome)", run: () => tool("biome", ["check", "--error-on-warnings"]) },
  { name: "protos (buf lint)", run: () => tool("buf", ["lint"]) },
  { name: "generated code is fresh", run: generatedIsFresh },
  { name: "pages of the docs are fresh", run: stalePages },
];

async function timed({ name, run }: Step): Promise<boolean> {
  const began = performance.now();
  const failure = await run().catch((error: unknown) =>
    error instanceof Error ? error.message : String(error),
  );
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${failure === "" ? "ok  " : "FAIL"}  ${name}  ${seconds} s`);
  if (failure !== "") console.log(failure.replaceAll(/^/gm, "      "));
  return failure === "";
}

// All at once: none waits for another, and the slowest sets the time.
const passed = await Promise.all(STEPS.map(timed));
if (passed.includes(false)) process.exitCode = 1;
