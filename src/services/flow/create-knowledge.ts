/** What a flow knows: its documents on their way in, and its passages on their way out. Puts the parts together. */
import type { Engine, EngineLog } from "../../engine/engine.ts";
import type { Store } from "../../store/store.ts";
import { createDocumentReader, type DocumentReader } from "./document-reader.ts";
import { createEmbedder, type Embedder } from "./embedder.ts";
import { createIngestion, type Ingestion } from "./ingestion.ts";
import { createRetrieval, type Retrieval } from "./retrieval.ts";

export interface KnowledgeOptions {
  readonly store: Pick<Store, "passages" | "upserts">;
  readonly engine: Pick<Engine, "models" | "run">;
  /** Of the engine. */
  readonly workers: number;
  /** Most passages of one upsert. */
  readonly passagesMax: number;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
  readonly log: EngineLog;
}

export interface Knowledge {
  readonly reader: DocumentReader;
  readonly embedder: Embedder;
  readonly ingestion: Ingestion;
  readonly retrieval: Retrieval;
  /** Ends what is being read. */
  close(): Promise<void>;
}

export function createKnowledge({ store, engine, workers, ...options }: KnowledgeOptions): Knowledge {
  const { passages, upserts } = store;
  const reader = createDocumentReader(options.log);
  const embedder = createEmbedder(engine, workers);
  return {
    reader,
    embedder,
    ingestion: createIngestion({ ...options, reader, embedder, passages, upserts }),
    retrieval: createRetrieval({ embedder, passages }),
    close: () => reader.close(),
  };
}
