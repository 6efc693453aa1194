/**
 * What this dialect answers instead of a result. The original writes `{statusCode, success, message, stack}`, its
 * documentation has `{error}`, and clients read one or the other: the body has both (spec/studio.md §2.5).
 */
import { AuspexError, type ErrorCode } from "../../../domain/error.ts";
import type { JsonObject } from "../../../domain/payload.ts";
import { AnswerFailed } from "../../../services/answer-failed.ts";

/** An answer other than success, thrown from where it is found to the scope's error handler. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  constructor(
    status: number,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    cause?: unknown,
  ) {
    super(message, { cause });
    this.status = status;
    this.headers = headers;
  }
}

const STATUS = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  already_exists: 409,
  failed_precondition: 409,
  aborted: 409,
  resource_exhausted: 429,
  canceled: 499,
  internal: 500,
  unimplemented: 501,
  unavailable: 503,
  deadline_exceeded: 504,
} as const satisfies Record<ErrorCode, number>;

/** Seconds, for a caller who is turned away without a time to come back. */
const RETRY_AFTER_S = 1;

/** Converts whatever was thrown, once, at the edge. */
export function refusalOf(thrown: unknown): Refused {
  if (thrown instanceof Refused) return thrown;
  const framework = ofFramework(thrown);
  if (framework) return framework;
  const error = AuspexError.from(thrown);
  const status = STATUS[error.code];
  const headers: Record<string, string> = {};
  if (status === 429 || status === 503) {
    headers["retry-after"] = String(Math.max(RETRY_AFTER_S, Math.ceil((error.retryAfterMs ?? 0) / 1000)));
  }
  if (status === 401) return new Refused(status, "Unauthorized Access", headers, thrown);
  return new Refused(
    status,
    error.violations.length > 0 ? complaintsOf(error) : error.message,
    headers,
    thrown,
  );
}

export function refusalBody({ status, message }: Refused): JsonObject {
  return { statusCode: status, success: false, message, error: message, stack: {} };
}

/** What Fastify found before any route ran, e.g. 413; undefined for anything else. */
function ofFramework(thrown: unknown): Refused | undefined {
  if (!(thrown instanceof Error) || thrown instanceof AuspexError || !("statusCode" in thrown))
    return undefined;
  const { statusCode } = thrown;
  if (typeof statusCode !== "number" || statusCode < 400 || statusCode > 499) return undefined;
  // The rest of a body that is too large is not read. A Content-Type that is none is a malformed request.
  const headers: Record<string, string> = statusCode === 413 ? { connection: "close" } : {};
  return new Refused(statusCode === 415 ? 400 : statusCode, thrown.message, headers);
}

/**
 * What the caller named is not a flow, or not one that it may know of: told in this API's words.
 *
 * @param operation on a flow, and on nothing else that might be missing
 */
export async function withFlow<T>(id: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    const isUnknown = AuspexError.from(error).code === "not_found" && !(error instanceof AnswerFailed);
    throw isUnknown ? flowNotFound(id, error) : error;
  }
}

/** Characters of an id that an answer repeats. */
const SHOWN_ID_MAX = 255;

export function flowNotFound(id: string, cause?: unknown): Refused {
  return new Refused(404, `Chatflow ${id.slice(0, SHOWN_ID_MAX)} not found in the database!`, {}, cause);
}

function complaintsOf({ violations }: AuspexError): string {
  return violations
    .map(({ field, description }) => `${FIELDS.get(field) ?? fieldOf(field)}: ${description}`)
    .join("; ");
}

/** Which field of this API a field of our requests came from, where it has another name. */
const FIELDS: ReadonlyMap<string, string> = new Map([
  ["question.text", "question"],
  ["question.overrides", "overrideConfig"],
  ["overrides", "overrideConfig"],
  ["chatflow_id", "chatflowid"],
  ["rating_id", "id"],
  ["value", "rating"],
  ["comment", "content"],
  ["name", "name"],
]);

/** `question.uploads[0].media_type` → `uploads[0].mime`; `definition.openai.base_url` stays what it is. */
function fieldOf(field: string): string {
  if (field.startsWith("definition")) return `flowData.${field}`;
  return field
    .replace(/^(?:question|filter)\./, "")
    .replace(/\.media_type$/, ".mime")
    .replaceAll(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase());
}
