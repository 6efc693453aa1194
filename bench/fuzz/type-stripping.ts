/**
 * Hands the fuzzer JavaScript: Node strips types after the last hook has seen a module, and the fuzzer counts edges
 * only in what is JavaScript by then. Loaded with `--import`, before the fuzzer's own hook, it is asked after it.
 */
import { type LoadHookContext, register, stripTypeScriptTypes } from "node:module";
import { isMainThread } from "node:worker_threads";

type NextLoad = (
  url: string,
  context: LoadHookContext,
) => Promise<{ readonly format?: string; readonly source?: unknown }>;

export async function load(url: string, context: LoadHookContext, next: NextLoad): Promise<unknown> {
  const loaded = await next(url, context);
  if (loaded.format !== "module-typescript") return loaded;
  const { source } = loaded;
  const text = source instanceof Uint8Array ? Buffer.from(source).toString() : String(source);
  return { ...loaded, format: "module", source: stripTypeScriptTypes(text) };
}

// Hooks live in a thread of their own, which loads this file again.
if (isMainThread) register(import.meta.url);
