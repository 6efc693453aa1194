/**
 * Documents to text, in processes of their own: a parser meets whatever somebody uploads, and one that hangs, or takes
 * all memory, is ended with its process and costs that one file. A thread would not do, for its limits leave out the
 * buffers into which a PDF unpacks its streams, and what the limits do not hold ends the whole server.
 */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { AuspexError } from "../../domain/error.ts";
import type { EngineLog } from "../../engine/engine.ts";
import { MEMORY_SIGNAL } from "../../engine/protocol.ts";
import type { ReadAnswer, ReadCall, ReaderSettings } from "./documents/call.ts";
import { documentType } from "./documents/media-type.ts";
import type { DocumentPart, PartLimits } from "./documents/parts.ts";
import type { SplitOptions } from "./splitter.ts";
import { Turns } from "./turns.ts";

export interface DocumentFile {
  readonly name: string;
  /** "" for what the name's extension says. */
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

export interface DocumentReader {
  /**
   * Whole parts. Rejects with `invalid_argument` that says what is wrong with the file, with `canceled` once the
   * signal is aborted, and with `resource_exhausted` when too many files wait to be read.
   *
   * @param flowId the flow that it is for: files of one flow are read one at a time, whoever may ask it
   */
  read(file: DocumentFile, flowId: string, signal: AbortSignal): Promise<readonly DocumentPart[]>;
  /** The same, cut to passages. */
  split(
    file: DocumentFile,
    passages: SplitOptions,
    flowId: string,
    signal: AbortSignal,
  ): Promise<readonly DocumentPart[]>;
  close(): Promise<void>;
}

export interface ReaderLimits extends PartLimits {
  /** For one file, waiting for others not counted. */
  readonly timeMs: number;
  /** Resident bytes of a process. */
  readonly memoryBytes: number;
  /** How long a process stays that has nothing to read. */
  readonly idleMs: number;
}

/**
 * A book has a million characters, and what is read is held in memory whole; the time is what a book's PDF takes ten
 * times over, and the memory what 50 MiB of HTML take.
 */
export const READER_LIMITS: ReaderLimits = {
  characters: 5_000_000,
  parts: 50_000,
  timeMs: 30_000,
  memoryBytes: 1024 ** 3,
  // One takes some 100 MB, and half a second to start.
  idleMs: 60_000,
};

/** Files read at once, so that a slow one does not hold up all others. */
const PROCESSES = 2;
/** Each holds a request's body. */
const WAITING_MAX = 64;
const WAITING_OF_FLOW_MAX = 16;
const ENTRY = fileURLToPath(new URL("./documents/main.ts", import.meta.url));

export function createDocumentReader(log: EngineLog, limits: ReaderLimits = READER_LIMITS): DocumentReader {
  const turns = new Turns({
    atOnce: PROCESSES,
    waiting: WAITING_MAX,
    waitingTogether: WAITING_OF_FLOW_MAX,
    what: "documents",
  });
  const idle: ReaderProcess[] = [];
  const all = new Set<ReaderProcess>();

  function start(): ReaderProcess {
    const process = new ReaderProcess(limits, log);
    all.add(process);
    void process.gone.then(() => all.delete(process));
    return process;
  }

  /** The last one first, so that those which are not needed end. */
  function free(): ReaderProcess {
    for (let process = idle.pop(); process; process = idle.pop()) if (process.isAlive) return process;
    return start();
  }

  async function call(
    file: DocumentFile,
    passages: SplitOptions | null,
    flowId: string,
    signal: AbortSignal,
  ): Promise<readonly DocumentPart[]> {
    const type = documentType(file.name, file.mediaType, file.bytes);
    const { characters, parts } = limits;
    const wanted: ReadCall = { type, bytes: file.bytes, limits: { characters, parts }, passages };
    return turns.take(flowId, signal, async () => {
      const process = free();
      try {
        return await process.call(wanted, signal);
      } finally {
        if (process.isAlive) idle.push(process);
      }
    });
  }

  return {
    read: (file, flowId, signal) => call(file, null, flowId, signal),
    split: call,
    async close() {
      await Promise.all([...all].map((process) => process.end()));
    },
  };
}

/** One process, which reads one file at a time. */
class ReaderProcess {
  readonly gone: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #limits: ReaderLimits;
  readonly #log: EngineLog;
  #idle: NodeJS.Timeout | undefined;
  #answer: (answer: ReadAnswer | undefined) => void = () => undefined;
  #isAlive = true;

  constructor(limits: ReaderLimits, log: EngineLog) {
    const settings: ReaderSettings = { memoryBytes: limits.memoryBytes };
    this.#limits = limits;
    this.#log = log;
    this.#child = fork(ENTRY, [JSON.stringify(settings)], {
      serialization: "advanced",
      execArgv: [`--max-old-space-size=${Math.ceil(limits.memoryBytes / 1024 ** 2)}`],
      // What a file might make of a parser finds no secrets here.
      env: {},
      // stdin tells the process when main is gone; see the engine's watchdog.ts.
      stdio: ["pipe", "ignore", "ignore", "ipc"],
    });
    // Nothing is written there, and the process's end is told by "exit".
    this.#child.stdin?.on("error", () => undefined);
    this.gone = new Promise((resolve) => {
      this.#child.once("exit", resolve);
      // A fork that failed has no exit.
      this.#child.on("error", (error) => {
        log.warn({ reader: this.#child.pid, err: error }, "a document reader's channel failed");
        if (this.#child.pid === undefined) resolve(undefined);
      });
    });
    this.#child.on("message", (answer: ReadAnswer) => this.#answer(answer));
    void this.gone.then(() => {
      this.#isAlive = false;
      this.#answer(undefined);
      clearTimeout(this.#idle);
    });
  }

  /** Not any more from the moment it is killed, and gone soon after. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  async end(): Promise<void> {
    this.#isAlive = false;
    this.#child.kill("SIGKILL");
    await this.gone;
  }

  async call(call: ReadCall, signal: AbortSignal): Promise<readonly DocumentPart[]> {
    clearTimeout(this.#idle);
    let ended = "";
    const stop = (why: string) => {
      ended ||= why;
      void this.end();
    };
    const abort = () => stop("abort");
    const timer = setTimeout(stop, this.#limits.timeMs, "time");
    signal.addEventListener("abort", abort, { once: true });
    const { promise, resolve } = Promise.withResolvers<ReadAnswer | undefined>();
    this.#answer = resolve;
    if (!this.#isAlive) resolve(undefined);
    try {
      this.#child.send(call, (error) => {
        if (error) stop("channel");
      });
      const answer = await promise;
      if (!answer) throw this.#failure(ended);
      if (answer.kind === "refusal") throw new AuspexError("invalid_argument", answer.message);
      return answer.parts;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      this.#answer = () => undefined;
      this.#idle = setTimeout(() => void this.end(), this.#limits.idleMs);
      this.#idle.unref();
    }
  }

  #failure(ended: string): AuspexError {
    const { exitCode, signalCode, pid } = this.#child;
    if (ended === "abort") return new AuspexError("canceled", "the caller went away");
    const { timeMs, memoryBytes } = this.#limits;
    if (ended === "time") {
      return new AuspexError("invalid_argument", `it takes longer than ${timeMs / 1000} s to read`);
    }
    // V8 aborts where its own limit is the first that is met.
    if (signalCode === MEMORY_SIGNAL || signalCode === "SIGABRT" || exitCode === 134) {
      const mebibytes = Math.round(memoryBytes / 1024 ** 2);
      return new AuspexError("invalid_argument", `it takes more than ${mebibytes} MiB of memory to read`);
    }
    this.#log.warn({ reader: pid, exitCode, signalCode }, "a document reader died");
    return new AuspexError("internal", "the document's reader died");
  }
}
