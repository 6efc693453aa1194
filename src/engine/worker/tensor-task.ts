/** The tensor task in a worker: joined rows in, joined rows out; apart only when joining fails. */
import { DTYPES, type Tensor, type Tensors } from "../../domain/tensor.ts";
import type { Outcome, TensorGroup, TensorGroupOutcome } from "../protocol.ts";
import { modelFault } from "../wire-error.ts";
import type { HostTensor, HostTensors, LoadedModel } from "./runtime.ts";

export async function runTensorGroup(model: LoadedModel, group: TensorGroup): Promise<TensorGroupOutcome> {
  const { rows, tensors } = group;
  if (rows.length === 1) return { kind: "each", outcomes: [await runAlone(model, tensors)] };
  const total = rows.reduce((sum, count) => sum + count, 0);
  try {
    const outputs = fromHost(await model.run(toHost(tensors)));
    // An output whose rows depend on values cannot be taken apart.
    if (Object.values(outputs).every(({ shape }) => shape[0] === total)) {
      return { kind: "joined", tensors: outputs };
    }
  } catch {
    // One item may have failed them all: alone, each gets its own result or its own error.
  }
  const outcomes: Outcome<Tensors>[] = [];
  let first = 0;
  for (const count of rows) {
    outcomes.push(await runAlone(model, sliceRows(tensors, first, count, total)));
    first += count;
  }
  return { kind: "each", outcomes };
}

async function runAlone(model: LoadedModel, tensors: Tensors): Promise<Outcome<Tensors>> {
  try {
    return { ok: true, value: fromHost(await model.run(toHost(tensors))) };
  } catch (error) {
    return { ok: false, error: modelFault(error) };
  }
}

function sliceRows(tensors: Tensors, first: number, count: number, total: number): Tensors {
  const sliced: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    const bytes = data.length / total;
    sliced[name] = {
      dtype,
      shape: [count, ...shape.slice(1)],
      data: data.subarray(first * bytes, (first + count) * bytes),
    };
  }
  return sliced;
}

function toHost(tensors: Tensors): HostTensors {
  const host: Record<string, HostTensor> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    host[name] = { dtype, shape, data: view(dtype, data) };
  }
  return host;
}

function view(dtype: Tensor["dtype"], data: Uint8Array): HostTensor["data"] {
  const { bytes } = DTYPES[dtype];
  if (bytes === 1) return data;
  // What came over the channel lies anywhere in its message; numbers must lie at multiples of their size.
  const aligned = data.byteOffset % bytes === 0 ? data : new Uint8Array(data);
  const { buffer, byteOffset, byteLength } = aligned;
  return dtype === "float32"
    ? new Float32Array(buffer, byteOffset, byteLength / bytes)
    : new Int32Array(buffer, byteOffset, byteLength / bytes);
}

function fromHost(host: HostTensors): Tensors {
  const tensors: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(host)) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    tensors[name] = { dtype, shape, data: bytes };
  }
  return tensors;
}
