/**
 * The tables as the newest migration leaves them, for Kysely's types. Names and types of columns stand here; what
 * they hold is told by the domain type that each row is mapped to.
 */
import type { Generated } from "kysely";
import type { ChatRole, RatingValue } from "../domain/chatflow.ts";
import type { Dataset, DatasetType, Deletion, ExampleSource } from "../domain/dataset.ts";
import type { ImageState } from "../domain/image.ts";
import type { PredictionStatus } from "../domain/prediction.ts";
import type { TrainingStatus } from "../domain/training.ts";
import type { Delivery, DeliveryState } from "../domain/webhook.ts";

export interface Tables {
  readonly prediction: PredictionRow;
  readonly delivery: DeliveryRow;
  readonly image: ImageRow;
  readonly alias: AliasTableRow;
  readonly sequence: { readonly name: string; readonly value: number };
  readonly dataset: DatasetRow;
  readonly label: LabelRow;
  readonly example: ExampleRow;
  readonly dataset_import: DatasetImportRow;
  readonly deletion: DeletionRow;
  readonly trained_model: TrainedModelRow;
  readonly training: TrainingRow;
  readonly epoch: EpochRow;
  readonly embedding: EmbeddingRow;
  readonly refresh_token: RefreshTokenRow;
  readonly usage: UsageRow;
  readonly chatflow: ChatflowRow;
  readonly chatflow_version: ChatflowVersionRow;
  readonly chatflow_key: ChatflowKeyRow;
  readonly chat_message: ChatMessageRow;
  readonly rating: RatingRow;
  readonly lead: LeadRow;
  readonly chat_file: ChatFileTableRow;
  readonly upsert: UpsertRow;
  readonly passage_scope: PassageScopeRow;
  readonly passage: PassageRow;
  readonly passage_sign: PassageSignRow;
  readonly passage_vector: { readonly passage: number; readonly vector: Uint8Array };
  /** FTS5: no words come out again. */
  readonly passage_words: { readonly rowid: number; readonly words: string };
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

export interface DatasetRow {
  readonly id: number;
  readonly principal: string;
  readonly name: string;
  readonly type: DatasetType;
  readonly state: Dataset["state"]["kind"];
  readonly failure: string;
  /** The import under way, whose examples do not count yet. */
  readonly import_id: number | null;
  readonly duplicates: number;
  /** SkippedFiles as JSON. */
  readonly skipped: string;
  readonly created_at: number;
  readonly updated_at: number;
  /** Set once its deletion was asked for. */
  readonly deleted_at: number | null;
}

export interface LabelRow {
  readonly id: number;
  readonly dataset_id: number;
  readonly principal: string;
  readonly name: string;
}

export interface ExampleRow {
  readonly id: number;
  readonly dataset_id: number;
  readonly label_id: number;
  readonly principal: string;
  readonly name: string;
  readonly source: ExampleSource;
  /** The import that it came with; null for one that came alone. */
  readonly import_id: number | null;
  readonly blob: string;
  readonly media_type: string;
  readonly width: number;
  readonly height: number;
  readonly size_bytes: number;
  readonly created_at: number;
}

export interface DatasetImportRow {
  readonly id: number;
  readonly dataset_id: number;
  /** One of the two is set. */
  readonly blob: string | null;
  readonly url: string | null;
  /** 0 or 1. */
  readonly is_first: number;
  readonly created_at: number;
}

export interface DeletionRow {
  readonly id: string;
  readonly principal: string;
  readonly kind: Deletion["kind"];
  readonly deleted: string;
  readonly model_id: string;
  readonly state: Deletion["state"];
  readonly progress: number;
  readonly failure: string;
  readonly created_at: number;
}

export interface TrainedModelRow {
  readonly name: string;
  readonly principal: string;
  readonly id: string;
  readonly model_id: string;
  readonly dataset_id: number;
  readonly type: DatasetType;
  readonly created_at: number;
  readonly deleted_at: number | null;
}

export interface TrainingRow {
  readonly id: string;
  readonly principal: string;
  readonly model: string;
  readonly name: string;
  readonly dataset_id: number;
  readonly status: TrainingStatus;
  readonly revision: number;
  readonly attempt: number;
  readonly progress: number;
  readonly failure: string;
  /** TrainingOptions, TrainingStats and EpochMetrics as JSON. */
  readonly options: string;
  readonly stats: string | null;
  readonly last_epoch: string | null;
  readonly params: string;
  readonly version: number;
  readonly created_at: number;
  readonly updated_at: number;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  readonly checkpoint: Uint8Array | null;
}

export interface EpochRow {
  readonly training_id: string;
  readonly epoch: number;
  /** Metrics as JSON. */
  readonly metrics: string;
  /** EpochResult[] as JSON. */
  readonly results: string;
}

export interface EmbeddingRow {
  readonly extractor: string;
  readonly blob: string;
  /** Float32, little endian. */
  readonly vector: Uint8Array;
}

export interface RefreshTokenRow {
  readonly hash: string;
  readonly principal: string;
  readonly created_at: number;
}

export interface UsageRow {
  readonly principal: string;
  /** First moment of the calendar month (UTC). */
  readonly month: number;
  readonly predictions: number;
}

export interface ChatflowRow {
  readonly id: string;
  readonly principal: string;
  readonly name: string;
  readonly version: number;
  /** ChatflowDefinition as JSON. */
  readonly definition: string;
  /** 0 or 1. */
  readonly from_file: number;
  readonly created_at: number;
  readonly updated_at: number;
}

export interface ChatflowVersionRow {
  readonly chatflow_id: string;
  readonly version: number;
  readonly definition: string;
}

export interface ChatflowKeyRow {
  readonly id: string;
  readonly chatflow_id: string;
  readonly name: string;
  readonly hash: string;
  readonly created_at: number;
}

export interface ChatMessageRow {
  readonly position: Generated<number>;
  readonly id: string;
  readonly chatflow_id: string;
  readonly role: ChatRole;
  readonly content: string;
  readonly chat_id: string;
  readonly session_id: string;
  readonly prediction_id: string;
  readonly failure: string;
  readonly lead_email: string;
  readonly memory_type: string;
  /** Source documents, uploads and follow-up prompts as JSON. */
  readonly details: string;
  readonly created_at: number;
}

export interface RatingRow {
  readonly id: string;
  readonly chatflow_id: string;
  readonly message_id: string;
  readonly chat_id: string;
  readonly value: RatingValue;
  readonly comment: string;
  readonly created_at: number;
}

export interface LeadRow {
  readonly id: string;
  readonly chatflow_id: string;
  readonly chat_id: string;
  readonly name: string;
  readonly email: string;
  readonly phone: string;
  readonly created_at: number;
}

export interface ChatFileTableRow {
  readonly chatflow_id: string;
  readonly chat_id: string;
  readonly name: string;
  readonly media_type: string;
  readonly blob: string;
  readonly size_bytes: number;
  readonly created_at: number;
}

export interface UpsertRow {
  readonly number: Generated<number>;
  readonly id: string;
  readonly chatflow_id: string;
  readonly principal: string;
  readonly state: "running" | "ended" | "forgotten" | "abandoned";
  readonly added: number;
  readonly deleted: number;
  readonly skipped: number;
  /** Passage[] as JSON. */
  readonly added_passages: string;
  readonly created_at: number;
}

export interface PassageScopeRow {
  readonly number: Generated<number>;
  readonly chatflow_id: string;
  readonly chat_id: string;
}

export interface PassageRow {
  readonly id: Generated<number>;
  readonly scope: number;
  readonly upsert: number;
  readonly source: string;
  readonly hash: Uint8Array;
  readonly text: string;
  /** JsonObject as JSON. */
  readonly metadata: string;
}

export interface PassageSignRow {
  readonly scope: number;
  readonly passage: number;
  readonly upsert: number;
  readonly signs: Uint8Array;
}
