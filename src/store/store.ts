/**
 * What the rest of the server may ask of durable storage. Each method is one transaction (or one read); a write
 * resolves after its commit is on disk, and writes are applied in the order in which they were called. All that
 * arrives while a commit runs goes into the next one (grouped commits).
 *
 * Times are integer microseconds since the Unix epoch and come from the caller: the store has no clock.
 */

import type { ChatTurn } from "../domain/chatflow.ts";
import type { ImageId, PredictionId } from "../domain/id.ts";
import type { Image, ImageState } from "../domain/image.ts";
import type { Lease, Prediction, PredictionStatus, PredictionSummary } from "../domain/prediction.ts";
import type { Delivery, DeliveryState, NewDelivery } from "../domain/webhook.ts";
import type { AccountStore } from "./account.ts";
import type { ChatflowStore, ChatStore, PassageStore, UpsertStore } from "./chatflow-store.ts";
import type { DatasetStore, DeletionStore, ExampleStore, ImportStore } from "./dataset-store.ts";
import type { FolderLock } from "./lock.ts";
import type { StorageHealth } from "./storage-health.ts";
import type { EmbeddingStore, TrainingStore } from "./training-store.ts";

export interface Store {
  readonly predictions: PredictionStore;
  readonly deliveries: DeliveryStore;
  readonly images: ImageStore;
  readonly aliases: AliasStore;
  readonly accounts: AccountStore;
  readonly datasets: DatasetStore;
  readonly examples: ExampleStore;
  readonly imports: ImportStore;
  readonly deletions: DeletionStore;
  readonly trainings: TrainingStore;
  readonly embeddings: EmbeddingStore;
  readonly chatflows: ChatflowStore;
  readonly passages: PassageStore;
  readonly upserts: UpsertStore;
  readonly chats: ChatStore;
  readonly blobs: BlobStore;
  readonly health: StorageHealth;
  /** What to print at start, e.g. `sqlite ./data/auspex.db`. */
  readonly description: string;
  /** Flushes what is queued, closes the database and gives up the data folder's lock. */
  close(): Promise<void>;
}

/** A prediction that is about to be written for the first time, in whatever status it has by then. */
export interface NewPrediction {
  readonly prediction: Prediction;
  /** Set exactly when the status is started. */
  readonly lease: Lease | null;
  readonly deliveries: readonly NewDelivery[];
  /** The pictures that arrived with it; their blobs are already on disk. */
  readonly images: readonly Image[];
  /** What is said in a chat by it, when it is terminal. */
  readonly turn?: ChatTurn | undefined;
}

export type InsertResult =
  | { readonly kind: "inserted" }
  /** (principal, requestId) exists; nothing was written. */
  | { readonly kind: "duplicate"; readonly existing: Prediction }
  /** As many unfinished predictions as the queue holds; nothing was written. Never for a terminal one. */
  | { readonly kind: "full" };

/** A transition wins or loses: it is applied only if the guard still holds, and says which. */
export type TransitionGuard =
  /** Still started, and under this lease. */
  | { readonly kind: "lease"; readonly token: string }
  /** Not terminal, and nothing changed since this revision was read. */
  | { readonly kind: "revision"; readonly revision: number };

export interface Claim {
  readonly prediction: Prediction;
  readonly lease: Lease;
}

export interface ListQuery {
  readonly principal: string;
  readonly model: string | undefined;
  readonly status: PredictionStatus | undefined;
  /** Only ids strictly below / above this one; at most one of the two is given. */
  readonly before: PredictionId | undefined;
  readonly after: PredictionId | undefined;
  readonly limit: number;
}

export interface PredictionStore {
  insert(next: NewPrediction): Promise<InsertResult>;
  get(principal: string, id: PredictionId): Promise<Prediction | undefined>;
  /** The prediction that was created with this idempotency key, which is not "". */
  getByRequestId(principal: string, requestId: string): Promise<Prediction | undefined>;
  /** Newest first, also when paging by `after` (the page that directly follows that id upwards). */
  list(query: ListQuery): Promise<PredictionSummary[]>;
  /** Stored predictions by `owner/name`. */
  countByModel(principal: string): Promise<Map<string, number>>;
  /**
   * Takes up to `limit` predictions that are pending or whose lease ran out, oldest first: status started, attempt
   * and revision raised, startedAt kept from the first attempt, a fresh lease token each. Committed before it
   * resolves. The leases of a server before this one have run out as soon as the store is open.
   */
  claim(args: {
    readonly limit: number;
    readonly now: number;
    readonly leaseExpiresAt: number;
  }): Promise<Claim[]>;
  /** Moves the expiry of leases that are still held; answers the ids of those that are not. */
  renew(args: {
    readonly leases: readonly { readonly id: PredictionId; readonly token: string }[];
    readonly expiresAt: number;
  }): Promise<PredictionId[]>;
  /**
   * Replaces the row's mutable columns (status, revision, attempt, deaths, output, error, times) by those of
   * `next`, and writes the deliveries and the chat's turn, if the guard holds. A terminal status drops the lease. False: somebody
   * else was first, and nothing was written.
   */
  transition(args: {
    readonly next: Prediction;
    readonly guard: TransitionGuard;
    readonly deliveries: readonly NewDelivery[];
    readonly turn?: ChatTurn | undefined;
  }): Promise<boolean>;
  /** Earliest time at which something becomes claimable (0 when something is now), undefined when nothing waits. */
  nextClaimAt(): Promise<number | undefined>;
  /** Rows that are pending or started. */
  unfinished(): number;
  /**
   * Retention: deletes up to `limit` predictions that ended before the time and have no webhook delivery due, with
   * their deliveries and own images. Answers how many.
   */
  deleteEnded(args: { readonly endedBefore: number; readonly limit: number }): Promise<number>;
}

export interface DeliveryStore {
  /** Writes events that no transition caused (a claim's `started`); already existing ids are left alone. */
  insert(deliveries: readonly NewDelivery[]): Promise<void>;
  /**
   * Deliveries to attempt now, oldest first, at most one per prediction: the earliest due one by revision. Before
   * that, an earlier event whose first attempt failed and that has a later event due is abandoned as superseded.
   * One that was taken is not given again until it is recorded, or until its taker must be dead: after two minutes
   * (an attempt takes less), or when the store is opened anew. An event that was never attempted holds back the
   * later ones of its prediction, also while its own time is yet to come: a busy or failing endpoint's deliveries
   * are postponed by recording a later `nextAt`.
   */
  takeDue(args: { readonly now: number; readonly limit: number }): Promise<Delivery[]>;
  /** Records how an attempt ended. */
  record(args: { readonly id: string; readonly state: DeliveryState }): Promise<void>;
  /** When the next one is due, undefined when none is. */
  nextDueAt(): Promise<number | undefined>;
  /** All of one prediction, by revision. */
  list(principal: string, predictionId: PredictionId): Promise<Delivery[]>;
}

export interface ImageStore {
  insert(image: Image): Promise<void>;
  get(principal: string, id: ImageId): Promise<Image | undefined>;
  /** Ends an import; false when it is not importing any more. */
  settle(args: { readonly id: ImageId; readonly state: ImageState }): Promise<boolean>;
  /** Imports that a stopped server left behind, to be begun again. */
  importing(): Promise<Image[]>;
}

export interface AliasRow {
  readonly principal: string;
  readonly alias: string;
  readonly target: string;
}

export interface AliasStore {
  set(row: AliasRow): Promise<void>;
  get(principal: string, alias: string): Promise<AliasRow | undefined>;
  list(principal: string): Promise<AliasRow[]>;
  /** False when there was none. */
  delete(principal: string, alias: string): Promise<boolean>;
}

export interface BlobStore {
  /** Durable when it resolves; answers the SHA-256, lower-case hex. */
  put(bytes: Uint8Array): Promise<string>;
  get(hash: string): Promise<Uint8Array | undefined>;
  /** Where its bytes lie on this machine, to be read in parts; nothing is said of whether they do. */
  path(hash: string): string;
  /** Gives the path of an empty file that is gone once `use` has ended, or with the next start. */
  withStaged<T>(use: (path: string) => Promise<T>): Promise<T>;
  /** Deletes blobs that nothing refers to and that were put before `olderThanMs` ago. Answers how many. */
  sweep(olderThanMs: number): Promise<number>;
}

export interface StoreOptions {
  readonly dataDir: string;
  /** Most unfinished predictions. */
  readonly queueMax: number;
  /** Bytes of the disk below which nothing more is to be accepted; 0 looks at no disk. */
  readonly diskReserve?: number;
  /** The folder's, when the caller holds it already; it is released when the store is closed, or does not open. */
  readonly lock?: FolderLock;
}
