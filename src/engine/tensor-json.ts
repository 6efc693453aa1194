/**
 * Tensors as JSON, `{name: {dtype, shape, data}}`, to typed ones and back. It happens on the main thread because
 * that is the cheapest place: copying numbers into a typed array costs a fraction of what it costs to write the
 * same numbers, each with its type, into a message to a worker.
 */
import { AuspexError, type FieldViolation, invalidArgument } from "../domain/error.ts";
import type { JsonObject, JsonValue } from "../domain/payload.ts";
import { DTYPES, type Dtype, elementCount, type Tensor, type Tensors } from "../domain/tensor.ts";

const DIMENSIONS_MAX = 8;
/** As for typed tensors; it also bounds the complaints, which all go into one message. */
const TENSORS_MAX = 64;

/** `input.inputs["x"]`, as complaints about JSON tensors name them. */
export function jsonTensorPath(name: string): string {
  return `input.inputs[${JSON.stringify(name)}]`;
}

/** @throws AuspexError `invalid_argument` with every complaint */
export function tensorsFromJson(inputs: JsonValue | undefined): Tensors {
  if (!isObject(inputs)) {
    throw invalidArgument(
      complaint("input.inputs", "must be an object of tensors {dtype, shape, data} by input name"),
    );
  }
  const count = Object.keys(inputs).length;
  if (count > TENSORS_MAX) {
    throw invalidArgument(
      complaint("input.inputs", `has ${count} entries; at most ${TENSORS_MAX} are allowed`),
    );
  }
  // A map, for a caller's name may be `__proto__`, which assigned would be no name.
  const tensors = new Map<string, Tensor>();
  const violations: FieldViolation[] = [];
  for (const [name, value] of Object.entries(inputs)) {
    const tensor = tensorFromJson(jsonTensorPath(name), value);
    if ("field" in tensor) violations.push(tensor);
    else tensors.set(name, tensor);
  }
  const [first, ...rest] = violations;
  if (first) throw invalidArgument(first, ...rest);
  return Object.fromEntries(tensors);
}

/** @throws AuspexError `failed_precondition` for a value that JSON cannot carry */
export function tensorsToJson(tensors: Tensors): JsonObject {
  const json = new Map<string, JsonObject>();
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    const numbers = Array.from(elements(dtype, data));
    if (dtype === "float32" && !numbers.every(Number.isFinite)) {
      throw new AuspexError(
        "failed_precondition",
        `the output ${name} has values that are not finite, which JSON cannot carry: send typed tensors to get them`,
      );
    }
    json.set(name, { dtype, shape: [...shape], data: numbers });
  }
  return Object.fromEntries(json);
}

function tensorFromJson(path: string, value: JsonValue): Tensor | FieldViolation {
  if (!isObject(value)) return complaint(path, "must be a tensor {dtype, shape, data}");
  const { dtype, shape, data } = value;
  if (!isDtype(dtype)) {
    return complaint(`${path}.dtype`, `must be one of ${Object.keys(DTYPES).join(", ")}`);
  }
  if (!isShape(shape)) {
    return complaint(
      `${path}.shape`,
      `must be a list of at most ${DIMENSIONS_MAX} whole numbers, none negative`,
    );
  }
  if (!Array.isArray(data)) return complaint(`${path}.data`, "must be a list of numbers, flat or nested");
  const flat = Array.isArray(data[0]) ? flatten(data, shape) : data;
  const count = elementCount(shape);
  if (flat?.length !== count) {
    const have = flat ? `, not ${flat.length}` : " nested as the shape says";
    return complaint(`${path}.data`, `must have ${count} elements for the shape [${shape}]${have}`);
  }
  const wrong = flat.findIndex((element) => !isElement(dtype, element));
  if (wrong >= 0) return complaint(`${path}.data[${wrong}]`, `must be ${ELEMENT_TEXT[dtype]}`);
  // Booleans become 0 and 1.
  return { dtype, shape, data: bytesOf(dtype, flat.map(Number)) };
}

/** undefined when the lists are not nested as the shape says. Its cost is bounded by the lists, not the shape. */
function flatten(data: JsonValue[], shape: readonly number[]): readonly JsonValue[] | undefined {
  let level: JsonValue[] = [data];
  for (const size of shape) {
    if (!level.every((list) => Array.isArray(list) && list.length === size)) return undefined;
    level = level.flat();
  }
  return level;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDtype(value: JsonValue | undefined): value is Dtype {
  return typeof value === "string" && Object.hasOwn(DTYPES, value);
}

function isShape(value: JsonValue | undefined): value is number[] {
  const isSize = (size: JsonValue): boolean => Number.isSafeInteger(size) && Number(size) >= 0;
  return Array.isArray(value) && value.length <= DIMENSIONS_MAX && value.every(isSize);
}

const ELEMENT_TEXT = {
  float32: "a number",
  int32: "a whole number of 32 bits",
  bool: "true, false, 0 or 1",
  uint8: "a whole number from 0 to 255",
} as const satisfies Record<Dtype, string>;

function isElement(dtype: Dtype, value: JsonValue): boolean {
  switch (dtype) {
    case "float32":
      return Number.isFinite(value);
    case "int32":
      return typeof value === "number" && value === (value | 0);
    case "bool":
      return typeof value === "boolean" || value === 0 || value === 1;
    case "uint8":
      return typeof value === "number" && value === (value & 255);
    default:
      return dtype satisfies never;
  }
}

function bytesOf(dtype: Dtype, numbers: readonly number[]): Uint8Array {
  switch (dtype) {
    case "float32":
      return new Uint8Array(Float32Array.from(numbers).buffer);
    case "int32":
      return new Uint8Array(Int32Array.from(numbers).buffer);
    case "bool":
    case "uint8":
      return Uint8Array.from(numbers);
    default:
      return dtype satisfies never;
  }
}

function elements(dtype: Dtype, data: Uint8Array): Float32Array | Int32Array | Uint8Array {
  if (DTYPES[dtype].bytes === 1) return data;
  // A part of a message lies at any address; numbers must lie at multiples of their size.
  const { buffer } = new Uint8Array(data);
  return dtype === "float32" ? new Float32Array(buffer) : new Int32Array(buffer);
}

function complaint(field: string, description: string): FieldViolation {
  return { field, description, reason: "invalid_tensor" };
}
