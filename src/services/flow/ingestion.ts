/** Documents into the store: read, split, embedded, kept. */
import type { Chatflow, Upsert } from "../../domain/chatflow.ts";
import type { JsonObject } from "../../domain/payload.ts";
import type { DocumentFile } from "./document-reader.ts";

export interface IngestionRequest {
  readonly flow: Chatflow;
  /** For this chat's questions alone; "" for every one. */
  readonly chatId: string;
  readonly documents: readonly (DocumentFile & { readonly metadata: JsonObject })[];
  /** Passages of documents of these names that are not in the new ones are deleted. */
  readonly replace: boolean;
  /** Characters. */
  readonly chunkSize: number;
  readonly chunkOverlap: number;
  readonly signal: AbortSignal;
}

export interface Ingestion {
  /** Resolves when the passages are found by questions. Leaves nothing behind when it rejects. */
  upsert(request: IngestionRequest): Promise<Upsert>;
}
