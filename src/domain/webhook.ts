/** One event to post to one prediction's webhook: a row, written in the transaction that caused it. */
export interface Delivery {
  /** Stable over retries: the header `webhook-id`. `msg_<prediction id>_<revision>`. */
  readonly id: string;
  readonly predictionId: string;
  readonly principal: string;
  /** The prediction's revision that the body shows: later events have higher ones. */
  readonly revision: number;
  readonly url: string;
  readonly secret: string;
  readonly format: "auspex" | "wriftai";
  readonly body: string;
  /** A terminal event is never superseded. */
  readonly terminal: boolean;
  readonly createdAt: number;
  readonly state: DeliveryState;
}

/** Times in microseconds since the epoch. */
export type DeliveryState =
  | { readonly kind: "due"; readonly attempts: number; readonly nextAt: number }
  | { readonly kind: "delivered"; readonly attempts: number }
  /** Dropped because a later event of the same prediction was due, or given up after the last attempt. */
  | { readonly kind: "abandoned"; readonly attempts: number; readonly reason: string };

/** A delivery to write; it is due at once. */
export type NewDelivery = Omit<Delivery, "state">;
