/** What a caller is told when a call fails, the same on every transport; each transport has its own encoding. */
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { BadRequestSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { AuspexError } from "../domain/error.ts";

/** Reasons for which a transport aborts a call's signal. Made once: an error costs microseconds, most of it stack. */
export const CALLER_GONE = new AuspexError("canceled", "the caller went away or canceled the call");
export const DEADLINE_PASSED = new AuspexError("deadline_exceeded", "the call's deadline passed");

/**
 * Converts what an operation threw, once per request, and logs what the caller is not told. After an abort the
 * reason for it is the answer, whatever the operation threw while it stopped.
 */
export function refusal(
  thrown: unknown,
  call: { readonly method: string; readonly signal: AbortSignal; readonly log: Logger },
): AuspexError {
  if (call.signal.aborted && call.signal.reason instanceof AuspexError) return call.signal.reason;
  const error = AuspexError.from(thrown);
  if (error.code === "internal")
    call.log.error({ err: error.cause ?? error, method: call.method }, "call failed");
  return error;
}

export interface RefusalDetail {
  readonly desc: DescMessage;
  readonly value: Message;
}

/** The machine-readable part of a refusal: which fields are wrong, and when to try again. */
export function refusalDetails(error: AuspexError): RefusalDetail[] {
  const details: RefusalDetail[] = [];
  if (error.violations.length > 0) {
    const fieldViolations = error.violations.map(({ field, description, reason }) => ({
      field: field.toWellFormed(),
      description: description.toWellFormed(),
      reason,
    }));
    details.push({ desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations }) });
  }
  if (error.retryAfterMs !== undefined) {
    const ms = Math.max(0, Math.ceil(error.retryAfterMs));
    const retryDelay = { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
    details.push({ desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay }) });
  }
  return details;
}
