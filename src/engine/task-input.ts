/** A job's input as a batch carries it, checked against its task and its model's signature before it queues. */
import { AuspexError, type FieldViolation, invalidArgument } from "../domain/error.ts";
import type { Manifest } from "../domain/model.ts";
import type { JsonValue } from "../domain/payload.ts";
import { DTYPES, elementCount, type Tensor, type Tensors } from "../domain/tensor.ts";
import type { JobInput } from "./engine.ts";
import type { PictureItem } from "./protocol.ts";
import { type Signature, shapeText, type TensorSpec } from "./signature.ts";
import { MIN_SCORE_DEFAULT, TEXT_CHARACTERS_MAX, TEXTS_MAX, TOP_K_DEFAULT } from "./task-schemas.ts";
import { jsonTensorPath, tensorsFromJson } from "./tensor-json.ts";
import { type TextsInput, textsInput } from "./text-parts.ts";

export type TaskInput =
  | { readonly kind: "picture"; readonly item: PictureItem }
  | TextsInput
  | {
      readonly kind: "tensors";
      readonly tensors: Tensors;
      /** The first dimension of all; 1 where rows mean nothing. */
      readonly rows: number;
      /** Whether the output is to be typed tensors, as the input was, rather than JSON. */
      readonly typed: boolean;
    };

/** @throws AuspexError `invalid_argument` with every complaint */
export function taskInput(input: JobInput, manifest: Manifest, signature: Signature): TaskInput {
  switch (manifest.task) {
    case "image-classification":
      return pictureInput(input, topK(input));
    case "image-multi-label":
      return pictureInput(input, manifest.labels.length);
    case "image-detection":
      return pictureInput(input, manifest.detection?.maxDetections ?? 0, minScore(input));
    case "text-embedding":
      return textsInput(texts(input), manifest.text?.maxTokens ?? 1);
    case "tensor":
      return tensorInput(input, signature);
    default:
      return manifest.task satisfies never;
  }
}

function pictureInput(input: JobInput, topK: number, minScore = 0): TaskInput {
  return { kind: "picture", item: { image: image(input), topK, minScore } };
}

function image({ files }: JobInput): Uint8Array {
  const bytes = files.image;
  if (bytes) return bytes;
  throw new AuspexError("invalid_argument", "a picture is needed", {
    violations: [{ field: "input.image", description: "is required", reason: "required" }],
  });
}

/** More than there are labels means all of them: callers need not know how many there are. */
function topK({ json }: JobInput): number {
  const value = json.top_k ?? TOP_K_DEFAULT;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return value;
  throw invalidArgument({
    field: "input.top_k",
    description: "must be a whole number from 1 up",
    reason: "out_of_range",
  });
}

function minScore({ json }: JobInput): number {
  const value = json.min_score ?? MIN_SCORE_DEFAULT;
  if (typeof value === "number" && value >= 0 && value <= 1) return value;
  throw invalidArgument({
    field: "input.min_score",
    description: "must be a number from 0 to 1",
    reason: "out_of_range",
  });
}

/** Where there is much wrong, the first faults say enough. */
const TEXT_FAULTS_MAX = 10;

function texts({ json }: JobInput): readonly string[] {
  const { text, texts: several } = json;
  if (text !== undefined && several !== undefined)
    throw invalidArgument(violation("input.texts", "cannot be given together with input.text", "conflict"));
  if (several === undefined) return textsOf([text ?? null], () => "input.text");
  if (!Array.isArray(several)) throw invalidArgument(violation("input.texts", "must be a list", "type"));
  if (several.length === 0 || several.length > TEXTS_MAX) {
    const description = `must have 1 to ${TEXTS_MAX} texts, not ${several.length}`;
    throw invalidArgument(violation("input.texts", description, "out_of_range"));
  }
  return textsOf(several, (index) => `input.texts[${index}]`);
}

function textsOf(values: readonly JsonValue[], pathOf: (index: number) => string): readonly string[] {
  const texts: string[] = [];
  const faults: FieldViolation[] = [];
  for (const [index, value] of values.entries()) {
    const fault = textFault(pathOf(index), value);
    if (fault) faults.push(fault);
    else texts.push(String(value));
  }
  const [first, ...rest] = faults;
  if (first) throw invalidArgument(first, ...rest.slice(0, TEXT_FAULTS_MAX - 1));
  return texts;
}

function textFault(path: string, value: JsonValue): FieldViolation | undefined {
  if (value === null || value === "") return violation(path, "is required", "required");
  if (typeof value !== "string") return violation(path, "must be a text", "type");
  // A character may take two of the units that a string is counted in.
  const length = value.length > TEXT_CHARACTERS_MAX ? Array.from(value).length : value.length;
  if (length <= TEXT_CHARACTERS_MAX) return undefined;
  return violation(
    path,
    `has ${length} characters; at most ${TEXT_CHARACTERS_MAX} are allowed`,
    "out_of_range",
  );
}

function tensorInput({ json, tensors: given }: JobInput, signature: Signature): TaskInput {
  const typed = Object.keys(given).length > 0;
  if (typed && "inputs" in json) {
    throw invalidArgument({
      field: "tensors",
      description: "cannot be given together with input.inputs",
      reason: "conflict",
    });
  }
  const tensors = typed ? given : tensorsFromJson(json.inputs);
  const pathOf = typed ? (name: string) => `tensors[${JSON.stringify(name)}]` : jsonTensorPath;
  const [first, ...rest] = complaints(tensors, signature, pathOf);
  if (first) throw invalidArgument(first, ...rest);
  const rows = signature.joinable ? (tensors[signature.inputs[0]?.name ?? ""]?.shape[0] ?? 1) : 1;
  return { kind: "tensors", tensors, rows, typed };
}

function complaints(
  tensors: Tensors,
  { inputs, joinable }: Signature,
  pathOf: (name: string) => string,
): readonly FieldViolation[] {
  const found: FieldViolation[] = [];
  let rows: number | undefined;
  for (const spec of inputs) {
    const tensor = Object.hasOwn(tensors, spec.name) ? tensors[spec.name] : undefined;
    const path = pathOf(spec.name);
    const wrong = tensor ? tensorFault(path, tensor, spec) : violation(path, "is required", "required");
    if (wrong) found.push(wrong);
    else if (tensor && joinable) {
      const own = tensor.shape[0] ?? 1;
      rows ??= own;
      if (own !== rows) {
        found.push(violation(`${path}.shape`, `has ${own} rows, and other inputs have ${rows}`, "shape"));
      }
    }
  }
  for (const name of Object.keys(tensors)) {
    if (inputs.some((spec) => spec.name === name)) continue;
    const names = inputs.map((spec) => spec.name).join(", ");
    found.push(violation(pathOf(name), `is not an input of this model; it takes ${names}`, "unknown"));
  }
  return found;
}

/** The rank must be the model's own: a single row is [1, …], so that nobody guesses what a shape means. */
function tensorFault(
  path: string,
  { dtype, shape, data }: Tensor,
  spec: TensorSpec,
): FieldViolation | undefined {
  if (dtype !== spec.dtype) {
    return violation(`${path}.dtype`, `must be ${spec.dtype}, not ${dtype}`, "dtype");
  }
  const isSize = (size: number, i: number): boolean =>
    Number.isSafeInteger(size) && size >= 1 && (spec.shape[i] === null || spec.shape[i] === size);
  if (shape.length !== spec.shape.length || !shape.every(isSize)) {
    const wanted = shapeText(spec.shape);
    return violation(`${path}.shape`, `must be ${wanted}, sizes from 1 up, not ${shapeText(shape)}`, "shape");
  }
  const bytes = elementCount(shape) * DTYPES[dtype].bytes;
  if (data.length !== bytes) {
    return violation(`${path}.data`, `must have ${bytes} bytes for its shape, not ${data.length}`, "length");
  }
  if (dtype === "bool" && data.some((byte) => byte > 1)) {
    return violation(`${path}.data`, "must have bytes 0 and 1 only", "out_of_range");
  }
  return undefined;
}

function violation(field: string, description: string, reason: string): FieldViolation {
  return { field, description, reason };
}
