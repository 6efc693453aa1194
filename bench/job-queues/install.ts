/**
 * The job queues and their PostgreSQL are no dependencies of the project: they are pinned in the package-lock.json
 * beside this file and installed into an ignored node_modules when they are first asked for.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { join } from "node:path";

const FOLDER = import.meta.dirname;
/** A registry that is away is noticed within this. */
const PATIENCE_MS = 30_000;

/** @returns why they are not there; undefined when they are */
export async function installJobQueues(): Promise<string | undefined> {
  if (await isInstalled()) return undefined;
  const child = spawn("npm", ["ci", "--fetch-retries=1", `--fetch-timeout=${PATIENCE_MS}`], {
    cwd: FOLDER,
    stdio: ["ignore", "ignore", "pipe"],
    // npm is a .cmd file on Windows.
    shell: process.platform === "win32",
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  try {
    const [code] = (await once(child, "close")) as [number | null];
    if (code === 0) return undefined;
  } catch (error) {
    complaint = String(error);
  }
  return (
    /npm error (?!code)(.+)/.exec(complaint)?.[1] ?? (complaint.trim().split("\n").at(-1) || "npm ci failed")
  );
}

/** npm writes its own list last. */
async function isInstalled(): Promise<boolean> {
  try {
    const [wanted, done] = await Promise.all(
      ["package-lock.json", join("node_modules", ".package-lock.json")].map((file) =>
        stat(join(FOLDER, file)),
      ),
    );
    return wanted !== undefined && done !== undefined && done.mtimeMs >= wanted.mtimeMs;
  } catch {
    return false;
  }
}
