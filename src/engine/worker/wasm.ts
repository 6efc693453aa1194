/** TF.js with its WebAssembly backend, set up once for a process. */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type * as tf from "@tensorflow/tfjs-core";
import { countTensorsOf } from "./tensor-count.ts";

let opened: Promise<typeof tf> | undefined;

/** The core, with the backend registered as `wasm`; whoever computes has to set it. */
export function openWasm(): Promise<typeof tf> {
  opened ??= open();
  return opened;
}

async function open(): Promise<typeof tf> {
  const [core, wasm] = await Promise.all([
    import("@tensorflow/tfjs-core"),
    import("@tensorflow/tfjs-backend-wasm"),
  ]);
  // No advice on the console, no checks of every op's result for NaN.
  core.enableProdMode();
  countTensorsOf(core);
  wasm.setWasmPaths(`${dirname(fileURLToPath(import.meta.resolve("@tensorflow/tfjs-backend-wasm")))}/`);
  // One thread each: the cores are shared out between the worker processes.
  wasm.setThreadsCount(1);
  return core;
}
