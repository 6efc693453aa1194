/** A real engine on temporary folders, and what engine tests ask of it. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { RUNTIMES, type RuntimeName } from "../../src/domain/model.ts";
import { createEngine } from "../../src/engine/create-engine.ts";
import type { Engine, EngineOptions, Job, JobResult } from "../../src/engine/engine.ts";
import { writeMlp } from "../models/mlp.ts";

/** What the engine's tests run on: AUSPEX_TEST_RUNTIME tries them on another runtime than the one always there. */
export const RUNTIME = runtimeOf(process.env.AUSPEX_TEST_RUNTIME ?? "tfjs-wasm");

function runtimeOf(text: string): RuntimeName {
  const runtime = RUNTIMES.find((name) => name === text);
  if (!runtime) throw new Error(`AUSPEX_TEST_RUNTIME is ${text}, and not one of ${RUNTIMES.join(", ")}`);
  return runtime;
}

export interface EngineFixture {
  readonly engine: Engine;
  readonly modelsDir: string;
  /** Everything that was logged, one JSON line each. */
  readonly log: readonly string[];
  stop(): Promise<void>;
}

/** With `acme/mlp:1` in its models folder, unless `prepare` puts something else there. */
export async function startEngine(
  options: Partial<EngineOptions> = {},
  prepare = (modelsDir: string) => writeMlp(join(modelsDir, "acme", "mlp", "1")),
): Promise<EngineFixture> {
  const modelsDir = await mkdtemp(join(tmpdir(), "auspex-engine-"));
  await prepare(modelsDir);
  const log: string[] = [];
  const note = (fields: Readonly<Record<string, unknown>>, message: string): void => {
    log.push(JSON.stringify({ ...fields, message }));
  };
  const engine = await createEngine({
    modelsDir,
    catalogueDirs: [],
    workers: 2,
    threads: 1,
    runtime: RUNTIME,
    maxPixels: 50_000_000,
    workerMemoryBytes: 2 * 1024 ** 3,
    batchTimeoutMs: 60_000,
    loadTimeoutMs: 60_000,
    batchMax: undefined,
    batchDelayMs: 0,
    log: { info: note, warn: note, error: note },
    ...options,
  });
  return {
    engine,
    modelsDir,
    log,
    async stop() {
      await engine.close(1000);
      await rm(modelsDir, { recursive: true, force: true });
    },
  };
}

/** 64 floats that `seed` fixes. */
export function row(seed: number): Float32Array {
  return Float32Array.from({ length: 64 }, (_, i) => Math.sin(seed * 64 + i));
}

/** A run of `acme/mlp:1` on one row. */
export function mlpJob(seed: number, options: Partial<Job> = {}): Job {
  const data = new Uint8Array(row(seed).buffer);
  return {
    owner: "acme",
    name: "mlp",
    version: 1,
    input: { json: {}, tensors: { x: { dtype: "float32", shape: [1, 64], data } }, files: {} },
    signal: new AbortController().signal,
    deadlineAt: undefined,
    deaths: 0,
    onWorkerDeath: async () => undefined,
    ...options,
  };
}

/** The numbers of a typed output. */
export function floats({ output }: JobResult, name = "y"): number[] {
  const data = output.tensors[name]?.data;
  if (!data) throw new Error(`there is no output ${name}`);
  return [...new Float32Array(new Uint8Array(data).buffer)];
}

/** Worker processes of this process, from /proc: the engine does not show theirs. */
export async function workerPids(parent = process.pid): Promise<number[]> {
  const text = await readFile(`/proc/${parent}/task/${parent}/children`, "utf8");
  const pids: number[] = [];
  for (const pid of text.split(" ").filter(Boolean).map(Number)) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes("engine/worker/main.ts")) pids.push(pid);
  }
  return pids;
}

/** Waits for a condition; the test's own time limit ends a wait that is in vain. */
export async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await new Promise((resolve) => setTimeout(resolve, 10));
}

const require = createRequire(import.meta.url);

/** A real photograph. */
export function photo(name: "zebra" | "panda" | "flamingo" | "teapot"): Promise<Buffer> {
  const root = dirname(require.resolve("react-native-template-pytorch-live/package.json"));
  return readFile(join(root, "template/assets/images", `${name}.jpg`));
}
