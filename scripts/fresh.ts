/**
 * What a newcomer gets: a clean clone, an empty npm cache, `npm ci`, a started server, the demo. Prints how long each
 * took and fails where a limit is passed. Needs git, npm and the npm registry.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const ROOT = join(import.meta.dirname, "..");
const INSTALL_LIMIT_S = 90;
const READY_LIMIT_S = 3;

const HELP = `node scripts/fresh.ts [options]

Clones the last commit into a temporary folder and does there what the README says, timing it:
npm ci (limit ${INSTALL_LIMIT_S} s, with an empty cache), server ready (limit ${READY_LIMIT_S} s), npm run demo.

  --npm <version>   with this npm instead of the one at hand, e.g. 10 or 11
  --warm            with the npm cache as it is
  --test            npm test as well
  --help`;

/** The environment of somebody who has just opened a shell: nothing of the npm that may have started this. */
function freshEnvironment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env)) {
    const isNpmsOwn =
      /^(npm_(package|lifecycle|command|execpath|node_execpath|config_local_prefix)|INIT_CWD$)/i;
    if (!isNpmsOwn.test(name) && !name.startsWith("AUSPEX_")) env[name] = value;
  }
  // npm puts this repository's tools, Node 24 among them, before the system's.
  const path = (process.env.PATH ?? "").split(delimiter);
  env.PATH = path.filter((folder) => !folder.includes(join("node_modules", ".bin"))).join(delimiter);
  return env;
}

type Npm = (args: readonly string[], extra?: NodeJS.ProcessEnv) => ChildProcess;

function npmIn(folder: string, version: string | undefined, env: NodeJS.ProcessEnv): Npm {
  const [command, first] = version === undefined ? ["npm", []] : ["npx", ["--yes", `npm@${version}`]];
  return (args, extra = {}) =>
    spawn(command, [...first, ...args], {
      cwd: folder,
      env: { ...env, ...extra },
      stdio: ["ignore", "pipe", "pipe"],
      shell: process.platform === "win32",
    });
}

/** What it printed; rejects with that and its complaints when it fails. Warnings of a success are not shown. */
async function succeed(child: ChildProcess, what: string): Promise<string> {
  let output = "";
  let complaints = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${what} ended with ${code}\n${output}${complaints}`);
  return output.trim();
}

function git(args: readonly string[]): Promise<string> {
  return succeed(spawn("git", args, { stdio: ["ignore", "pipe", "pipe"] }), `git ${args[0]}`);
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

interface Start {
  /** Seconds from `npm start` until the server says that it is ready. */
  readonly withNpm: number;
  /** Of them, those from the server's own first moment. */
  readonly server: number;
}

/** Starts the server, waits until it is ready, and stops it. */
async function timeToReady(npm: Npm, dataDir: string): Promise<Start> {
  const child = npm(["start"], { AUSPEX_HTTP_PORT: "0", AUSPEX_GRPC_PORT: "0", AUSPEX_DATA_DIR: dataDir });
  const exited = once(child, "close");
  const output: string[] = [];
  child.stderr?.setEncoding("utf8").on("data", (text: string) => output.push(text));
  let ready: { readonly pid: number; readonly startMs: number } | undefined;
  const withNpm = await seconds(async () => {
    if (!child.stdout) return;
    for await (const line of createInterface({ input: child.stdout })) {
      output.push(line);
      const entry: { msg?: string; pid?: number; startMs?: number } = line.startsWith("{")
        ? JSON.parse(line)
        : {};
      if (entry.msg !== "ready") continue;
      ready = { pid: entry.pid ?? 0, startMs: entry.startMs ?? 0 };
      break;
    }
  });
  if (!ready) throw new Error(`npm start did not get ready:\n${output.join("\n")}`);
  // The server itself: signals to npm do not always reach what it started. What it says now must not block it.
  child.stdout?.resume();
  process.kill(ready.pid, "SIGTERM");
  await exited;
  return { withNpm, server: ready.startMs / 1000 };
}

interface Options {
  readonly npm: string | undefined;
  readonly warm: boolean;
  readonly test: boolean;
}

/** Answers whether every limit was kept. */
async function fresh({ npm: version, warm, test }: Options): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), "auspex-fresh-"));
  try {
    const clone = join(folder, "auspex");
    await git(["clone", "--quiet", "--no-hardlinks", ROOT, clone]);
    const cache = warm ? {} : { npm_config_cache: join(folder, "npm-cache") };
    const npm = npmIn(clone, version, { ...freshEnvironment(), ...cache });
    // With another version, this also fetches it, which is not what is timed below.
    const npmVersion = await succeed(npm(["--version"]), "npm --version");
    console.log(`commit ${await git(["-C", clone, "rev-parse", "--short", "HEAD"])}, npm ${npmVersion}`);
    const installed = limited("npm ci", await seconds(() => succeed(npm(["ci"]), "npm ci")), INSTALL_LIMIT_S);
    const start = await timeToReady(npm, join(folder, "data"));
    const kept = [installed, limited("server ready", start.server, READY_LIMIT_S)];
    console.log(`npm start to ready, npm included: ${start.withNpm.toFixed(1)} s`);
    const demoSeconds = await seconds(async () => {
      console.log(await succeed(npm(["run", "demo"]), "npm run demo"));
    });
    console.log(`npm run demo: ${demoSeconds.toFixed(1)} s`);
    if (test) {
      const time = await seconds(() => succeed(npm(["test"]), "npm test"));
      console.log(`npm test: ${time.toFixed(1)} s`);
    }
    const dirty = await git(["-C", clone, "status", "--porcelain"]);
    if (dirty !== "") throw new Error(`the working tree was changed by all this:\n${dirty}`);
    return kept.every(Boolean);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function limited(what: string, time: number, limit: number): boolean {
  const within = time <= limit;
  console.log(`${what}: ${time.toFixed(1)} s, limit ${limit} s${within ? "" : ": TOO LONG"}`);
  return within;
}

const { values } = parseArgs({
  options: {
    npm: { type: "string" },
    warm: { type: "boolean", default: false },
    test: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) console.log(HELP);
else if (!(await fresh({ npm: values.npm, warm: values.warm, test: values.test }))) process.exitCode = 1;
