/**
 * Which runtime executes a model: the first in the order of choice that is installed and takes it. Why earlier
 * ones were passed over is kept, so that nobody has to guess why a GPU idles.
 */
import { env } from "node:process";
import util from "node:util";
import type * as tf from "@tensorflow/tfjs-core";
import { type Manifest, RUNTIMES, type RuntimeName } from "../../domain/model.ts";
import { openOnnxRuntime } from "./onnx.ts";
import { type ImportPackage, importOptional } from "./optional-package.ts";
import { BadModel, type LoadedModel, type Runtime, Unsupported } from "./runtime.ts";
import { openSavedModel, type SavedModelReader } from "./saved-model.ts";
import { createTfjsRuntime, type TfjsKit } from "./tfjs.ts";
import { openWasm } from "./wasm.ts";

export interface Choice {
  readonly runtime: RuntimeName;
  readonly model: LoadedModel;
  readonly notes: readonly string[];
}

/** The runtimes of one process: each is opened when a model first wants it, and once. */
export interface Runtimes {
  /**
   * @param pinned the operator's choice, which goes before the model's own
   * @throws BadModel with what is wrong with the model; Error with the reason of every runtime that was tried
   */
  load(folder: string, manifest: Manifest, pinned: string | null): Promise<Choice>;
}

/** Models of texts are published as ONNX; TF.js has no common form for them. */
const TEXT_RUNTIMES: readonly RuntimeName[] = ["onnxruntime"];

function notAble({ task }: Manifest, wanted: string | null): string {
  return RUNTIMES.some((name) => name === wanted)
    ? `the task ${task} runs on ${TEXT_RUNTIMES.join(", ")}, and the runtime is set to ${wanted}`
    : `there is no runtime ${wanted}`;
}

/** @param threads that a model runs on, where its runtime has threads */
export function createRuntimes(threads = 1, importPackage: ImportPackage = (name) => import(name)): Runtimes {
  const openers: Readonly<Record<RuntimeName, () => Promise<Runtime>>> = {
    "tfjs-node-gpu": () => openNative("tfjs-node-gpu", threads, importPackage),
    onnxruntime: () => openOnnxRuntime(threads, importPackage),
    "tfjs-node": () => openNative("tfjs-node", threads, importPackage),
    "tfjs-wasm": openWasmRuntime,
  };
  const opened = new Map<RuntimeName, Promise<Runtime>>();
  const open = (name: RuntimeName): Promise<Runtime> => {
    const runtime = opened.get(name) ?? openers[name]();
    opened.set(name, runtime);
    return runtime;
  };
  return {
    async load(folder, manifest, pinned) {
      const wanted = pinned ?? manifest.runtime;
      const able = manifest.text ? TEXT_RUNTIMES : RUNTIMES;
      const names = able.filter((name) => wanted === null || name === wanted);
      if (names.length === 0) throw new Error(notAble(manifest, wanted));
      const passed: { readonly name: string; readonly reason: string; readonly isAbsent: boolean }[] = [];
      for (const name of names) {
        try {
          const model = await (await open(name)).load(folder, manifest);
          return { runtime: name, model, notes: passed.map((p) => `${p.name}: ${p.reason}`) };
        } catch (error) {
          if (error instanceof BadModel) throw error;
          const reason = error instanceof Error ? error.message : String(error);
          passed.push({ name, reason, isAbsent: error instanceof Unsupported });
        }
      }
      // What is wrong with the model is said by those that tried; the rest matters only when none did.
      const tried = passed.filter((p) => !p.isAbsent);
      throw new Error((tried.length > 0 ? tried : passed).map((p) => `${p.name}: ${p.reason}`).join("; "));
    },
  };
}

async function openWasmRuntime(): Promise<Runtime> {
  return createTfjsRuntime("tfjs-wasm", {
    core: await openWasm(),
    backend: "wasm",
    layers: () => import("@tensorflow/tfjs-layers"),
    converter: () => import("@tensorflow/tfjs-converter"),
  });
}

async function openNative(
  name: "tfjs-node" | "tfjs-node-gpu",
  threads: number,
  importPackage: ImportPackage,
): Promise<Runtime> {
  restoreUtil();
  calmTensorFlow(threads);
  const loaded = await importOptional(importPackage, `@tensorflow/${name}`);
  const module = isDefaultOfNative(loaded) ? loaded.default : isNative(loaded) ? loaded : undefined;
  if (!module) throw new Unsupported("is installed, and is not TF.js");
  const isGpu = name === "tfjs-node-gpu";
  // The package runs on the CPU where it finds no GPU, and says nothing.
  if (isGpu && !isOnGpu(module)) throw new Unsupported(NO_GPU);
  module.enableProdMode();
  return createTfjsRuntime(name, {
    core: module,
    backend: "tensorflow",
    ...(isGpu ? { isBroken: () => !computes(module) } : {}),
    layers: () => Promise.resolve(module),
    converter: () => Promise.resolve(module),
    loadSavedModel: (folder) => openSavedModel(module.node, folder),
  });
}

const NO_GPU =
  "is installed, and TensorFlow found no GPU that it can use: the driver, CUDA's libraries or the GPU itself is " +
  "missing (TF_CPP_MIN_LOG_LEVEL=0 has the workers log which)";

/** tfjs-node's backend says so; its type is not TF.js's. */
function isOnGpu(module: Native): boolean {
  const backend: unknown = module.findBackend("tensorflow");
  return (
    typeof backend === "object" &&
    backend !== null &&
    "isUsingGpuDevice" in backend &&
    backend.isUsingGpuDevice === true
  );
}

/** Whether the GPU still answers in this process, and rightly. */
function computes(module: Native): boolean {
  try {
    return module.tidy(() => module.add(module.tensor([1]), module.tensor([2])).dataSync()[0] === 3);
  } catch {
    return false;
  }
}

type Native = TfjsKit["core"] &
  Pick<typeof tf, "add" | "findBackend"> &
  Awaited<ReturnType<TfjsKit["layers"]>> &
  Awaited<ReturnType<TfjsKit["converter"]>> & {
    readonly node: SavedModelReader;
    enableProdMode(): void;
  };

function isNative(value: unknown): value is Native {
  return typeof value === "object" && value !== null && "loadGraphModel" in value && "node" in value;
}

function isDefaultOfNative(value: unknown): value is { readonly default: Native } {
  return typeof value === "object" && value !== null && "default" in value && isNative(value.default);
}

/**
 * TensorFlow takes its settings from the environment alone, which an operator may have set: as many threads as a
 * model may have, no notes on the processor's features from every worker; of a GPU's memory what is needed rather than
 * all of it, for the workers share the GPU; and there all 24 bits of a float32. With the 11 that TensorFlow is content
 * with otherwise (TF32), a row's answer depended on how many were in its batch, in the third digit.
 */
function calmTensorFlow(threads: number): void {
  env.TF_NUM_INTRAOP_THREADS ??= String(threads);
  env.TF_NUM_INTEROP_THREADS ??= "1";
  env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  env.TF_FORCE_GPU_ALLOW_GROWTH ??= "true";
  env.NVIDIA_TF32_OVERRIDE ??= "0";
}

/**
 * The native packages still call functions that Node 23 removed from `util`; they find them on the module object.
 */
function restoreUtil(): void {
  const removed = {
    isArray: Array.isArray,
    isBoolean: (value: unknown) => typeof value === "boolean",
    isNull: (value: unknown) => value === null,
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
    isNumber: (value: unknown) => typeof value === "number",
    isString: (value: unknown) => typeof value === "string",
    isUndefined: (value: unknown) => value === undefined,
    isObject: (value: unknown) => typeof value === "object" && value !== null,
    isFunction: (value: unknown) => typeof value === "function",
    isPrimitive: (value: unknown) =>
      value === null || (typeof value !== "object" && typeof value !== "function"),
  };
  for (const [name, check] of Object.entries(removed))
    if (!(name in util)) Object.assign(util, { [name]: check });
}
