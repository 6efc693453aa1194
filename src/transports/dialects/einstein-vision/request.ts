/** What several kinds of calls need: pages, pictures, models, and results that are always there. */
import type { FastifyRequest } from "fastify";
import { AuspexError } from "../../../domain/error.ts";
import { badParameter, modelNotFound, refuse } from "./errors.ts";
import { integerOf, queryOf } from "./form.ts";

/** The widest offset that our requests carry. */
const OFFSET_MAX = 2 ** 32 - 1;

/** `offset` and `count`; a larger count than a page has is the page's. */
export function decodePage(
  request: FastifyRequest,
  countMax: number,
): { readonly skip: number; readonly pageSize: number } {
  const query = queryOf(request);
  const number = (name: string, min: number) => integerOf(name, query.get(name)?.trim() || undefined, min);
  return {
    skip: Math.min(number("offset", 0) ?? 0, OFFSET_MAX),
    pageSize: Math.min(number("count", 1) ?? countMax, countMax),
  };
}

/** The first bytes of the two kinds of pictures that this API takes. */
const SIGNATURES: readonly Buffer[] = [Buffer.from("89504e470d0a1a0a", "hex"), Buffer.from("ffd8ff", "hex")];

/** Goes by the bytes: file names and types are often anything. Throws `Refused` 400. */
export function checkPicture(name: string, bytes: Buffer, bytesMax: number): Uint8Array<ArrayBuffer> {
  if (bytes.length > bytesMax) {
    throw badParameter(name, `has ${bytes.length} bytes; at most ${bytesMax} are allowed`);
  }
  if (!SIGNATURES.some((signature) => bytes.subarray(0, signature.length).equals(signature))) {
    throw refuse("pictureFormat");
  }
  return bytes as Uint8Array<ArrayBuffer>;
}

/** Runs an operation on a model; whatever keeps the model from being found is told in this API's words. */
export async function withModel<T>(modelId: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    const known = AuspexError.from(error);
    const isBadName = known.violations.length > 0 && known.violations.every(({ field }) => field === "model");
    if (known.code === "not_found" || isBadName) throw modelNotFound(modelId);
    throw error;
  }
}

/** What an operation always fills in, though the generated type cannot say so. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new AuspexError("internal", "an operation answered without its result");
  return value;
}
