/**
 * One worker process as main sees it: started, called, and dead at some point, which every call that is then
 * unanswered is told. Who replaces it is the pool's business.
 */
import { type ChildProcess, fork } from "node:child_process";
import { setPriority } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { FleetingMap } from "../domain/fleeting.ts";
import type { EngineLog } from "./engine.ts";
import { patientTimeout } from "./patient-timeout.ts";
import {
  type CallKind,
  type Calls,
  type FromWorker,
  GPU_EXIT_CODE,
  MEMORY_SIGNAL,
  type ToWorker,
  TRAP_EXIT_CODE,
  type WorkerSettings,
} from "./protocol.ts";
import { fromWire } from "./wire-error.ts";

/** Why a worker is no more. */
export type Death =
  /** It ended by itself, or somebody outside killed it. */
  | { readonly kind: "crash"; readonly detail: string }
  | { readonly kind: "memory" }
  /** Killed because a call took longer than it may. */
  | { readonly kind: "timeout"; readonly afterMs: number }
  /** Killed because nobody waits for what it does. */
  | { readonly kind: "abandoned" }
  | { readonly kind: "closed" };

export function deathText(death: Death): string {
  switch (death.kind) {
    case "crash":
      return `the worker crashed (${death.detail})`;
    case "memory":
      return "the worker outgrew its memory";
    case "timeout":
      return `the worker was silent for ${death.afterMs} ms`;
    case "abandoned":
      return "the worker was stopped, for nobody waited for it";
    case "closed":
      return "the engine was closed";
    default:
      return death satisfies never;
  }
}

/** What a call rejects with when its worker dies before answering. */
export class WorkerDied extends Error {
  override readonly name = "WorkerDied";
  readonly death: Death;
  constructor(death: Death) {
    super(deathText(death));
    this.death = death;
  }
}

/** What there is to hear of a call's turn. */
export interface Turn {
  /** It has begun; at once when nothing is before it. */
  readonly onBegin: () => void;
  /** It is over, after so many milliseconds by the worker's clock. Before the call settles, and not when the worker died. */
  readonly onEnd: (ranMs: number) => void;
}

export interface WorkerProcess {
  readonly pid: number;
  /** Resolves when it takes calls; rejects with WorkerDied. */
  readonly up: Promise<void>;
  /**
   * Rejects with AuspexError when the worker refuses, with WorkerDied when it dies, which it is made to when it
   * has not answered after `timeoutMs`. Calls have their turns one after the other, and their time from then on.
   *
   * @param turn hears of the call's own
   */
  call<K extends CallKind>(
    kind: K,
    request: Calls[K]["request"],
    timeoutMs: number,
    turn?: Turn,
  ): Promise<Calls[K]["answer"]>;
  kill(death: Death): void;
  /** That TF.js holds there, as of its last call; 0 when it is dead. */
  readonly tensors: number;
  /** undefined while it lives. */
  readonly death: Death | undefined;
  /** Resolves with the reason when the process is gone. */
  readonly gone: Promise<Death>;
}

/** Longest time from the fork to "up": imports, 0.3 s when nothing else runs. */
const START_TIMEOUT_MS = 30_000;

/** The same for a process that has to wait until others do nothing. */
const NICE_START_TIMEOUT_MS = 300_000;

interface Pending {
  /** Its turn has come. */
  readonly begin: () => void;
  readonly turn: Turn | undefined;
  readonly resolve: (answer: Calls[CallKind]["answer"]) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Of V8's young generation, which takes three times as much. Left alone it grows to twice this while models come and
 * go, and keeps it: 323 MiB for a worker after 200 loads and unloads, 213 with this, and as fast.
 */
const SEMI_SPACE_MIB = 16;

/**
 * How far past what is alive V8's heap may grow before everything is collected. By itself V8 chooses by how fast its own heap
 * grows, which beside pictures is next to nothing, and collected for every 34 photographs: CPU of a worker for one in a
 * batch was 11.6 ms, and is 10.8 with this, beside 10.7 in a loop that does nothing else. To count the bytes outside of its heap
 * as well, as the server does, would be no faster, and a worker would keep 100 MiB of what it refused.
 */
const HEAP_GROWING_PERCENT = 400;

const ENTRY = fileURLToPath(new URL("./worker/main.ts", import.meta.url));

/** @param niceness of the process, from 0 to 19, which only works when the processor has nothing else to do */
export function startWorkerProcess(settings: WorkerSettings, log: EngineLog, niceness = 0): WorkerProcess {
  const child = fork(ENTRY, [JSON.stringify(settings)], {
    serialization: "advanced",
    // JavaScript's own limit is not below the process's, so that the latter is the one that is met.
    execArgv: [
      `--max-old-space-size=${Math.ceil(settings.memoryBytes / 1024 ** 2)}`,
      `--max-semi-space-size=${SEMI_SPACE_MIB}`,
      `--heap-growing-percent=${HEAP_GROWING_PERCENT}`,
    ],
    // stdin tells the worker when main is gone; see watchdog.ts.
    stdio: ["pipe", "pipe", "pipe", "ipc"],
  });
  if (niceness > 0 && child.pid !== undefined) makeNice(child.pid, niceness, log);
  forwardOutput(child, log);
  return new ForkedWorker(child, log, niceness > 0 ? NICE_START_TIMEOUT_MS : START_TIMEOUT_MS);
}

/** Before the process has begun to start threads, which inherit it. */
function makeNice(pid: number, niceness: number, log: EngineLog): void {
  try {
    setPriority(pid, niceness);
  } catch (error) {
    log.warn({ worker: pid, err: error }, "the worker's priority could not be lowered");
  }
}

function forwardOutput({ pid, stdin, stdout, stderr }: ChildProcess, log: EngineLog): void {
  for (const [stream, level] of [
    [stdout, "info"],
    [stderr, "warn"],
  ] as const) {
    if (stream) createInterface(stream).on("line", (line) => log[level]({ worker: pid }, line));
  }
  // Nothing is written there, and a worker's exit is told by "exit".
  stdin?.on("error", () => undefined);
}

class ForkedWorker implements WorkerProcess {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #pending = new FleetingMap<number, Pending>();
  /** Those of them that have turns, the one whose turn it is first. */
  readonly #line: Pending[] = [];
  readonly #up = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<Death>();
  readonly #stopStartTimeout: () => void;
  #nextId = 0;
  #tensors = 0;
  #death: Death | undefined;
  #killedFor: Death | undefined;

  constructor(child: ChildProcess, log: EngineLog, startTimeoutMs: number) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    const slow: Death = { kind: "timeout", afterMs: startTimeoutMs };
    this.#stopStartTimeout = patientTimeout(startTimeoutMs, () => this.kill(slow));
    // Nobody may be waiting for it yet.
    this.#up.promise.catch(() => undefined);
    child.on("message", (message: FromWorker) => this.#receive(message));
    child.on("exit", (code, signal) => this.#end(this.#killedFor ?? deathOf(code, signal)));
    child.on("error", (error) => {
      log.warn({ worker: this.pid, err: error }, "worker channel failed");
      // A fork that failed has no exit.
      if (child.pid === undefined) this.#end({ kind: "crash", detail: error.message });
    });
  }

  get up(): Promise<void> {
    return this.#up.promise;
  }

  get gone(): Promise<Death> {
    return this.#gone.promise;
  }

  get death(): Death | undefined {
    return this.#death;
  }

  get tensors(): number {
    return this.#death ? 0 : this.#tensors;
  }

  kill(reason: Death): void {
    this.#killedFor ??= reason;
    this.#child.kill("SIGKILL");
  }

  call<K extends CallKind>(
    kind: K,
    request: Calls[K]["request"],
    timeoutMs: number,
    turn?: Turn,
  ): Promise<Calls[K]["answer"]> {
    if (this.#death) return Promise.reject(new WorkerDied(this.#death));
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<Calls[K]["answer"]>();
    let stopTimeout: (() => void) | undefined;
    const pending: Pending = {
      begin: () => {
        stopTimeout = patientTimeout(timeoutMs, () => this.kill({ kind: "timeout", afterMs: timeoutMs }));
        turn?.onBegin();
      },
      turn,
      resolve: (answer) => {
        stopTimeout?.();
        // The worker answers a call of one kind with that kind's answer.
        resolve(answer as Calls[K]["answer"]);
      },
      reject: (error) => {
        stopTimeout?.();
        reject(error);
      },
    };
    // Both members of the pair have the type that `kind` gives them.
    this.#child.send({ kind, id, request } as ToWorker, (error) => {
      if (error) this.kill({ kind: "crash", detail: error.message });
    });
    this.#pending.set(id, pending);
    // A look into a picture goes beside the others.
    if (kind === "inspect" || this.#line.push(pending) === 1) pending.begin();
    return promise;
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case "up":
        this.#stopStartTimeout();
        this.#up.resolve();
        return;
      case "answer":
        this.#take(message)?.resolve(message.answer);
        return;
      case "refusal":
        this.#take(message)?.reject(fromWire(message.error));
        return;
      case "tensors":
        this.#tensors = message.count;
        return;
      default:
        message satisfies never;
    }
  }

  #take({ id, ranMs }: { readonly id: number; readonly ranMs: number }): Pending | undefined {
    const pending = this.#pending.delete(id);
    pending?.turn?.onEnd(ranMs);
    if (pending && pending === this.#line[0]) {
      this.#line.shift();
      this.#line[0]?.begin();
    }
    return pending;
  }

  #end(reason: Death): void {
    if (this.#death) return;
    this.#death = reason;
    this.#stopStartTimeout();
    const error = new WorkerDied(reason);
    this.#up.reject(error);
    for (const call of this.#pending.values()) call.reject(error);
    this.#pending.clear();
    this.#line.length = 0;
    this.#gone.resolve(reason);
  }
}

function deathOf(code: number | null, signal: NodeJS.Signals | null): Death {
  if (signal === MEMORY_SIGNAL) return { kind: "memory" };
  if (code === GPU_EXIT_CODE) return { kind: "crash", detail: "its GPU stopped answering" };
  if (code === TRAP_EXIT_CODE) return { kind: "crash", detail: "the model reached beyond its memory" };
  return { kind: "crash", detail: signal ?? `exit code ${code}` };
}
