/** Errors across the process boundary: an AuspexError arrives whole, anything else as a fault with its text. */
import { AuspexError } from "../domain/error.ts";
import type { WireError } from "./protocol.ts";

export function toWire(thrown: unknown): WireError {
  return thrown instanceof AuspexError
    ? { code: thrown.code, message: thrown.message, violations: thrown.violations }
    : { code: "internal", message: textOf(thrown), violations: [] };
}

/**
 * A model that failed on an input which has the right form. The text is the runtime's, about this model and this
 * input: whoever published the model needs it, and it tells nothing of ours.
 */
export function modelFault(thrown: unknown): WireError {
  const message = `the model failed on this input: ${textOf(thrown)}`;
  return { code: "failed_precondition", message, violations: [] };
}

function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

export function fromWire(error: WireError): AuspexError {
  return new AuspexError(error.code, error.message, { violations: error.violations });
}
