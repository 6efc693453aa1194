/** `node bench/conformance/main.ts`: Connect's own conformance suite against the listeners. README.md beside it says what it covers. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { parseArgs, promisify } from "node:util";
import { sortFailures } from "./failures.ts";
import { CACHE, DESCRIPTORS } from "./folders.ts";

const exec = promisify(execFile);
const MODULE = "connectrpc.com/conformance";
const VERSION = "v1.0.7";
const SUITE = join(CACHE, "connectconformance");
const here = (name: string): string => join(import.meta.dirname, name);

const HELP = `node bench/conformance/main.ts [options]

Builds ${MODULE} ${VERSION} with Go (once, a minute), and has it call Auspex's listeners: Connect,
gRPC-Web and gRPC, unary and server-streaming, with and without gzip and TLS. Exits with 1 when a case fails for
more than what is known of grpc-js. Needs Go and its module proxy, or a mirror as Go is configured.

  --run <pattern>   these cases only, e.g. "Connect Unexpected Requests/**"; may be given more than once
  --trace           the HTTP traffic of each case that fails
  --help`;

/** Why the suite did not run, in a sentence for whoever started this. */
class NotRun extends Error {}

async function go(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  try {
    return (await exec("go", args, { env: { ...process.env, ...env } })).stdout;
  } catch (cause) {
    const error = cause as Error & { code?: unknown; stderr?: string };
    const reason = error.code === "ENOENT" ? "there is no `go` to be found" : (error.stderr ?? error.message);
    throw new NotRun(`the suite could not be had with Go: ${reason.trim()}`, { cause });
  }
}

/** The suite, and descriptors of its messages. */
async function prepare(): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  console.error(`building ${MODULE} ${VERSION}`);
  await go(["install", `${MODULE}/cmd/connectconformance@${VERSION}`], { GOBIN: CACHE });
  const { Dir: folder } = JSON.parse(await go(["mod", "download", "-json", `${MODULE}@${VERSION}`])) as {
    readonly Dir: string;
  };
  await exec("buf", ["build", join(folder, "proto"), "--output", DESCRIPTORS], {
    env: { ...process.env, PATH: `${here("../../node_modules/.bin")}:${process.env.PATH}` },
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      run: { type: "string", multiple: true, default: [] },
      trace: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  await prepare();
  const args = ["--mode", "server", "--conf", here("suite.yaml")];
  for (const pattern of values.run) args.push("--run", pattern);
  if (values.trace) args.push("--trace");
  args.push("--", process.execPath, "--import", here("seams.ts"), here("server.ts"));
  const child = spawn(SUITE, args, { stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit");
  const [printed, complained] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await exited;
  const totals = /^Total cases: (\d+)\n(\d+) passed, \d+ failed$/m.exec(printed);
  if (!totals) throw new NotRun(`the suite ended with ${code}:\n${printed}${complained}`);
  const [, cases = "", passed = ""] = totals;
  const { ours, known } = sortFailures(printed);
  for (const failure of ours) console.log(failure);
  console.log(`${cases} cases: ${passed} passed, ${ours.length} failed`);
  for (const [{ why }, count] of known) console.log(`${count} not counted: ${why}`);
  process.exitCode = ours.length > 0 || Number(cases) === 0 ? 1 : 0;
}

try {
  await main();
} catch (error) {
  const isMisused =
    error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
  if (!(error instanceof NotRun) && !isMisused) throw error;
  console.error(isMisused ? `${error.message}; --help lists the options` : error.message);
  process.exitCode = isMisused ? 2 : 1;
}
