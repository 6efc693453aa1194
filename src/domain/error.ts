/**
 * The one error vocabulary. Everything that a caller may be told is an `AuspexError` with a code of this closed
 * list; anything else that is thrown is a fault of ours and leaves the server as "internal error", its cause kept
 * for the log. Tables to gRPC and HTTP stand here, a dialect's own beside the dialect.
 */
export const ERROR_CODES = {
  invalid_argument: { grpc: 3, http: 400 },
  deadline_exceeded: { grpc: 4, http: 504 },
  not_found: { grpc: 5, http: 404 },
  already_exists: { grpc: 6, http: 409 },
  permission_denied: { grpc: 7, http: 403 },
  resource_exhausted: { grpc: 8, http: 429 },
  failed_precondition: { grpc: 9, http: 409 },
  canceled: { grpc: 1, http: 499 },
  /** Not by the caller itself: somebody else has stopped what it waited for. */
  aborted: { grpc: 10, http: 409 },
  unimplemented: { grpc: 12, http: 501 },
  internal: { grpc: 13, http: 500 },
  unavailable: { grpc: 14, http: 503 },
  unauthenticated: { grpc: 16, http: 401 },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** One complaint about one field of a request. */
export interface FieldViolation {
  /** Path in the request in proto field names, e.g. `tensors["x"].shape`. */
  readonly field: string;
  /** What is wrong and what would be right. */
  readonly description: string;
  /** Short constant for programs, e.g. `required`, `out_of_range`. */
  readonly reason: string;
}

export interface ErrorDetails {
  readonly violations?: readonly FieldViolation[];
  /** When a refused call may be tried again. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

export class AuspexError extends Error {
  override readonly name = "AuspexError";
  readonly code: ErrorCode;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.violations = details.violations ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Converts whatever was thrown, once, at the edge. */
  static from(thrown: unknown): AuspexError {
    return thrown instanceof AuspexError
      ? thrown
      : new AuspexError("internal", "internal error", { cause: thrown });
  }
}

/** A malformed request, with every complaint that was found. */
export function invalidArgument(...violations: readonly [FieldViolation, ...FieldViolation[]]): AuspexError {
  const message = violations.map((v) => `${v.field}: ${v.description}`).join("; ");
  return new AuspexError("invalid_argument", message, { violations });
}
