/**
 * Compiles the server ahead of its first start, by starting it once with a throw-away data folder: main, workers and
 * database threads leave what they compiled in the cache that src/main.ts keeps. Half a second of the first start.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const MAIN = join(import.meta.dirname, "..", "src", "main.ts");
/** A machine that takes longer has other worries than a slow first start. */
const TIMEOUT_MS = 30_000;

/** Never rejects: without the cache everything works, only the first start is slower. */
export async function compileAhead(environment: NodeJS.ProcessEnv): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "auspex-compile-"));
  const settings = { HTTP_PORT: "0", GRPC_PORT: "0", HOST: "127.0.0.1", WORKERS: "1", DATA_DIR: dataDir };
  const env = Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("AUSPEX_")));
  for (const [name, value] of Object.entries(settings)) env[`AUSPEX_${name}`] = value;
  const child = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "ignore"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  const gone = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line.includes('"msg":"ready"')) child.kill("SIGTERM");
  });
  await gone;
  clearTimeout(timer);
  await rm(dataDir, { recursive: true, force: true });
}
