/** One attempt to deliver a webhook event: a POST, and what its answer means. */
import { AuspexError } from "../domain/error.ts";
import type { Delivery } from "../domain/webhook.ts";
import type { Egress, EgressResponse } from "./egress.ts";
import { signatureHeaders } from "./webhook-signature.ts";

export type Verdict =
  | { readonly kind: "delivered"; readonly status: number }
  /** To be tried again. */
  | {
      readonly kind: "failed";
      readonly reason: string;
      /** Whether the endpoint as a whole seems to be down, and not only unhappy with this event. */
      readonly down: boolean;
      /** How long the endpoint asked to be left alone; undefined when it did not. */
      readonly retryAfterMs: number | undefined;
    }
  /** Trying again would be pointless or unwanted. */
  | { readonly kind: "refused"; readonly reason: string }
  /** Our own signal was aborted: nothing is known of it. */
  | { readonly kind: "interrupted" };

export interface AttemptOptions {
  readonly egress: Egress;
  readonly timeoutMs: number;
  /** Microseconds since the epoch. */
  readonly now: number;
  readonly signal: AbortSignal;
}

/** Nobody needs a webhook's answer: reading some of it keeps the connection usable, and bounds memory. */
const RESPONSE_BYTES_MAX = 64 * 1024;

/** Never rejects: whatever happens is a verdict. */
export async function attempt(delivery: Delivery, options: AttemptOptions): Promise<Verdict> {
  const { egress, timeoutMs, now, signal } = options;
  try {
    const response = await egress.fetch({
      url: delivery.url,
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...signatureHeaders(delivery, Math.floor(now / 1e6)),
      },
      body: delivery.body,
      maxBytes: RESPONSE_BYTES_MAX,
      overflow: "truncate",
      timeoutMs,
      signal,
    });
    return judge(response, Date.parse(response.headers.date ?? "") || now / 1000);
  } catch (error) {
    if (signal.aborted) return { kind: "interrupted" };
    const { code, message } = AuspexError.from(error);
    if (code === "invalid_argument") return { kind: "refused", reason: message };
    return { kind: "failed", reason: message, down: true, retryAfterMs: undefined };
  }
}

/** @param dateMs when it was answered, by the endpoint's own clock if it told */
export function judge({ status, headers }: EgressResponse, dateMs: number): Verdict {
  if (status >= 200 && status < 300) return { kind: "delivered", status };
  // Standard Webhooks: the endpoint says that it does not want to be called any more.
  if (status === 410) return { kind: "refused", reason: "the endpoint answered 410, it is gone" };
  const redirect = status >= 300 && status < 400;
  const busy = status === 429 || status === 503;
  return {
    kind: "failed",
    reason: `the endpoint answered ${status}${redirect ? "; redirects are not followed" : ""}`,
    down: status === 429 || status >= 500,
    retryAfterMs: busy ? parseRetryAfter(headers["retry-after"], dateMs) : undefined,
  };
}

/** `Retry-After` (RFC 9110 §10.2.3): seconds or a date; undefined when there is none or it is in the past. */
function parseRetryAfter(value: string | undefined, dateMs: number): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^[0-9]+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - dateMs;
  return ms > 0 ? ms : undefined;
}
