/**
 * Reads and checks a `model.onnx` before ONNX Runtime sees it. A model is a program from somewhere else, and ONNX
 * Runtime is C++ in this process: what it would have to trust is held to limits here. Tensors that lie in files of
 * their own are put into the model, so that ONNX Runtime never opens a file by a name that a model gives.
 */
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  TensorProto_DataType as DataType,
  type FunctionProto,
  type GraphProto,
  TensorProto_DataLocation as Location,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type SparseTensorProto,
  type TensorProto,
} from "../../../gen/onnx/onnx_pb.ts";
import { BadModel } from "./runtime.ts";
import { WEIGHT_FILE } from "./weights.ts";

/** Bytes of a model with its external tensors: protobuf, which ONNX is written in, counts no further. */
export const ONNX_BYTES_MAX = 2 ** 31 - 1;

/**
 * Nodes, those within loops, branches and functions counted each time they are called: ten times what large
 * published models have, and few enough for ONNX Runtime to optimize within seconds.
 */
export const ONNX_NODES_MAX = 50_000;

/** Graphs and functions inside one another. The 100 levels that readers of protobuf go down are met at 31 graphs. */
export const ONNX_NESTING_MAX = 30;

/**
 * @returns a serialized ModelProto without external tensors
 * @throws BadModel with a sentence that says what is wrong
 */
export async function readOnnxFile(folder: string): Promise<Uint8Array> {
  const path = join(folder, "model.onnx");
  const { size } = await stat(path);
  checkBytes(size, "model.onnx");
  const bytes = await readFile(path);
  const model = decode(bytes);
  const tensors = checkModel(model);
  const external = tensors.filter((tensor) => tensor.dataLocation === Location.EXTERNAL);
  if (external.length === 0) return bytes;
  let total = size;
  for (const tensor of external) {
    total += byteLength(tensor);
    checkBytes(total, "model.onnx with its external tensors");
    await inline(folder, tensor);
  }
  return toBinary(ModelProtoSchema, model);
}

/** @throws BadModel past the limit */
export function checkBytes(bytes: number, what: string): void {
  if (bytes > ONNX_BYTES_MAX)
    throw new BadModel(`${what} has ${bytes} bytes; at most ${ONNX_BYTES_MAX} are allowed`);
}

function decode(bytes: Uint8Array): ModelProto {
  try {
    return fromBinary(ModelProtoSchema, bytes);
  } catch (error) {
    throw new BadModel(
      `model.onnx is damaged or cut off: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/**
 * @returns every tensor of the model
 * @throws BadModel naming the tensor, the function or the count at fault
 */
export function checkModel(model: ModelProto): readonly TensorProto[] {
  if (!model.graph) throw new BadModel("model.onnx has no graph");
  for (const { name, type } of model.graph.input) {
    if (type?.value.case === "tensorType" && !type.value.value.shape)
      throw new BadModel(`the input ${name} has no declared shape`);
  }
  const nodes = countNodes(model.graph, model.functions);
  if (nodes > ONNX_NODES_MAX)
    throw new BadModel(`model.onnx has more than ${ONNX_NODES_MAX} nodes, which is the most that is taken`);
  const tensors: TensorProto[] = [];
  collectTensors(model.graph, tensors);
  for (const { node, attributeProto } of model.functions) {
    collectNodeTensors(node, tensors);
    collectAttributeTensors(attributeProto, tensors);
  }
  for (const tensor of tensors) checkTensor(tensor);
  return tensors;
}

/** A function is called by these three; ONNX's own domain has two names. */
const functionKey = (domain: string, name: string, overload: string): string =>
  JSON.stringify([domain === "ai.onnx" ? "" : domain, name, overload]);

/** @returns the nodes with all calls resolved, or some number above the limit */
function countNodes(graph: GraphProto, functions: readonly FunctionProto[]): number {
  const bodies = new Map(functions.map((f) => [functionKey(f.domain, f.name, f.overload), f]));
  const counts = new Map<string, number>();
  const open = new Set<string>();
  const count = (nodes: readonly NodeProto[], depth: number): number => {
    if (depth > ONNX_NESTING_MAX)
      throw new BadModel(`model.onnx has graphs more than ${ONNX_NESTING_MAX} deep inside one another`);
    let sum = nodes.length;
    for (const { domain, opType, overload, attribute } of nodes) {
      sum += called(functionKey(domain, opType, overload), depth + 1);
      for (const { g, graphs } of attribute)
        for (const inner of g ? [g, ...graphs] : graphs) sum += count(inner.node, depth + 1);
      if (sum > ONNX_NODES_MAX) break;
    }
    return sum;
  };
  const called = (key: string, depth: number): number => {
    const body = bodies.get(key);
    if (!body) return 0;
    if (open.has(key)) throw new BadModel(`the function ${body.name} calls itself`);
    open.add(key);
    const sum = counts.get(key) ?? count(body.node, depth);
    open.delete(key);
    counts.set(key, sum);
    return sum;
  };
  return count(graph.node, 0) + functions.reduce((sum, f) => sum + f.node.length, 0);
}

function collectTensors(graph: GraphProto, into: TensorProto[]): void {
  for (const tensor of graph.initializer) into.push(tensor);
  collectSparse(graph.sparseInitializer, into);
  collectNodeTensors(graph.node, into);
}

function collectNodeTensors(nodes: readonly NodeProto[], into: TensorProto[]): void {
  for (const { attribute } of nodes) collectAttributeTensors(attribute, into);
}

function collectAttributeTensors(attributes: readonly AttributeProto[], into: TensorProto[]): void {
  for (const { t, tensors, g, graphs, sparseTensor, sparseTensors } of attributes) {
    for (const tensor of t ? [t, ...tensors] : tensors) into.push(tensor);
    collectSparse(sparseTensor ? [sparseTensor, ...sparseTensors] : sparseTensors, into);
    for (const inner of g ? [g, ...graphs] : graphs) collectTensors(inner, into);
  }
}

/** ONNX Runtime writes one out in full, so what it stands for counts, not what it takes in the file. */
function collectSparse(sparse: readonly SparseTensorProto[], into: TensorProto[]): void {
  for (const { values, indices, dims } of sparse) {
    const name = values?.name ?? "";
    const bits = BigInt(elementBits(values?.dataType ?? 0, name));
    const bytes = (product(dims, name) * bits) / 8n;
    if (bytes > ONNX_BYTES_MAX)
      throw new BadModel(
        `the sparse tensor ${name} stands for ${bytes} bytes; ${ONNX_BYTES_MAX} are allowed`,
      );
    if (values) into.push(values);
    if (indices) into.push(indices);
  }
}

/** Bits of an element by its type; a text's length is its own. */
const ELEMENT_BITS: Readonly<Record<DataType, number>> = {
  [DataType.UNDEFINED]: 0,
  [DataType.FLOAT]: 32,
  [DataType.UINT8]: 8,
  [DataType.INT8]: 8,
  [DataType.UINT16]: 16,
  [DataType.INT16]: 16,
  [DataType.INT32]: 32,
  [DataType.INT64]: 64,
  [DataType.STRING]: 0,
  [DataType.BOOL]: 8,
  [DataType.FLOAT16]: 16,
  [DataType.DOUBLE]: 64,
  [DataType.UINT32]: 32,
  [DataType.UINT64]: 64,
  [DataType.COMPLEX64]: 64,
  [DataType.COMPLEX128]: 128,
  [DataType.BFLOAT16]: 16,
  [DataType.FLOAT8E4M3FN]: 8,
  [DataType.FLOAT8E4M3FNUZ]: 8,
  [DataType.FLOAT8E5M2]: 8,
  [DataType.FLOAT8E5M2FNUZ]: 8,
  [DataType.UINT4]: 4,
  [DataType.INT4]: 4,
  [DataType.FLOAT4E2M1]: 4,
};

function elementBits(type: number, name: string): number {
  const bits = Object.hasOwn(ELEMENT_BITS, type) ? ELEMENT_BITS[type as DataType] : undefined;
  if (bits === undefined || type === DataType.UNDEFINED)
    throw new BadModel(`the tensor ${name} has the unknown type ${type}`);
  return bits;
}

function product(dims: readonly bigint[], name: string): bigint {
  const negative = dims.find((size) => size < 0n);
  if (negative !== undefined) throw new BadModel(`the tensor ${name} has the size ${negative}`);
  return dims.reduce((a, b) => a * b, 1n);
}

/** Bytes that the declared shape needs. */
function byteLength({ dataType, dims, name }: TensorProto): number {
  return Number((product(dims, name) * BigInt(elementBits(dataType, name)) + 7n) / 8n);
}

function checkTensor(tensor: TensorProto): void {
  const { name, dims, dataType, rawData } = tensor;
  const claimed = product(dims, name);
  const bits = elementBits(dataType, name);
  if (tensor.dataLocation === Location.EXTERNAL) return;
  const shape = `[${dims.join(", ")}]`;
  if (rawData.length > 0) {
    const need = (claimed * BigInt(bits) + 7n) / 8n;
    if (need !== BigInt(rawData.length))
      throw new BadModel(`the tensor ${name} ${shape} needs ${need} bytes, and has ${rawData.length}`);
    return;
  }
  const entries = countEntries(tensor);
  // Two numbers of four bits lie in one entry.
  if (claimed > BigInt(bits === 4 ? 2 * entries : entries))
    throw new BadModel(`the tensor ${name} ${shape} has ${entries} elements only`);
}

/** Elements in the fields for numbers and texts, of which one is in use. */
function countEntries(tensor: TensorProto): number {
  const { dataType, floatData, doubleData, int32Data, int64Data, uint64Data, stringData } = tensor;
  const parts = dataType === DataType.COMPLEX64 || dataType === DataType.COMPLEX128 ? 2 : 1;
  const varints = [int32Data, int64Data, uint64Data].reduce((sum, bytes) => sum + countVarints(bytes), 0);
  // Whole ones: a field may be cut anywhere.
  const whole = (bytes: Uint8Array, size: number): number => Math.floor(bytes.length / (size * parts));
  return whole(floatData, 4) + whole(doubleData, 8) + varints + stringData.length;
}

/** The last byte of each number has its top bit clear. */
function countVarints(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (byte < 0x80) count++;
  return count;
}

/** Reads a tensor that lies in a file beside the model into the model. */
async function inline(folder: string, tensor: TensorProto): Promise<void> {
  const { name, externalData } = tensor;
  const entries = new Map(externalData.map(({ key, value }) => [key, value]));
  const location = entries.get("location") ?? "";
  if (!WEIGHT_FILE.test(location))
    throw new BadModel(`the tensor ${name} lies in a file outside the model folder: ${location}`);
  if (tensor.dataType === DataType.STRING)
    throw new BadModel(`the tensor ${name} is of texts, which do not lie in files of their own`);
  const offset = Number(entries.get("offset") ?? 0);
  const length = byteLength(tensor);
  const declared = Number(entries.get("length") ?? length);
  if (declared !== length)
    throw new BadModel(
      `the tensor ${name} needs ${length} bytes, and its part of ${location} has ${declared}`,
    );
  const found = await stat(join(folder, location)).catch(() => undefined);
  if (!found?.isFile()) throw new BadModel(`the weight file ${location} is missing`);
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > found.size)
    throw new BadModel(
      `the tensor ${name} takes ${length} bytes from ${offset} on, and ${location} has ${found.size}`,
    );
  tensor.rawData = await readPart(join(folder, location), offset, length);
  tensor.externalData = [];
  tensor.dataLocation = Location.DEFAULT;
}

async function readPart(path: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  const file = await open(path);
  try {
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0) throw new BadModel("a weight file became shorter while it was read");
      done += bytesRead;
    }
  } finally {
    await file.close();
  }
  return bytes;
}
