/**
 * The first runs of a model, before it counts as loaded: they show that the model runs at all, what its outputs look
 * like, and whether rows of several callers may share one run. They also take the compiling that the first caller
 * would wait for.
 */
import type { Manifest } from "../../domain/model.ts";
import { type Dtype, elementCount } from "../../domain/tensor.ts";
import { type Signature, shapeText, type TensorSpec } from "../signature.ts";
import { isNear } from "./near.ts";
import { pictureLayout, pictureShape } from "./picture-layout.ts";
import type { HostTensor, HostTensors, LoadedModel } from "./runtime.ts";

export interface WarmUp {
  readonly signature: Signature;
  readonly notes: readonly string[];
}

/**
 * @param known the signature of an earlier warm-up: then one row is enough
 * @throws Error with the reason why the model cannot serve
 */
export async function warmUp(
  model: LoadedModel,
  manifest: Manifest,
  known: Signature | null,
): Promise<WarmUp> {
  if (known) {
    await tryRun(model, manifest, ["plain"]);
    return { signature: known, notes: [] };
  }
  if (manifest.picture) checkPictureInput(model, manifest.picture);
  const plain = await tryRun(model, manifest, ["plain"]);
  const obstacle = await obstacleToJoining(model, manifest, plain);
  return {
    signature: signature(model, plain, obstacle === undefined),
    notes: obstacle === undefined ? [] : [`not batched: ${obstacle}`],
  };
}

/**
 * Why rows of several callers may not share a run. Two rows that differ are run together and alone: a first dimension
 * that is no batch, but the words of a text, say, gives as many rows, and other ones.
 *
 * @param plain what one of the rows gives alone
 * @returns undefined when they may
 */
async function obstacleToJoining(
  model: LoadedModel,
  manifest: Manifest,
  plain: HostTensors,
): Promise<string | undefined> {
  if (model.inputs.length === 0 || model.inputs.some((spec) => spec.shape[0] !== null))
    return "its inputs have a fixed number of rows";
  try {
    const joined = await tryRun(model, manifest, ["other", "plain"]);
    const alone = [await tryRun(model, manifest, ["other"]), plain];
    const hasRows = (outputs: HostTensors, rows: number): boolean =>
      Object.values(outputs).every(({ shape }) => shape[0] === rows);
    if (!hasRows(joined, 2) || !alone.every((outputs) => hasRows(outputs, 1)))
      return "its outputs do not have one row per input row";
    const isSame = Object.entries(joined).every(([name, { data }]) =>
      alone.every((outputs, row) => isNear(rowOf(data, row), outputs[name]?.data ?? [], ROW_ERROR_MAX)),
    );
    return isSame ? undefined : "a row's outputs depend on the rows beside it";
  } catch (error) {
    return `two rows failed: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function rowOf(data: HostTensor["data"], row: number): HostTensor["data"] {
  const size = data.length / 2;
  return data.subarray(row * size, (row + 1) * size);
}

/** Relative to the largest number. Kernels for one row and for two add up in another order. */
const ROW_ERROR_MAX = 1e-3;

function checkPictureInput(model: LoadedModel, picture: NonNullable<Manifest["picture"]>): void {
  const [input, ...others] = model.inputs;
  if (!input || others.length > 0) {
    throw new Error(`a picture model has one input, and this one has ${model.inputs.length}`);
  }
  if (!pictureLayout(input, picture)) {
    throw new Error(
      `pictures of ${picture.width} × ${picture.height} pixels (auspex.json) do not fit the model's input ` +
        `${input.name}, ${input.dtype} ${shapeText(input.shape)}`,
    );
  }
}

/** Two rows that differ, in values that any model should take. */
type Row = "plain" | "other";

async function tryRun(model: LoadedModel, manifest: Manifest, rows: readonly Row[]): Promise<HostTensors> {
  const inputs: Record<string, HostTensor> = {};
  for (const spec of model.inputs) inputs[spec.name] = tensorOf(spec, manifest, rows);
  const outputs = await (model.tryRun ?? model.run)(inputs);
  for (const [name, { data }] of Object.entries(outputs)) {
    if (!data.every(Number.isFinite)) {
      throw new Error(`the output ${name} has values that are not finite: the weights may be damaged`);
    }
  }
  return outputs;
}

/**
 * Numbers in one row of one input: 1 GiB of float32, the most that MAX_BODY_BYTES could ever be set to let in. A model
 * that wants more could be sent nothing.
 */
export const INPUT_ELEMENTS_MAX = 2 ** 28;

function tensorOf(spec: TensorSpec, manifest: Manifest, rows: readonly Row[]): HostTensor {
  const { dtype, shape } = spec;
  const { picture } = manifest;
  const layout = picture && pictureLayout(spec, picture);
  const wanted = picture && layout ? pictureShape(layout, rows.length, picture) : [rows.length];
  // A free dimension of unknown meaning is 1.
  const sizes = shape.map((size, i) => size ?? wanted[i] ?? 1);
  const count = elementCount(sizes);
  if (count > INPUT_ELEMENTS_MAX)
    throw new Error(
      `the input ${spec.name} ${shapeText(shape)} takes ${count} numbers a row; at most ${INPUT_ELEMENTS_MAX} are allowed`,
    );
  const data = createData(dtype, count);
  rows.forEach((row, i) => {
    data.fill(numberOf(row, dtype, picture), (i * count) / rows.length);
  });
  return { dtype, shape: sizes, data };
}

/** Grey for pictures; for tensors a half, for whole numbers 0, which is in any vocabulary. The other row has others. */
function numberOf(row: Row, dtype: Dtype, picture: Manifest["picture"]): number {
  const isPlain = row === "plain";
  if (dtype !== "float32") return isPlain ? 0 : 1;
  const [low, high] = picture?.range ?? [0, 1];
  return low + (high - low) * (isPlain ? 0.5 : 0.25);
}

function createData(dtype: Dtype, length: number): Float32Array | Int32Array | Uint8Array {
  switch (dtype) {
    case "float32":
      return new Float32Array(length);
    case "int32":
      return new Int32Array(length);
    case "bool":
    case "uint8":
      return new Uint8Array(length);
    default:
      return dtype satisfies never;
  }
}

function signature(model: LoadedModel, seen: HostTensors, joinable: boolean): Signature {
  const outputs = model.outputs.map(({ name, dtype: declared }) => {
    const [rows = null, ...rest] = seen[name]?.shape ?? [];
    const dtype = seen[name]?.dtype ?? declared;
    return { name, dtype, shape: seen[name]?.shape.length === 0 ? [] : [joinable ? null : rows, ...rest] };
  });
  return { inputs: model.inputs, outputs, joinable };
}
