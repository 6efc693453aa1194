/**
 * Runs what a publisher has written, such as the patterns of a JSON Schema, for a limited time: a regular
 * expression can take years over 40 characters, and nothing else runs on the thread meanwhile.
 */
import { createContext, Script } from "node:vm";

// Node's one way to stop code that never yields, on its own thread, is the limit of a script; work runs inside one.
const context = createContext({ work: () => undefined });
const script = new Script("work()");

export class TimeLimitPassed extends Error {
  override readonly name = "TimeLimitPassed";
}

/** @throws TimeLimitPassed, with the work broken off, or whatever `work` threw */
export function withTimeLimit<T>(ms: number, work: () => T): T {
  try {
    context.work = work;
    return script.runInContext(context, { timeout: ms }) as T;
  } catch (error) {
    // The error is of the context's own realm, so no instance of our Error.
    const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
    const isPassed = code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
    throw isPassed ? new TimeLimitPassed(`took longer than ${ms} ms`, { cause: error }) : error;
  } finally {
    context.work = undefined;
  }
}
