/**
 * What this dialect answers instead of a result. Only its 401 is known (§2.4): no body, and `X-message`. The others
 * are JSON of the form that its kind of server writes, `{"status": 404, "error": "…"}`.
 */
import { AuspexError, type ErrorCode } from "../../../domain/error.ts";
import type { Answer } from "./answer.ts";

/** An answer other than success, thrown from where it is found to the scope's error handler. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

const STATUS = {
  invalid_argument: 422,
  deadline_exceeded: 504,
  not_found: 404,
  already_exists: 409,
  permission_denied: 403,
  resource_exhausted: 429,
  failed_precondition: 409,
  canceled: 499,
  aborted: 409,
  unimplemented: 501,
  internal: 500,
  unavailable: 503,
  unauthenticated: 401,
} as const satisfies Record<ErrorCode, number>;

/** Seconds, for a caller who is turned away without a time to come back. */
const RETRY_AFTER_S = 1;

/** Converts whatever was thrown, once, at the edge. */
export function refusalAnswer(thrown: unknown): Answer {
  const { status, message, headers } = refusalOf(thrown);
  if (status === 401) return { status, body: undefined, message: "Access denied" };
  return { status, headers, body: { status, error: message } };
}

function refusalOf(thrown: unknown): Pick<Refused, "status" | "message" | "headers"> {
  if (thrown instanceof Refused) return thrown;
  const framework = ofFramework(thrown);
  if (framework) return framework;
  const error = AuspexError.from(thrown);
  const headers: Record<string, string> = {};
  if (error.code === "resource_exhausted" || error.code === "unavailable") {
    headers["Retry-After"] = String(Math.max(RETRY_AFTER_S, Math.ceil((error.retryAfterMs ?? 0) / 1000)));
  }
  return new Refused(STATUS[error.code], error.message, headers);
}

/** What Fastify found before any route ran, e.g. 413; undefined for anything else. */
function ofFramework(thrown: unknown): Refused | undefined {
  if (!(thrown instanceof Error) || !("statusCode" in thrown)) return undefined;
  const { statusCode } = thrown;
  if (typeof statusCode !== "number" || statusCode < 400 || statusCode > 499) return undefined;
  // The rest of a body that is too large is not read.
  return new Refused(statusCode, thrown.message, statusCode === 413 ? { Connection: "close" } : {});
}
