/**
 * What this dialect answers instead of a result: FastAPI's `{"detail": …}`, a list of complaints for 422 and one
 * sentence for everything else. (spec/wriftai.md §1.8)
 */
import { AuspexError, type ErrorCode, type FieldViolation } from "../../../domain/error.ts";
import type { JsonValue } from "../../../domain/payload.ts";

/** One complaint of a 422, keys in the order in which FastAPI writes them. */
export interface Complaint {
  readonly type: string;
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  /** What was sent there; left out where nothing can be shown. */
  readonly input?: JsonValue;
  readonly ctx?: Readonly<Record<string, JsonValue>>;
}

/** An answer other than success, thrown from where it is found to the scope's error handler. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  readonly detail: string | readonly Complaint[];
  readonly headers: Readonly<Record<string, string>>;
  constructor(
    status: number,
    detail: string | readonly Complaint[],
    headers: Readonly<Record<string, string>> = {},
    cause?: unknown,
  ) {
    super(typeof detail === "string" ? detail : "Unprocessable Entity", { cause });
    this.status = status;
    this.detail = detail;
    this.headers = headers;
  }
}

/** Error code → status, and the fixed sentence where the operation's own is not for outside. */
const STATUS = {
  invalid_argument: { status: 422 },
  deadline_exceeded: { status: 504 },
  not_found: { status: 404 },
  already_exists: { status: 409 },
  permission_denied: { status: 403 },
  resource_exhausted: { status: 429 },
  failed_precondition: { status: 409 },
  canceled: { status: 499 },
  aborted: { status: 409 },
  unimplemented: { status: 501 },
  internal: { status: 500, detail: "Internal Server Error" },
  unavailable: { status: 503 },
  unauthenticated: { status: 401, detail: "Not authenticated" },
} as const satisfies Record<ErrorCode, { readonly status: number; readonly detail?: string }>;

/** Seconds, for a caller who is turned away without a time to come back. */
const RETRY_AFTER_S = 1;

/** Converts whatever was thrown, once, at the edge. */
export function refusalOf(thrown: unknown): Refused {
  if (thrown instanceof Refused) return thrown;
  const error = AuspexError.from(thrown);
  const row: { readonly status: number; readonly detail?: string } = STATUS[error.code];
  const headers: Record<string, string> = {};
  if (error.code === "unauthenticated") headers["www-authenticate"] = "Bearer";
  if (error.code === "resource_exhausted" || error.code === "unavailable") {
    headers["retry-after"] = String(Math.max(RETRY_AFTER_S, Math.ceil((error.retryAfterMs ?? 0) / 1000)));
  }
  const detail = error.code === "invalid_argument" ? complaintsOf(error) : (row.detail ?? error.message);
  return new Refused(row.status, detail, headers, thrown);
}

/** Where each field of our requests stands in this dialect's. */
const ORIGIN: Readonly<Record<string, readonly string[]>> = {
  model: ["body", "model"],
  input: ["body", "input"],
  tensors: ["body", "input"],
  webhook: ["body", "webhook"],
  wait: ["header", "prefer"],
  request_id: ["header", "idempotency-key"],
  validate_input: ["header", "validate-input"],
  after_revision: ["header", "last-event-id"],
  page_size: ["query", "page_size"],
  page_token: ["query", "cursor"],
  id: ["path", "prediction_id"],
  version: ["path", "number"],
};

/** The parts of a field path such as `input.a["b c"][0]`. */
const PATH_PART = /\["((?:[^"\\]|\\.)*)"\]|\[([0-9]+)\]|([^.[\]]+)/g;

export function locationOf(field: string): (string | number)[] {
  const [first = "", ...rest] = [...field.matchAll(PATH_PART)].map(([, quoted, index, name]) => {
    if (quoted !== undefined) return JSON.parse(`"${quoted}"`) as string;
    return index ?? name ?? "";
  });
  const within = rest.map((part) => (/^(0|[1-9][0-9]{0,8})$/.test(part) ? Number(part) : part));
  return [...(ORIGIN[first] ?? ["body", first]), ...within];
}

function complaintsOf(error: AuspexError): readonly Complaint[] {
  const complaint = (loc: readonly (string | number)[], msg: string): Complaint => ({
    type: "value_error",
    loc,
    msg: `Value error, ${msg}`,
  });
  if (error.violations.length === 0) return [complaint(["body"], error.message)];
  return error.violations.map(({ field, description, reason }: FieldViolation) => ({
    ...complaint(locationOf(field), description),
    ctx: { reason },
  }));
}
