/** Text embedding in a worker: texts in, one vector for each out. */
import type { TextSpec } from "../../domain/model.ts";
import type { Tensor } from "../../domain/tensor.ts";
import type { Outcome } from "../protocol.ts";
import { type Signature, shapeText, type TensorSpec } from "../signature.ts";
import { modelFault } from "../wire-error.ts";
import { isNear } from "./near.ts";
import type { HostTensor, HostTensors, LoadedModel } from "./runtime.ts";
import { readTokenizer, type Tokenizer } from "./tokenizer.ts";

export interface TextTask {
  readonly signature: Signature;
  readonly notes: readonly string[];
  /** Items are lists of texts; one outcome for each item, in their order: float32 [texts, width]. */
  run(items: readonly (readonly string[])[]): Promise<readonly Outcome<Tensor>[]>;
}

/**
 * Tokens of one run, rows × the longest. A run of more gains nothing, for a model is busy with one sentence, and no
 * longer fits the processor's caches: 8 texts of 256 tokens take a quarter longer together than one by one.
 */
const RUN_TOKENS_MAX = 1024;

/** What a model may take beside the tokens, and what it is given for a token and for the padding behind a text. */
const INPUTS: Readonly<Record<string, { readonly token?: number; readonly padding: number }>> = {
  input_ids: { padding: 0 },
  attention_mask: { token: 1, padding: 0 },
  token_type_ids: { token: 0, padding: 0 },
};

/** Of several outputs with a vector for each token, these are the last layer's. */
const OUTPUTS = ["last_hidden_state", "token_embeddings"];

/** They differ in length and in words, so that a model in which rows touch one another gives itself away. */
const SAMPLES = ["a text", "Rain is forecast for tomorrow; take an umbrella, two apples and $3 with you!"];

/** Of vectors of the same text, relative to their largest number. */
const VECTOR_ERROR_MAX = 1e-5;

/**
 * @param known the signature of an earlier opening: then one run is enough
 * @throws Error with the reason why the model cannot serve
 */
export async function openTextTask(
  model: LoadedModel,
  folder: string,
  spec: TextSpec,
  known: Signature | null,
): Promise<TextTask> {
  checkInputs(model);
  const tokenizer = await readTokenizer(folder, spec);
  const samples = SAMPLES.map((text) => tokenizer.encode(text));
  const [first = []] = samples;
  const output = outputOf(await model.run(inputsOf(model, [first])), first.length);
  const embed: Embed = async (rows) => {
    const outputs = await model.run(inputsOf(model, rows));
    return pooled(outputs[output.name], rows, spec);
  };
  const run = (joinable: boolean): TextTask["run"] => {
    return (items) => runItems(items, tokenizer, joinable, embed);
  };
  if (known) {
    await embed([first]);
    return { signature: known, notes: [], run: run(known.joinable) };
  }
  await tryLongest(tokenizer, spec.maxTokens, embed);
  const obstacle = await obstacleToJoining(model, samples, embed);
  const joinable = obstacle === undefined;
  return {
    signature: { inputs: model.inputs, outputs: [output], joinable },
    notes: joinable ? [] : [`each text runs alone: ${obstacle}`],
    run: run(joinable),
  };
}

/** One vector for each row of tokens. */
type Embed = (rows: readonly (readonly number[])[]) => Promise<readonly Float32Array[]>;

function checkInputs({ inputs }: LoadedModel): void {
  if (!inputs.some(({ name }) => name === "input_ids")) {
    const names = inputs.map(({ name }) => name).join(", ");
    throw new Error(`a model of texts has an input input_ids, and this one has ${names || "none"}`);
  }
  for (const { name, dtype, shape } of inputs) {
    if (!Object.hasOwn(INPUTS, name))
      throw new Error(`the input ${name} is not one of ${Object.keys(INPUTS).join(", ")}`);
    const isFree = shape.length === 2 && (shape[0] === null || shape[0] === 1) && shape[1] === null;
    if (dtype !== "int32" || !isFree)
      throw new Error(
        `the input ${name} must be of whole numbers [any, any], not ${dtype} ${shapeText(shape)}`,
      );
  }
}

function inputsOf({ inputs }: LoadedModel, rows: readonly (readonly number[])[]): HostTensors {
  const length = Math.max(...rows.map((row) => row.length));
  const named: Record<string, HostTensor> = {};
  for (const { name } of inputs) {
    const { token, padding } = INPUTS[name] ?? { padding: 0 };
    const data = new Int32Array(rows.length * length).fill(padding);
    for (const [i, row] of rows.entries()) {
      if (token === undefined) data.set(row, i * length);
      else data.fill(token, i * length, i * length + row.length);
    }
    named[name] = { dtype: "int32", shape: [rows.length, length], data };
  }
  return named;
}

/** The output with a vector for each token: [rows, tokens, width]. */
function outputOf(outputs: HostTensors, tokens: number): TensorSpec {
  const fitting = Object.entries(outputs).filter(
    ([, { dtype, shape }]) => dtype === "float32" && shape.length === 3 && shape[1] === tokens,
  );
  const [name, tensor] = fitting.find(([output]) => OUTPUTS.includes(output)) ?? fitting[0] ?? [];
  const width = tensor?.shape[2] ?? 0;
  if (name !== undefined && width > 0) return { name, dtype: "float32", shape: [null, null, width] };
  const seen = Object.entries(outputs).map(([output, { shape }]) => `${output} ${shapeText(shape)}`);
  throw new Error(`the model gives no vector for each token, but ${seen.join(", ") || "nothing"}`);
}

/** A model that was made for shorter texts is found out now, and not by the first caller with a long one. */
async function tryLongest(tokenizer: Tokenizer, maxTokens: number, embed: Embed): Promise<void> {
  // The sample is never empty, so this is at least as long as a text may be.
  const longest = tokenizer.encode(`${SAMPLES[0]} `.repeat(maxTokens));
  try {
    await embed([longest]);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`a text of ${longest.length} tokens (text.maxTokens) failed: ${why}`, { cause: error });
  }
}

/**
 * Why texts may not share a run: one beside a longer one has to come out as it does alone. A graph that is quantized
 * while it runs measures all rows by the largest number in any of them, and padding counts, too.
 *
 * @returns undefined when they may
 */
async function obstacleToJoining(
  { inputs }: LoadedModel,
  samples: readonly (readonly number[])[],
  embed: Embed,
): Promise<string | undefined> {
  if (inputs.some(({ shape }) => shape[0] !== null)) return "its inputs have one row";
  if (!inputs.some(({ name }) => name === "attention_mask")) return "it is not told what is padding";
  try {
    const joined = await embed(samples);
    for (const [i, sample] of samples.entries()) {
      const [alone = []] = await embed([sample]);
      if (!isNear(joined[i] ?? [], alone, VECTOR_ERROR_MAX))
        return "its vector depends on the texts beside it";
    }
    return undefined;
  } catch (error) {
    return `two texts failed: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function pooled(
  output: HostTensor | undefined,
  rows: readonly (readonly number[])[],
  { pooling, normalize }: TextSpec,
): readonly Float32Array[] {
  const length = Math.max(...rows.map((row) => row.length));
  const [ownRows, ownLength, width = 0] = output?.shape ?? [];
  if (!output || ownRows !== rows.length || ownLength !== length || width === 0)
    throw new Error(`the model gave [${output?.shape}] for ${rows.length} texts of ${length} tokens`);
  return rows.map((row, i) => {
    const used = pooling === "mean" ? row.length : 1;
    const vector = mean(output.data, i * length * width, used, width);
    if (!vector.every(Number.isFinite)) throw new Error("the vector has values that are not finite");
    return Float32Array.from(normalize ? scaled(vector) : vector);
  });
}

function mean(data: HostTensor["data"], from: number, tokens: number, width: number): Float64Array {
  const sum = new Float64Array(width);
  for (let token = 0, at = from; token < tokens; token++)
    for (let i = 0; i < width; i++, at++) sum[i] = (sum[i] ?? 0) + (data[at] ?? 0);
  return sum.map((value) => value / tokens);
}

/** To length 1; a vector of zeros has no direction, and stays. */
function scaled(vector: Float64Array): Float64Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}

/** A text of a batch. */
interface Text {
  readonly item: number;
  readonly row: number;
  readonly tokens: readonly number[];
}

async function runItems(
  items: readonly (readonly string[])[],
  tokenizer: Tokenizer,
  joinable: boolean,
  embed: Embed,
): Promise<readonly Outcome<Tensor>[]> {
  const faults = new Map<number, unknown>();
  const texts: Text[] = [];
  for (const [item, own] of items.entries()) {
    try {
      texts.push(...own.map((text, row) => ({ item, row, tokens: tokenizer.encode(text) })));
    } catch (error) {
      faults.set(item, error);
    }
  }
  const vectors = items.map((): Float32Array[] => []);
  const take = async (group: readonly Text[]): Promise<void> => {
    const embedded = await embed(group.map(({ tokens }) => tokens));
    for (const [i, { item, row }] of group.entries()) {
      const vector = embedded[i];
      const place = vectors[item];
      if (vector && place) place[row] = vector;
    }
  };
  for (const group of runsOf(texts, joinable)) {
    const isDone = group.length > 1 && (await take(group).then(isTrue, isFalse));
    if (isDone) continue;
    // One text may have failed them all: alone, each comes out or fails its own item.
    for (const text of group) await take([text]).catch((error: unknown) => faults.set(text.item, error));
  }
  return vectors.map((own, item) =>
    faults.has(item)
      ? { ok: false, error: modelFault(faults.get(item)) }
      : { ok: true, value: tensorOf(own) },
  );
}

const isTrue = (): boolean => true;
const isFalse = (): boolean => false;

/** Texts of about one length run together, so that a short one is not padded to a long one's. */
function runsOf(texts: readonly Text[], joinable: boolean): readonly (readonly Text[])[] {
  if (!joinable) return texts.map((text) => [text]);
  const runs: Text[][] = [];
  let run: Text[] = [];
  for (const text of texts.toSorted((a, b) => a.tokens.length - b.tokens.length)) {
    // In ascending order the last one is the longest.
    if (run.length > 0 && (run.length + 1) * text.tokens.length > RUN_TOKENS_MAX) run = [];
    if (run.length === 0) runs.push(run);
    run.push(text);
  }
  return runs;
}

function tensorOf(vectors: readonly Float32Array[]): Tensor {
  const width = vectors[0]?.length ?? 0;
  const data = new Float32Array(vectors.length * width);
  for (const [row, vector] of vectors.entries()) data.set(vector, row * width);
  return { dtype: "float32", shape: [vectors.length, width], data: new Uint8Array(data.buffer) };
}
