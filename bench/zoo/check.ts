/** One model of the zoo on two runtimes: whether both load it, and how far their answers are apart. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { readManifest } from "../../src/engine/manifest.ts";
import { shapeText, type TensorSpec } from "../../src/engine/signature.ts";
import type { HostTensors, LoadedModel } from "../../src/engine/worker/runtime.ts";
import type { Runtimes } from "../../src/engine/worker/runtimes.ts";
import { createTfjsRuntime } from "../../src/engine/worker/tfjs.ts";
import { spread } from "../statistics.ts";
import { type Difference, difference } from "./difference.ts";
import { createInputs, type Input } from "./inputs.ts";
import type { Feed } from "./models.ts";

/** Timed runs of one row, after one that is not. */
const TIMED_RUNS = 5;

/** Characters of a complaint. */
const REASON_LENGTH_MAX = 1000;

export interface Checked {
  readonly kind: "compared";
  /** `tfjs-wasm`, or `tfjs-cpu` where WebAssembly lacks a kernel. */
  readonly reference: string;
  readonly outputs: readonly string[];
  /** Rows of each input that was compared. */
  readonly rows: readonly number[];
  /** The worst over all inputs. */
  readonly difference: Difference;
  /** Of two backends of TF.js on the same inputs; undefined when not asked for, or when one cannot run it. */
  readonly noise: Difference | undefined;
  /** Milliseconds from files to a model that can run. */
  readonly loadMs: number;
  /** Milliseconds for the first input, median. */
  readonly referenceMs: number;
  readonly otherMs: number;
}

export type CheckResult = Checked | { readonly kind: "failed"; readonly reason: string };

/**
 * @param runtime the runtime to hold against TF.js, by its name
 * @param withNoise whether to ask how far TF.js's own backends are apart
 */
export async function check(
  runtimes: Runtimes,
  runtime: string,
  folder: string,
  feed: Feed,
  withNoise = false,
): Promise<CheckResult> {
  let reference: Reference | undefined;
  let other: LoadedModel | undefined;
  try {
    reference = await loadReference(runtimes, folder, feed);
    const start = performance.now();
    other = (await runtimes.load(folder, MANIFEST, runtime)).model;
    const loadMs = performance.now() - start;
    requireSameSpecs(reference.model, other);
    const noise = withNoise ? await noiseOf(reference, folder) : undefined;
    return { loadMs, noise, ...(await compare(reference, other)) };
  } catch (error) {
    return { kind: "failed", reason: inBrief(error) };
  } finally {
    reference?.model.dispose();
    other?.dispose();
  }
}

/** TF.js prints a whole model that it cannot read. */
function inBrief(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.length > REASON_LENGTH_MAX ? `${text.slice(0, REASON_LENGTH_MAX)}…` : text;
}

const MANIFEST = readManifest('{"task": "tensor"}');

interface Reference {
  readonly name: string;
  readonly model: LoadedModel;
  readonly inputs: readonly Input[];
}

/** TF.js on WebAssembly, or in plain JavaScript where a kernel is missing there. */
async function loadReference(runtimes: Runtimes, folder: string, feed: Feed): Promise<Reference> {
  const { model } = await runtimes.load(folder, MANIFEST, "tfjs-wasm");
  const inputs = await createInputs(feed, model.inputs, folder);
  try {
    for (const { tensors } of inputs.slice(0, 1)) await model.run(tensors);
    return { name: "tfjs-wasm", model, inputs };
  } catch (error) {
    model.dispose();
    if (!/Kernel '\w+' not registered/.test(String(error))) throw error;
    return { name: "tfjs-cpu", model: await loadInJavaScript(folder), inputs };
  }
}

async function loadInJavaScript(folder: string): Promise<LoadedModel> {
  const [core] = await Promise.all([import("@tensorflow/tfjs-core"), import("@tensorflow/tfjs-backend-cpu")]);
  const runtime = createTfjsRuntime("tfjs-wasm", {
    core,
    backend: "cpu",
    layers: () => import("@tensorflow/tfjs-layers"),
    converter: () => import("@tensorflow/tfjs-converter"),
  });
  return runtime.load(folder, MANIFEST);
}

async function noiseOf({ name, model, inputs }: Reference, folder: string): Promise<Difference | undefined> {
  if (name === "tfjs-cpu") return undefined;
  const inJavaScript = await loadInJavaScript(folder);
  try {
    return await worstOf(inputs, model, inJavaScript);
  } finally {
    inJavaScript.dispose();
  }
}

async function worstOf(
  inputs: readonly Input[],
  reference: LoadedModel,
  other: LoadedModel,
): Promise<Difference> {
  let worst: Difference | undefined;
  for (const { tensors } of inputs) {
    const expected = await reference.run(tensors);
    requireFinite(expected);
    const found = difference(expected, await other.run(tensors));
    if (!worst || found.relative > worst.relative) worst = found;
  }
  if (!worst) throw new Error("there is nothing to show it");
  return worst;
}

/** A caller must not have to know which runtime serves a model. */
function requireSameSpecs(a: LoadedModel, b: LoadedModel): void {
  const specsOf = ({ inputs, outputs }: LoadedModel): string =>
    [...inputs.map(specText), ...outputs.map(({ name }) => name)].toSorted().join(", ");
  if (!isDeepStrictEqual(specsOf(a), specsOf(b))) {
    throw new Error(`takes and gives ${specsOf(b)}, where TF.js has ${specsOf(a)}`);
  }
}

function specText({ name, dtype, shape }: TensorSpec): string {
  return `${dtype} ${name} ${shapeText(shape)}`;
}

async function compare(
  { name, model, inputs }: Reference,
  other: LoadedModel,
): Promise<Omit<Checked, "loadMs" | "noise">> {
  const worst = await worstOf(inputs, model, other);
  const [first] = inputs;
  if (!first) throw new Error("there is nothing to show it");
  return {
    kind: "compared",
    reference: name,
    outputs: model.outputs.map((output) => output.name),
    rows: inputs.map(({ rows }) => rows),
    difference: worst,
    referenceMs: await medianMs(model, first),
    otherMs: await medianMs(other, first),
  };
}

/** Where TF.js itself gives nonsense, agreeing with it shows nothing. */
function requireFinite(outputs: HostTensors): void {
  for (const [name, { data }] of Object.entries(outputs)) {
    if (!data.every(Number.isFinite)) throw new Error(`TF.js gives values that are not finite in ${name}`);
  }
}

async function medianMs(model: LoadedModel, { tensors }: Input): Promise<number> {
  await model.run(tensors);
  const times: number[] = [];
  for (let i = 0; i < TIMED_RUNS; i++) {
    const start = performance.now();
    await model.run(tensors);
    times.push(performance.now() - start);
  }
  return spread(times).median;
}

/** `graph` or `layers`, and what it is made of: operators, or layer classes, each once. */
export interface Composition {
  readonly format: "graph" | "layers";
  readonly kinds: readonly string[];
}

export async function composition(folder: string): Promise<Composition> {
  const { modelTopology } = JSON.parse(await readFile(join(folder, "model.json"), "utf8")) as {
    readonly modelTopology: {
      readonly node?: readonly { readonly op: string }[];
      readonly model_config?: { readonly config: { readonly layers: readonly { class_name: string }[] } };
    };
  };
  const { node, model_config } = modelTopology;
  const kinds = node
    ? node.map(({ op }) => op).filter((op) => !["Const", "Placeholder", "NoOp"].includes(op))
    : (model_config?.config.layers ?? []).map((layer) => layer.class_name);
  return { format: node ? "graph" : "layers", kinds: [...new Set(kinds)].toSorted() };
}
