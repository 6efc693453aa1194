/**
 * Whether a create that waits can be served in time. What its caller gives up on before it is done is work for nobody,
 * and while that is done others become late in their turn: at a multiple of what a server can do, hardly anything would
 * be answered at all. So it is refused at once, as long as nothing has been done for it.
 *
 * This is of creates whose answer is all that anybody has of them. Without `wait`, with a request id or with a webhook
 * a prediction is queued: somebody comes for its result later. And `wait` alone is no deadline: when it has passed, the
 * prediction is answered as it is then.
 */
import { AuspexError } from "../domain/error.ts";
import type { ModelVersion } from "../domain/model.ts";
import type { Engine } from "../engine/engine.ts";
import type { CallContext } from "./call.ts";

export interface AdmissionOptions {
  readonly engine: Pick<Engine, "outlook" | "stats">;
  /** Predictions that wait in the store because the engine has no room for them. */
  readonly stored: () => number;
  /** Milliseconds that a create may be expected to queue, whatever its deadline; undefined: as long as that. */
  readonly queueMaxMs: number | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** @throws AuspexError `resource_exhausted`, with when another try is worth it */
export type Admission = (
  version: Pick<ModelVersion, "owner" | "name" | "version">,
  waitMs: number,
  call: Pick<CallContext, "deadlineAt">,
) => void;

/**
 * How many times what is expected has to fit before a deadline. Were the queue let grow up to the deadlines, all that is
 * in it would be done just then, and the half that took a little longer would be done for nobody. Half as long a queue
 * keeps the workers as busy.
 */
const MARGIN = 2;

/** Bounds of what callers are told: nobody need come back sooner, and in so long much can change. */
const RETRY_MS = { min: 10, max: 10_000 } as const;

export function createAdmission({ engine, stored, queueMaxMs, now }: AdmissionOptions): Admission {
  return ({ owner, name, version }, waitMs, { deadlineAt }) => {
    const leftMs = deadlineAt === undefined ? Number.POSITIVE_INFINITY : deadlineAt - now();
    // When the wait ends first, the call is answered in time whatever becomes of the prediction.
    const isBound = leftMs <= waitMs;
    if (!isBound && queueMaxMs === undefined) return;
    const outlook = engine.outlook(owner, name, version);
    if (outlook.waitMs === 0) return;
    const queueMs = outlook.waitMs * behind();
    const takesMs = queueMs + outlook.runMs;
    if (isBound && MARGIN * takesMs > leftMs) {
      const text = `it would take about ${ms(takesMs)}, and the call's deadline leaves ${ms(leftMs)}`;
      throw refusal(text, takesMs - leftMs / MARGIN);
    }
    if (queueMaxMs !== undefined && queueMs > queueMaxMs) {
      const text = `it would queue for about ${ms(queueMs)}; the server allows ${ms(queueMaxMs)} to a create that waits`;
      throw refusal(text, queueMs - queueMaxMs);
    }
  };

  /** By how much what lies in the store makes longer what the engine sees: all of it goes at the same pace. */
  function behind(): number {
    const { queued, running } = engine.stats();
    return 1 + stored() / Math.max(1, queued + running);
  }
}

const ms = (value: number): string => `${Math.max(0, Math.round(value))} ms`;

function refusal(text: string, retryMs: number): AuspexError {
  return new AuspexError("resource_exhausted", `the server is overloaded: ${text}`, {
    retryAfterMs: Math.ceil(Math.min(RETRY_MS.max, Math.max(RETRY_MS.min, retryMs))),
  });
}
