/** A real worker that is given one model after the other, some of which it may not survive. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readManifest } from "../../src/engine/manifest.ts";
import { startWorkerProcess, WorkerDied, type WorkerProcess } from "../../src/engine/worker-process.ts";
import { residentBytes } from "../processes.ts";

export interface Outcome {
  /** `died`: the worker ended, or was ended because it was silent for too long. */
  readonly kind: "loaded" | "refused" | "died";
  /** Why; for a model that loads, by which runtime and with which notes. */
  readonly text: string;
}

export interface LoadingOptions {
  /** Default: best first. */
  readonly runtime?: string;
  /** Default 40 s: what is refused is refused in seconds, but native TensorFlow waits twice 10 s for memory that never comes. */
  readonly timeoutMs?: number;
  /** Default 1 GiB. */
  readonly memoryBytes?: number;
}

export class LoadingWorker {
  readonly #options: LoadingOptions;
  #folder = "";
  #worker: WorkerProcess;
  #loads = 0;

  constructor(options: LoadingOptions = {}) {
    this.#options = options;
    this.#worker = this.#start();
  }

  #start(): WorkerProcess {
    const { runtime = null, memoryBytes = 2 ** 30 } = this.#options;
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    return startWorkerProcess({ runtime, maxPixels: 1_000_000, memoryBytes, threads: 1 }, log);
  }

  /** Writes the files, each by its path from the model folder, and has them loaded for a `tensor` task. */
  async load(files: Readonly<Record<string, string | Uint8Array>>): Promise<Outcome> {
    this.#folder ||= await mkdtemp(join(tmpdir(), "auspex-loading-"));
    const folder = join(this.#folder, String(this.#loads++));
    await mkdir(folder);
    for (const [name, contents] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), contents);
    }
    const outcome = await this.#load(folder);
    await rm(folder, { recursive: true });
    return outcome;
  }

  async #load(folder: string): Promise<Outcome> {
    const { timeoutMs = 40_000 } = this.#options;
    const manifest = readManifest('{"task":"tensor"}');
    const key = folder;
    try {
      await this.#worker.up;
      const { runtime, notes } = await this.#worker.call(
        "load",
        { key, folder, manifest, digest: "", backbone: null, known: null },
        timeoutMs,
      );
      await this.#worker.call("unload", { key }, timeoutMs);
      return { kind: "loaded", text: [runtime, ...notes].join("; ") };
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (!(error instanceof WorkerDied)) return { kind: "refused", text };
      await this.#worker.gone;
      this.#worker = this.#start();
      return { kind: "died", text };
    }
  }

  /** Resident bytes of the present worker process. */
  get memory(): number {
    return residentBytes(this.#worker.pid);
  }

  async close(): Promise<void> {
    this.#worker.kill({ kind: "closed" });
    await this.#worker.gone;
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
  }
}
