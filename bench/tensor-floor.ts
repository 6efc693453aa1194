/**
 * The floor below a prediction: a tensor model on the first runtime that takes it, batch after batch of the same rows
 * in a loop, as a worker runs them, with nothing around it.
 *
 * It speaks only over its IPC channel (fork with `serialization: "advanced"`) and ends with it.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Tensors } from "../src/domain/tensor.ts";
import { MANIFEST_FILE, readManifest } from "../src/engine/manifest.ts";
import { createRuntimes } from "../src/engine/worker/runtimes.ts";
import { openVersion, type Version } from "../src/engine/worker/version.ts";
import type { LoadReply, LoadResult } from "./load.ts";
import type { Target } from "./rounds.ts";
import { percentile } from "./statistics.ts";

/** One round. */
interface TensorOrder {
  readonly batch: number;
  readonly seconds: number;
}

const MAX_PIXELS = 1;

export interface TensorFloor extends AsyncDisposable {
  readonly target: Target;
}

/**
 * @param folder of a model whose input `x` has rows of that many floats
 * @param batchMax the server's: with fewer in flight its batches are no larger than those
 */
export function startTensorFloor(folder: string, floats: number, batchMax: number): TensorFloor {
  const child = fork(import.meta.filename, [folder, String(floats)], { serialization: "advanced" });
  const exited = once(child, "exit");
  return {
    target: {
      name: "the runtime in a loop",
      pid: child.pid ?? 0,
      async load({ seconds, inFlight }) {
        child.send({ batch: Math.min(inFlight, batchMax), seconds } satisfies TensorOrder);
        const ended = exited.then(([code]) => Promise.reject(new Error(`the loop exited with ${code}`)));
        const [reply] = (await Promise.race([once(child, "message"), ended])) as [LoadReply];
        if (reply.kind === "error") throw new Error(reply.message);
        return reply.result;
      },
    },
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await exited;
    },
  };
}

async function open(folder: string): Promise<Version> {
  const manifest = readManifest(await readFile(join(folder, MANIFEST_FILE), "utf8"));
  const choice = await createRuntimes(1).load(folder, manifest, null);
  return openVersion(choice, { folder, manifest, known: null }, MAX_PIXELS);
}

async function loop(version: Version, floats: number, { batch, seconds }: TensorOrder): Promise<LoadResult> {
  const row = Array.from({ length: floats }, (_, i) => Math.sin(i));
  const values = Float32Array.from({ length: batch * floats }, (_, i) => row[i % floats] ?? 0);
  const tensors: Tensors = {
    x: { dtype: "float32", shape: [batch, floats], data: new Uint8Array(values.buffer) },
  };
  const group = { rows: Array.from({ length: batch }, () => 1), tensors };
  const times: number[] = [];
  const began = performance.now();
  const until = began + seconds * 1000;
  for (let turn = began; turn < until; ) {
    const [outcome] = await version.runTensors([group]);
    if (outcome?.kind === "each" && !outcome.outcomes.every(({ ok }) => ok)) {
      throw new Error("a batch of the floor failed");
    }
    const ended = performance.now();
    times.push((ended - turn) * 1000);
    turn = ended;
  }
  times.sort((a, b) => a - b);
  return {
    requests: times.length * batch,
    seconds: (performance.now() - began) / 1000,
    p50: percentile(times, 0.5),
    p95: percentile(times, 0.95),
    p99: percentile(times, 0.99),
    cpuMicros: 0,
    checked: times.length * batch,
    response: new Uint8Array(),
  };
}

if (import.meta.main) {
  const [folder = "", floats = ""] = process.argv.slice(2);
  const opening = open(folder);
  process.on("disconnect", () => process.exit(0));
  process.on("message", (order: TensorOrder) => {
    const reply = (message: LoadReply): void => void process.send?.(message);
    opening
      .then((version) => loop(version, Number(floats), order))
      .then(
        (result) => reply({ kind: "result", result }),
        (error: unknown) => reply({ kind: "error", message: String(error) }),
      );
  });
}
