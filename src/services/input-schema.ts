/** Holds inputs to a model's JSON Schema. Publishers write those, so nothing that one says may harm the server. */
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { AuspexError, type FieldViolation } from "../domain/error.ts";
import type { Manifest } from "../domain/model.ts";
import type { JsonObject } from "../domain/payload.ts";
import { TASK_SCHEMAS } from "../engine/task-schemas.ts";
import { withTimeLimit } from "../engine/time-limit.ts";

/** For one input, which takes microseconds, and for compiling, some 10 ms; this long nothing else runs. */
const CHECK_TIMEOUT_MS = 500;
const COMPILE_TIMEOUT_MS = 2000;

// The package is CommonJS: its default export arrives as the module's namespace or as the function itself.
const addFormats =
  typeof formats === "function" ? formats : (formats as unknown as { default: (a: Ajv2020) => void }).default;

/** By version; an error for a schema that once could not be applied: one that stalls is not tried twice. */
const compiled = new WeakMap<Manifest, ValidateFunction | AuspexError>();

/**
 * What is wrong with the input, or undefined.
 *
 * @throws AuspexError `failed_precondition` for a schema that cannot be applied
 */
export function schemaFault(manifest: Manifest, json: JsonObject): FieldViolation | undefined {
  let check = compiled.get(manifest);
  if (check instanceof AuspexError) throw check;
  const isOurs = manifest.inputSchema === TASK_SCHEMAS[manifest.task].input;
  try {
    if (!check) {
      check = isOurs ? compile(manifest) : withTimeLimit(COMPILE_TIMEOUT_MS, () => compile(manifest));
      compiled.set(manifest, check);
    }
    const fits = check;
    if (isOurs ? fits(json) : withTimeLimit(CHECK_TIMEOUT_MS, () => fits(json))) return undefined;
    const [error] = fits.errors ?? [];
    return violation(error);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const error = new AuspexError(
      "failed_precondition",
      `the model's input schema cannot be applied: ${why}`,
    );
    compiled.set(manifest, error);
    throw error;
  }
}

/**
 * In an instance of its own, for an `$id` must not clash with another version's. It stops at the first fault: a
 * large input could have millions. That the schema is one was seen when its manifest was read.
 */
function compile({ inputSchema }: Manifest): ValidateFunction {
  const ajv = new Ajv2020({ strict: false, validateSchema: false, logger: false });
  addFormats(ajv);
  return ajv.compile(inputSchema);
}

function violation(error: ErrorObject | undefined): FieldViolation {
  if (!error) return { field: "input", reason: "schema", description: "does not fit the model's schema" };
  const missing = error.keyword === "required" ? `.${error.params.missingProperty}` : "";
  return {
    field: `input${error.instancePath.replaceAll("/", ".")}${missing}`,
    reason: error.keyword,
    description: error.message ?? "does not fit the model's schema",
  };
}
