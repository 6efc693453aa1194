/**
 * A prediction: one run of one model version on one input.
 *
 *     pending ──▶ started ──▶ succeeded
 *        │           │  ▲└──▶ failed
 *        │           └──┘     (a second attempt stays started and raises `attempt`)
 *        └───────────┴──────▶ canceled, failed
 *
 * A terminal status never changes. Times are integer microseconds since the Unix epoch.
 */
import type { ErrorCode } from "./error.ts";
import type { PredictionId } from "./id.ts";
import type { Payload } from "./payload.ts";

export type PredictionStatus = "pending" | "started" | "succeeded" | "failed" | "canceled";
export type TerminalStatus = "succeeded" | "failed" | "canceled";

const TERMINAL = {
  pending: false,
  started: false,
  succeeded: true,
  failed: true,
  canceled: true,
} as const satisfies Record<PredictionStatus, boolean>;

export function isTerminal(status: PredictionStatus): status is TerminalStatus {
  return TERMINAL[status];
}

export interface PredictionError {
  /** Who can mend it: `internal` the server, `external` the input, the model or the caller. */
  readonly source: "internal" | "external";
  readonly code: ErrorCode;
  readonly message: string;
}

/** Whom to post status changes to. */
export interface WebhookTarget {
  readonly url: string;
  /** "" when nothing is to be signed with WriftAI's or the Standard Webhooks header. */
  readonly secret: string;
  readonly format: WebhookFormat;
}

export type WebhookFormat = "auspex" | "wriftai";

export interface Prediction {
  readonly id: PredictionId;
  /** The creating principal's name; every query is by it. */
  readonly principal: string;
  /** `owner/name`. */
  readonly model: string;
  /** Resolved at creation; 0 when no version could be resolved and resolution was deferred. */
  readonly version: number;
  readonly status: PredictionStatus;
  /** Strictly increasing from 1. */
  readonly revision: number;
  /** Times it was handed to a worker. */
  readonly attempt: number;
  /** Times a worker died with it. */
  readonly deaths: number;
  readonly input: Payload;
  /** Set exactly when succeeded. */
  readonly output: Payload | null;
  /** Set exactly when failed. */
  readonly error: PredictionError | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  /** Microseconds from creation until the last attempt began to execute. */
  readonly setupTime: number | null;
  /** Microseconds that the last attempt took. */
  readonly executionTime: number | null;
  readonly deadlineAt: number | null;
  /** Idempotency key; "" for none. */
  readonly requestId: string;
  /** SHA-256 (hex) of the request that was made with `requestId`; "" without one. */
  readonly requestHash: string;
  readonly webhook: WebhookTarget | null;
}

/** A prediction as lists show it. */
export type PredictionSummary = Omit<Prediction, "input" | "output" | "requestHash" | "webhook">;

/**
 * The right to finish a prediction, held by whoever claimed it last. The token rises with each claim (fencing): a
 * settle with an older token changes nothing.
 */
export interface Lease {
  /** Unique per claim. */
  readonly token: string;
  /** Microseconds since the epoch; past it anybody may claim the prediction again. */
  readonly expiresAt: number;
}

/**
 * The token of the lease that an attempt is run under.
 *
 * @param nonce unique among the attempts of that number of one prediction
 */
export function leaseToken(attempt: number, nonce: string): string {
  // In nine digits tokens rise as text, too.
  return `${String(attempt).padStart(9, "0")}-${nonce}`;
}

/** How a run ended, before it is settled. */
export type Outcome =
  | { readonly status: "succeeded"; readonly output: Payload }
  | { readonly status: "failed"; readonly error: PredictionError }
  | { readonly status: "canceled" };
