/**
 * The tables as the newest migration leaves them, for Kysely's types. Names and types of columns stand here; what
 * they hold is told by the domain type that each row is mapped to.
 */
import type { ImageState } from "../domain/image.ts";
import type { PredictionStatus } from "../domain/prediction.ts";
import type { Delivery, DeliveryState } from "../domain/webhook.ts";

export interface Tables {
  readonly prediction: PredictionRow;
  readonly delivery: DeliveryRow;
  readonly image: ImageRow;
  readonly alias: AliasTableRow;
  readonly migration: { readonly version: number; readonly name: string };
}

export interface PredictionRow {
  readonly id: string;
  readonly principal: string;
  readonly model: string;
  readonly version: number;
  readonly status: PredictionStatus;
  readonly revision: number;
  readonly attempt: number;
  readonly deaths: number;
  /** PredictionError as JSON. */
  readonly error: string | null;
  readonly created_at: number;
  readonly updated_at: number;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  readonly setup_time: number | null;
  readonly execution_time: number | null;
  readonly deadline_at: number | null;
  readonly request_id: string;
  readonly request_hash: string;
  /** WebhookTarget as JSON. */
  readonly webhook: string | null;
  /** Both set exactly while started. */
  readonly lease_token: string | null;
  readonly lease_expires_at: number | null;
  /** Payloads, see payload.ts. The last columns, so that a read of the others never loads their pages. */
  readonly input: Uint8Array;
  readonly output: Uint8Array | null;
}

export interface DeliveryRow {
  readonly id: string;
  readonly prediction_id: string;
  readonly principal: string;
  readonly revision: number;
  readonly url: string;
  readonly secret: string;
  readonly format: Delivery["format"];
  /** 0 or 1. */
  readonly terminal: number;
  readonly created_at: number;
  readonly state: DeliveryState["kind"];
  readonly attempts: number;
  /** Set exactly while due. */
  readonly next_at: number | null;
  /** "" unless abandoned. */
  readonly reason: string;
  /** While an attempt is under way: when it counts as lost with whoever made it. 0 otherwise. */
  readonly taken_until: number;
  readonly body: string;
}

export interface ImageRow {
  readonly id: string;
  readonly principal: string;
  readonly state: ImageState["kind"];
  /** Set exactly when ready, as are the sizes; "" as a media type that was never looked at. */
  readonly blob: string | null;
  readonly media_type: string | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly size_bytes: number | null;
  /** Set exactly when failed. */
  readonly reason: string | null;
  readonly source_url: string;
  readonly prediction_id: string | null;
  readonly created_at: number;
}

export interface AliasTableRow {
  readonly principal: string;
  readonly alias: string;
  readonly target: string;
}
