/** Tensors as JSON: `tensorsFromJson`. */

import { AuspexError } from "../../../src/domain/error.ts";
import type { JsonValue } from "../../../src/domain/payload.ts";
import { DTYPES, elementCount } from "../../../src/domain/tensor.ts";
import { tensorsFromJson, tensorsToJson } from "../../../src/engine/tensor-json.ts";
import { holds, noPollution, parsed, unlessRefused } from "../target.ts";

export const claim =
  "Tensors are refused with the path of what is wrong, or all of them are there, as long as their shapes say, and read the same when written anew.";

const isRefusal = (error: unknown): boolean =>
  error instanceof AuspexError &&
  error.code === "invalid_argument" &&
  error.violations.length > 0 &&
  error.violations.every(({ field }) => field.startsWith("input.inputs"));

export function fuzz(data: Buffer): void {
  const value = parsed(data);
  if (value === undefined) return;
  const tensors = unlessRefused(isRefusal, () => tensorsFromJson(value as JsonValue));
  noPollution();
  if (!tensors) return;
  const names = Object.keys(tensors);
  holds(names.length === Object.keys(value as object).length, "every tensor is there");
  for (const { dtype, shape, data: bytes } of Object.values(tensors)) {
    holds(
      bytes.length === elementCount(shape) * DTYPES[dtype].bytes,
      "a tensor is as long as its shape says",
    );
  }
  const finite = unlessRefused(
    (error) => error instanceof AuspexError && error.code === "failed_precondition",
    () => tensorsToJson(tensors),
  );
  if (!finite) return;
  const again = tensorsFromJson(finite);
  for (const name of names) {
    const [first, second] = [tensors[name], again[name]];
    holds(
      first !== undefined && second !== undefined && Buffer.compare(first.data, second.data) === 0,
      "a tensor written anew is the same",
    );
  }
}

export const seeds = (): readonly string[] => [
  '{"x":{"dtype":"float32","shape":[1,2],"data":[0.5,-1e3]}}',
  '{"x":{"dtype":"int32","shape":[2,1],"data":[[1],[2]]},"y":{"dtype":"bool","shape":[2],"data":[true,0]}}',
  '{"x":{"dtype":"uint8","shape":[],"data":[255]}}',
  '{"x":{"dtype":"float32","shape":[0,3],"data":[]},"__proto__":{"dtype":"uint8","shape":[1],"data":[1]}}',
];

export const words = [
  '"dtype":',
  '"float32"',
  '"int32"',
  '"bool"',
  '"uint8"',
  '"shape":',
  '"data":',
  "__proto__",
  "constructor",
  "9007199254740993",
  "1e39",
  "-0",
];
