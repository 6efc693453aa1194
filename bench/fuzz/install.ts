/** Pulls the fuzzer into a folder outside the project, which does not depend on it. */
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { bridgeOldGlibc } from "./old-glibc.ts";

const PACKAGE = "@jazzer.js/core";
const VERSION = "4.0.0";
const INTEGRITY =
  "sha512-w90xGs5qMOE9KA5AV7OrosTWIOvMaeH5YSSnMr14FNAg2n0kalkurZMwlboz9G3+SccMp4n6QkKExq3b7r1VAQ==";

export interface Fuzzer {
  /** Its command line, to be run by Node. */
  readonly cli: string;
  /** What it has to be started with. */
  readonly env: Readonly<Record<string, string>>;
}

const exec = promisify(execFile);

/** Nothing is fetched when it lies there already. */
export async function installFuzzer(folder: string): Promise<Fuzzer> {
  const lock = join(folder, "package-lock.json");
  if (!(await readLock(lock))) {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "package.json"), '{"private": true}\n');
    const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    await exec("npm", ["install", ...options, `${PACKAGE}@${VERSION}`], { cwd: folder });
  }
  const integrity = await readLock(lock);
  if (integrity !== INTEGRITY) throw new Error(`${PACKAGE} has the checksum ${integrity}, not ${INTEGRITY}`);
  const scope = join(folder, "node_modules", "@jazzer.js");
  return {
    cli: join(scope, "core", "dist", "cli.js"),
    env: await bridgeOldGlibc(join(scope, "fuzzer"), folder),
  };
}

/** The package's checksum; undefined when it is not there. */
async function readLock(path: string): Promise<string | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const { packages } = JSON.parse(text) as {
    packages: Readonly<Record<string, { readonly integrity?: string }>>;
  };
  return packages[`node_modules/${PACKAGE}`]?.integrity;
}
