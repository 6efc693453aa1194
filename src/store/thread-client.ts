/** The main thread's end of a database thread: calls go over in few messages, answers come back in order. */
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { AuspexError } from "../domain/error.ts";
import type { Operation } from "./database.ts";
import { type Call, errorFrom, type FromThread, type ThreadData, type ToThread } from "./thread-protocol.ts";

interface Waiter {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A thread's sources lose their types in a WebAssembly program, which each thread compiles for itself. What V8 compiles
 * again while it runs it may free twice when other threads have ended before: one thread in some 900 took the process
 * with it ("Check failed: jit_page.has_value()", or SIGSEGV; Node 24.21, https://github.com/nodejs/node/issues/64500).
 * So in a process that has such threads nothing of WebAssembly's is freed while its program is in use, and calls out of
 * it are never compiled again; no cost shows.
 */
const WEBASSEMBLY_FLAGS = ["--no-wasm-code-gc", "--wasm-wrapper-tiering-budget=2147483647"] as const;

/**
 * Calls that go over before the turn of the event loop ends in which they were made. One message takes some 10 µs of this
 * thread, and one more call in it a few; but a turn that takes many requests in lasts milliseconds, in which the
 * database would wait. Of creations with 64 in flight there are 8 % more a second than without, and 4 % with half as many.
 */
const POSTED_AT = 32;

export class DatabaseThread {
  /** As of the thread's last commit. */
  unfinished = 0;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #onStorageFault: (text: string) => void;
  #isOpen = false;
  #unposted: Call[] = [];
  /** For each call that was made and not answered, in order. */
  readonly #waiters: Waiter[] = [];
  /** Why no more calls are taken. */
  #ended: AuspexError | undefined;

  /** Resolves when the thread has its connection open; rejects with what kept it from that. */
  static async open(
    data: ThreadData,
    onStorageFault: (text: string) => void = () => {},
  ): Promise<DatabaseThread> {
    for (const flag of WEBASSEMBLY_FLAGS) setFlagsFromString(flag);
    // Without this process's own flags: they may be a test runner's or a debugger's.
    const worker = new Worker(new URL("./thread.ts", import.meta.url), {
      workerData: data,
      execArgv: [],
      name: `auspex-${data.role}`,
    });
    const thread = new DatabaseThread(worker, onStorageFault);
    await new Promise<void>((resolve, reject) => {
      thread.#waiters.push({ resolve: () => resolve(), reject });
    });
    thread.#isOpen = true;
    return thread;
  }

  private constructor(worker: Worker, onStorageFault: (text: string) => void) {
    this.#worker = worker;
    this.#onStorageFault = onStorageFault;
    worker.on("message", (message: FromThread) => this.#hear(message));
    worker.on("error", (error) => {
      this.#end("the store's thread broke down", error);
      // Without it nothing can be made durable any more: better to end, and let the next start recover, than to
      // answer `unavailable` for ever. While it opens, the caller is told instead.
      if (!this.#isOpen) return;
      setImmediate(() => {
        throw new Error("the store's thread broke down", { cause: error });
      });
    });
    this.#exited = new Promise((resolve) => {
      worker.once("exit", () => {
        this.#end("the store is closed");
        resolve();
      });
    });
  }

  call<A, R>(operation: Operation<A, R>, args: A): Promise<R> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve: (value) => resolve(value as R), reject });
      this.#unposted.push({ operation: operation.name, args });
      if (this.#unposted.length === 1) setImmediate(() => this.#post());
      else if (this.#unposted.length === POSTED_AT) this.#post();
    });
  }

  /** Resolves when all calls are answered and the connection is closed. */
  close(): Promise<void> {
    if (!this.#ended) {
      this.#post();
      this.#send({ kind: "close" });
      this.#ended = new AuspexError("unavailable", "the store is closed");
    }
    return this.#exited;
  }

  #post(): void {
    if (this.#unposted.length === 0) return;
    const calls = this.#unposted;
    this.#unposted = [];
    this.#send({ kind: "run", calls });
  }

  #send(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #hear(message: FromThread): void {
    this.unfinished = message.unfinished;
    switch (message.kind) {
      case "ready":
        this.#waiters.shift()?.resolve(undefined);
        break;
      case "done": {
        const waiters = this.#waiters.splice(0, message.outcomes.length);
        for (const [index, outcome] of message.outcomes.entries()) {
          // Before the caller hears of it, who then finds the state that follows from it.
          if (!outcome.ok && outcome.failure.storage) this.#onStorageFault(outcome.failure.message);
          if (outcome.ok) waiters[index]?.resolve(outcome.value);
          else waiters[index]?.reject(errorFrom(outcome.failure));
        }
        break;
      }
      default:
        message satisfies never;
    }
  }

  /** Whatever is not answered by now never will be; whether it was written is unknown. */
  #end(message: string, cause?: unknown): void {
    this.#ended ??= new AuspexError("unavailable", message, { cause });
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#ended);
  }
}
