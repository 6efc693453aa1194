/**
 * ONNX Runtime on the CPU. It serves ONNX models as they are, and TF.js models through the compiler. One session for
 * each model, on as many threads as this worker was given.
 */
import { join } from "node:path";
import { env } from "node:process";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { Dtype } from "../../domain/tensor.ts";
import type { Compiled } from "../compiler/compiled.ts";
import { compileGraphModel } from "../compiler/graph-model.ts";
import { compileLayersModel } from "../compiler/layers-model.ts";
import { NotCovered, type Value } from "../compiler/value.ts";
import { exists } from "../files.ts";
import type { TensorSpec } from "../signature.ts";
import { narrowed } from "./int64.ts";
import { readOnnxFile } from "./onnx-file.ts";
import { type ImportPackage, importOptional } from "./optional-package.ts";
import {
  type HostTensor,
  type HostTensors,
  type LoadedModel,
  type OutputSpec,
  onlyTensor,
  type Runtime,
  Unsupported,
} from "./runtime.ts";
import { readModelFiles } from "./weights.ts";

type Ort = typeof import("onnxruntime-node");

/** @throws Unsupported where the package is not installed, or has no library for this machine */
export async function openOnnxRuntime(threads: number, importPackage: ImportPackage): Promise<Runtime> {
  // Before the library is there: by itself it tells its makers of each session, with an id that it keeps in the home folder.
  env.ORT_DISABLE_TELEMETRY ??= "1";
  const ort = await importOptional(importPackage, "onnxruntime-node");
  if (!isOrt(ort)) throw new Unsupported("is installed, and is not ONNX Runtime");
  const options: InferenceSession.SessionOptions = {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Threads that wait for work by spinning doubled the CPU time of a run where others wanted the cores too.
    extra: { session: { intra_op: { allow_spinning: "0" } } },
    // What goes wrong is thrown; the rest is for whoever made the model.
    logSeverityLevel: 4,
  };
  return {
    name: "onnxruntime",
    async load(folder, manifest) {
      const { embedding } = manifest;
      if (await exists(join(folder, "model.onnx"))) {
        return served(ort, await openSession(ort, await readOnnxFile(folder), options), embedding);
      }
      const compiled = await compile(folder, embedding);
      return served(ort, await openSession(ort, compiled.model, options), embedding, compiled);
    },
  };
}

function isOrt(value: unknown): value is Ort {
  return typeof value === "object" && value !== null && "InferenceSession" in value && "Tensor" in value;
}

async function openSession(
  ort: Ort,
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  return ort.InferenceSession.create(model, options).catch(rethrowPlain);
}

/** ONNX Runtime puts the place in its own source in front of some of its sentences. */
function rethrowPlain(error: unknown): never {
  const text = error instanceof Error ? error.message : String(error);
  const plain = text.replaceAll(/\/onnxruntime_src\/\S+:\d+ [^()]*\([^()]*\)(?: const)? /g, "");
  throw new Error(plain.trim(), { cause: error });
}

async function compile(folder: string, embedding: string | null): Promise<Compiled> {
  if (await exists(join(folder, "saved_model.pb"))) throw new Unsupported("a SavedModel needs tfjs-node");
  if (!(await exists(join(folder, "model.json")))) throw new Unsupported("the folder has no model.json");
  const files = await readModelFiles(folder);
  try {
    const isGraph = files.model.format === "graph-model";
    return isGraph ? compileGraphModel(files, embedding) : compileLayersModel(files, embedding);
  } catch (error) {
    if (error instanceof NotCovered) throw new Unsupported(`does not cover ${error.message}`);
    throw error;
  }
}

/** An `int64` tensor, PyTorch's whole numbers, goes as `int32`. */
const DTYPES: Readonly<Record<string, Dtype>> = {
  float32: "float32",
  int32: "int32",
  int64: "int32",
  bool: "bool",
  uint8: "uint8",
};

function served(
  ort: Ort,
  session: InferenceSession,
  embedding: string | null,
  compiled?: Compiled,
): LoadedModel {
  const inputs = compiled ? compiled.inputs.map(inputSpec) : session.inputMetadata.map(specOf);
  const isInt64 = new Set(
    session.inputMetadata.flatMap((input) => (input.isTensor && input.type === "int64" ? [input.name] : [])),
  );
  const outputs: readonly OutputSpec[] = compiled
    ? compiled.outputs.map(inputSpec)
    : session.outputMetadata.map(specOf);
  // Of an ONNX model's own, only what it gives can be asked for.
  const embedded = compiled?.embedding
    ? inputSpec(compiled.embedding)
    : outputs.find(({ name }) => name === embedding);
  const run = async (given: HostTensors, wanted: readonly OutputSpec[]): Promise<HostTensors> => {
    const feeds: Record<string, Tensor> = {};
    for (const spec of inputs) {
      const input = given[spec.name];
      if (!input) throw new Error(`the input ${spec.name} is missing`);
      feeds[spec.name] = isInt64.has(spec.name)
        ? new ort.Tensor("int64", BigInt64Array.from(input.data, BigInt), input.shape)
        : new ort.Tensor(input.dtype, input.data, input.shape);
    }
    const names = wanted.map(({ name }) => name);
    return toHost(wanted, await session.run(feeds, names).catch(rethrowPlain));
  };
  return {
    inputs,
    outputs,
    run: (given) => run(given, outputs),
    embed: embedded && (async (given) => onlyTensor(await run(given, [embedded]))),
    dispose: () => void session.release(),
  };
}

function inputSpec({ name, value }: { readonly name: string; readonly value: Value }): TensorSpec {
  const dtype = DTYPES[value.type];
  if (!dtype) throw new Error(`the tensor ${name} is of type ${value.type}, which predictions cannot carry`);
  return { name, dtype, shape: value.shape };
}

function specOf(metadata: InferenceSession.ValueMetadata): TensorSpec {
  const { name } = metadata;
  const dtype = metadata.isTensor ? DTYPES[metadata.type] : undefined;
  if (!metadata.isTensor || !dtype)
    throw new Error(
      `the tensor ${name} is of type ${metadata.isTensor ? metadata.type : "sequence"}, which predictions cannot carry`,
    );
  return { name, dtype, shape: metadata.shape.map((size) => (typeof size === "number" ? size : null)) };
}

function toHost(specs: readonly OutputSpec[], results: InferenceSession.ReturnType): HostTensors {
  const named: Record<string, HostTensor> = {};
  for (const { name, dtype } of specs) {
    const tensor = results[name];
    if (!tensor || !("data" in tensor)) throw new Error(`the model gave no output ${name}`);
    const { data, dims } = tensor as Tensor;
    named[name] = { dtype, shape: dims, data: hostData(name, data) };
  }
  return named;
}

function hostData(name: string, data: Tensor["data"]): HostTensor["data"] {
  if (data instanceof BigInt64Array) return narrowed(name, data);
  if (data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array) return data;
  throw new Error(`the output ${name} is of a type that predictions cannot carry`);
}
