/** Documents into the store: read, split, embedded, kept. */
import { createHash } from "node:crypto";
import type { Chatflow, Passage, RetrieverDefinition, Upsert } from "../../domain/chatflow.ts";
import { AuspexError } from "../../domain/error.ts";
import type { JsonObject } from "../../domain/payload.ts";
import type { EngineLog } from "../../engine/engine.ts";
import type { PassageStore, UpsertStore } from "../../store/chatflow-store.ts";
import type { DocumentFile, DocumentReader } from "./document-reader.ts";
import type { Embedder } from "./embedder.ts";
import { Turns } from "./turns.ts";

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
  /**
   * Resolves when the passages are found by questions. Leaves nothing behind when it rejects: with `invalid_argument`
   * for a document that cannot be read or makes too many passages, with `failed_precondition` for a flow without a
   * retriever or whose model is not there, with `canceled` once the signal is aborted, with `not_found` when the flow
   * was deleted meanwhile, with `resource_exhausted` when too many wait.
   */
  upsert(request: IngestionRequest): Promise<Upsert>;
}

export interface IngestionOptions {
  readonly reader: Pick<DocumentReader, "split">;
  readonly embedder: Pick<Embedder, "embedInTurn">;
  readonly passages: Pick<PassageStore, "known" | "add">;
  readonly upserts: Pick<UpsertStore, "begin" | "end" | "abandon">;
  /** Most passages of one upsert. */
  readonly passagesMax: number;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
  readonly log: EngineLog;
}

/** At once, of a flow one with its own documents and one with a chat's: they take turns at the model. */
const UPSERTS_MAX = 4;
/** Each holds a request's body. */
const WAITING_MAX = 32;
const WAITING_OF_FLOW_MAX = 8;
/** Passages written together: some milliseconds, for which other writes wait. */
const GROUP = 96;
/** Passages after which it is logged how far an upsert has come. */
const LOG_EVERY = 960;
/** Of the new passages, those that its record shows. */
const SHOWN = 100;

interface HashedPassage extends Passage {
  readonly source: string;
  /** SHA-256, lower-case hex. */
  readonly hash: string;
}

export function createIngestion(options: IngestionOptions): Ingestion {
  const { reader, embedder, passages, upserts, passagesMax, now, mintId, log } = options;
  const turns = new Turns({
    atOnce: UPSERTS_MAX,
    waiting: WAITING_MAX,
    waitingTogether: WAITING_OF_FLOW_MAX,
    what: "upserts",
  });

  async function read(request: IngestionRequest): Promise<readonly HashedPassage[]> {
    const { flow, documents, chunkSize, chunkOverlap, signal } = request;
    const all: HashedPassage[] = [];
    for (const document of documents) {
      const { name } = document;
      const limits = { size: chunkSize, overlap: chunkOverlap, max: passagesMax };
      const parts = await reader.split(document, limits, flow.id, signal).catch((error: unknown) => {
        throw named(name, error);
      });
      for (const { text, metadata } of parts) {
        const hash = createHash("sha256").update(text).digest("hex");
        all.push({ text, metadata: { ...document.metadata, source: name, ...metadata }, source: name, hash });
      }
      if (all.length > passagesMax) throw tooMany(passagesMax);
    }
    return all;
  }

  /** Those that are not there yet, each once. */
  async function unknown(
    { flow, chatId }: IngestionRequest,
    bySource: ReadonlyMap<string, readonly HashedPassage[]>,
  ): Promise<readonly HashedPassage[]> {
    const fresh: HashedPassage[] = [];
    for (const [source, given] of bySource) {
      const byHash = new Map(given.map((passage) => [passage.hash, passage]));
      const hashes = [...byHash.keys()];
      for (const hash of await passages.known({ chatflowId: flow.id, chatId, source, hashes }))
        byHash.delete(hash);
      fresh.push(...byHash.values());
    }
    return fresh;
  }

  async function add(
    { flow, chatId, signal }: IngestionRequest,
    { model }: RetrieverDefinition,
    upsertId: string,
    fresh: readonly HashedPassage[],
  ): Promise<void> {
    for (let start = 0; start < fresh.length; start += GROUP) {
      const group = fresh.slice(start, start + GROUP);
      const vectors = await embedder.embedInTurn(model, group.map(embeddedText), {
        signal,
        deadlineAt: undefined,
      });
      const rows = group.map(({ text, metadata }, i) => ({
        text,
        metadata,
        vector: vectors[i] ?? new Float32Array(),
      }));
      const kept = await passages.add({ chatflowId: flow.id, chatId, upsertId, passages: rows });
      if (!kept) throw flowGone(flow.id);
      const done = start + group.length;
      if (done % LOG_EVERY === 0 && done < fresh.length) {
        log.info(
          { chatflow: flow.id, upsert: upsertId, done, passages: fresh.length },
          "documents are embedded",
        );
      }
    }
  }

  async function run(request: IngestionRequest, retriever: RetrieverDefinition): Promise<Upsert> {
    const { flow, chatId, replace, signal } = request;
    const all = await read(request);
    const bySource = Map.groupBy(all, ({ source }) => source);
    const fresh = await unknown(request, bySource);
    const begun = { id: mintId(), chatflowId: flow.id, principal: flow.principal, createdAt: now() };
    await upserts.begin(begun);
    try {
      await add(request, retriever, begun.id, fresh);
      if (signal.aborted) throw new AuspexError("canceled", "the caller went away");
      const ended = await upserts.end({
        upsert: {
          ...begun,
          added: fresh.length,
          skipped: all.length - fresh.length,
          addedPassages: fresh.slice(0, SHOWN).map(({ text, metadata }) => ({ text, metadata })),
        },
        chatId,
        replaced: replace
          ? [...bySource].map(([source, some]) => ({ source, hashes: some.map(({ hash }) => hash) }))
          : [],
      });
      if (!ended) throw flowGone(flow.id);
      const { id: upsert, added, skipped, deleted } = ended;
      log.info({ chatflow: flow.id, upsert, added, skipped, deleted }, "documents were upserted");
      return ended;
    } catch (error) {
      // Of a store that is closed it may fail; the next start does it then.
      await upserts.abandon(begun.id).catch((err: unknown) => {
        log.warn({ err, upsert: begun.id }, "an upsert could not be abandoned");
      });
      throw error;
    }
  }

  return {
    async upsert(request) {
      const { flow, chatId, signal } = request;
      const { retriever } = flow.definition;
      if (!retriever) throw new AuspexError("failed_precondition", `chatflow ${flow.id} has no retriever`);
      // A chat's question does not wait for a library that its flow takes in.
      const key = chatId === "" ? flow.id : `${flow.id}/chats`;
      return turns.take(key, signal, () => run(request, retriever));
    },
  };
}

/** What a passage is found by: a section's later passages do not say themselves what they are about. */
export function embeddedText({ text, metadata }: Passage): string {
  return typeof metadata.heading === "string" ? `${metadata.heading}\n${text}` : text;
}

function flowGone(id: string): AuspexError {
  return new AuspexError("not_found", `chatflow ${id} does not exist any more`);
}

function tooMany(limit: number): AuspexError {
  const most = limit.toLocaleString("en");
  return new AuspexError(
    "invalid_argument",
    `the documents make more than ${most} passages; upsert them in parts`,
  );
}

function named(name: string, thrown: unknown): AuspexError {
  const error = AuspexError.from(thrown);
  return error.code === "invalid_argument"
    ? new AuspexError("invalid_argument", `document ${JSON.stringify(name)}: ${error.message}`)
    : error;
}
