/**
 * A virtual environment of Python for each peer, made on first use in a folder that git ignores: everything at the
 * version that `<peer>.requirements.txt` pins. What cannot be had is a sentence, not an error: the others still run.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const CACHE = join(import.meta.dirname, "..", ".cache", "peers");
/** Written last: an environment without it was not finished. */
const FINISHED = "auspex-finished";
const INSTALL_MAX_MS = 600_000;
const OUTPUT_MAX = 64 * 1024 ** 2;
const REASON_LINES = 3;

const exec = promisify(execFile);

export type Environment =
  /** `bin` holds `python` and what the packages install beside it. */
  { readonly kind: "ready"; readonly bin: string } | { readonly kind: "missing"; readonly reason: string };

/** @param name of the peer, as in its requirements */
export async function environment(name: string, progress: (text: string) => void): Promise<Environment> {
  const requirements = join(import.meta.dirname, `${name}.requirements.txt`);
  const digest = createHash("sha256")
    .update(await readFile(requirements))
    .digest("hex")
    .slice(0, 12);
  const folder = join(CACHE, `${name}-${digest}`);
  const bin = join(folder, "bin");
  if (existsSync(join(folder, FINISHED))) return { kind: "ready", bin };
  const python = process.env.PYTHON ?? "python3";
  try {
    await rm(folder, { recursive: true, force: true });
    await mkdir(CACHE, { recursive: true });
    progress(`${name}: a virtual environment`);
    await run(python, ["-m", "venv", folder]);
    progress(`${name}: pip installs what ${name}.requirements.txt names, once`);
    await run(join(bin, "python"), [
      ...["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"],
      ...["--retries", "1", "--timeout", "15", "-r", requirements],
    ]);
    await writeFile(join(folder, FINISHED), "");
    return { kind: "ready", bin };
  } catch (error) {
    return { kind: "missing", reason: complaint(error) };
  }
}

async function run(command: string, args: readonly string[]): Promise<void> {
  await exec(command, args, { maxBuffer: OUTPUT_MAX, timeout: INSTALL_MAX_MS });
}

/** The end of what a tool complained about, for the beginning is seldom the reason. */
function complaint(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stderr = "", code } = error as { stderr?: string; code?: string | number };
  if (code === "ENOENT") return "there is no Python 3 (PYTHON names another one)";
  if (/NewConnectionError|ConnectTimeout|NameResolutionError|Connection refused|ProxyError/i.test(stderr)) {
    return "Python's registry cannot be reached from here";
  }
  const lines = stderr.trim().split("\n").slice(-REASON_LINES).join(" ");
  return lines === "" ? error.message : lines;
}
