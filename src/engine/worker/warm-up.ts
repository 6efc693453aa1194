/**
 * The first run of a model, before it counts as loaded: it shows that the model runs at all, what its outputs look
 * like, and whether rows of several callers may share one run. It also takes the compiling that the first caller
 * would wait for.
 */
import type { Manifest } from "../../domain/model.ts";
import { type Dtype, elementCount } from "../../domain/tensor.ts";
import { type Signature, shapeText, type TensorSpec } from "../signature.ts";
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
    await tryRun(model, manifest, 1);
    return { signature: known, notes: [] };
  }
  if (manifest.picture) checkPictureInput(model, manifest.picture);
  const isFree = model.inputs.length > 0 && model.inputs.every((spec) => spec.shape[0] === null);
  const notes: string[] = [];
  if (isFree) {
    // Two rows rather than one: outputs that follow show that rows can be joined and taken apart again.
    try {
      const outputs = await tryRun(model, manifest, 2);
      if (Object.values(outputs).every(({ shape }) => shape[0] === 2)) {
        return { signature: signature(model, outputs, true), notes };
      }
      notes.push("not batched: its outputs do not have one row per input row");
    } catch (error) {
      notes.push(`not batched: two rows failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  } else {
    notes.push("not batched: its inputs have a fixed number of rows");
  }
  const outputs = await tryRun(model, manifest, 1);
  return { signature: signature(model, outputs, false), notes };
}

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

async function tryRun(model: LoadedModel, manifest: Manifest, rows: number): Promise<HostTensors> {
  const inputs: Record<string, HostTensor> = {};
  for (const spec of model.inputs) inputs[spec.name] = plainTensor(spec, manifest, rows);
  const outputs = await model.run(inputs);
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

/** Grey for pictures; for tensors a half, for whole numbers 0, which is in any vocabulary. */
function plainTensor(spec: TensorSpec, manifest: Manifest, rows: number): HostTensor {
  const { dtype, shape } = spec;
  const { picture } = manifest;
  const layout = picture && pictureLayout(spec, picture);
  const wanted = picture && layout ? pictureShape(layout, rows, picture) : [rows];
  // A free dimension of unknown meaning is 1.
  const sizes = shape.map((size, i) => size ?? wanted[i] ?? 1);
  const count = elementCount(sizes);
  if (count > INPUT_ELEMENTS_MAX)
    throw new Error(
      `the input ${spec.name} ${shapeText(shape)} takes ${count} numbers a row; at most ${INPUT_ELEMENTS_MAX} are allowed`,
    );
  const data = createData(dtype, count);
  if (dtype === "float32") data.fill(picture ? (picture.range[0] + picture.range[1]) / 2 : 0.5);
  return { dtype, shape: sizes, data };
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
