/** The operations on documents: upserted for a flow's retriever, attached to a chat, given back. */
import type { ChatflowService, Document } from "../../gen/auspex/v1/chatflow_pb.ts";
import type { RetrieverDefinition } from "../domain/chatflow.ts";
import { AuspexError, type FieldViolation, invalidArgument } from "../domain/error.ts";
import type { ChatFileRow, ChatStore } from "../store/chatflow-store.ts";
import type { BlobStore } from "../store/store.ts";
import type { Operations } from "./call.ts";
import { upsertMessage } from "./chat-record.ts";
import type { ChatflowAccess } from "./chatflow-access.ts";
import { checkChunks } from "./chatflow-definition.ts";
import { type DocumentFile, type DocumentReader, READER_LIMITS } from "./flow/document-reader.ts";
import { documentType } from "./flow/documents/media-type.ts";
import type { Ingestion } from "./flow/ingestion.ts";
import { type Limits, validate } from "./validation.ts";

export interface DocumentOptions {
  readonly chats: Pick<ChatStore, "putFiles" | "getFile">;
  readonly blobs: Pick<BlobStore, "put" | "get">;
  readonly access: ChatflowAccess;
  readonly reader: Pick<DocumentReader, "read">;
  readonly ingestion: Ingestion;
  readonly limits: Limits;
  /** Microseconds since the epoch. */
  readonly now: () => number;
}

type Part = Pick<Operations<typeof ChatflowService>, "upsertDocuments" | "createAttachments" | "getChatFile">;

export function createDocumentOperations(options: DocumentOptions): Part {
  const { chats, blobs, access, reader, ingestion, limits, now } = options;

  /** Between parts of a document that has several stands a blank line. */
  async function textOf(
    file: DocumentFile,
    flowId: string,
    index: number,
    signal: AbortSignal,
  ): Promise<string> {
    try {
      return (await reader.read(file, flowId, signal)).map(({ text }) => text).join("\n\n");
    } catch (error) {
      throw unreadable(`documents[${index}]`, error);
    }
  }

  return {
    async upsertDocuments(request, call) {
      validate(request, limits);
      const { chunkSize, chunkOverlap, replace } = request;
      const flow = await access.owned(request.chatflowId, call);
      const { retriever } = flow.definition;
      if (!retriever) throw new AuspexError("failed_precondition", `chatflow ${flow.id} has no retriever`);
      const upsert = await ingestion
        .upsert({
          flow,
          chatId: "",
          documents: request.documents.map((document) => ({
            ...fileOf(document),
            metadata: document.metadata ?? {},
          })),
          replace,
          ...chunksOf(retriever, chunkSize, chunkOverlap),
          signal: call.signal,
        })
        .catch((error: unknown) => {
          throw unreadable("documents", error);
        });
      return { result: upsertMessage(upsert) };
    },

    async createAttachments(request, call) {
      validate(request, limits);
      const { chatId, documents } = request;
      const flow = await access.asked(request.chatflowId, call);
      const attachments: { name: string; mediaType: string; size: bigint; content: string }[] = [];
      let room = READER_LIMITS.characters;
      for (const [index, document] of documents.entries()) {
        const file = fileOf(document);
        const content = await textOf(file, flow.id, index, call.signal);
        room -= content.length;
        if (room < 0) throw tooLong();
        const { name, bytes } = file;
        const mediaType = documentType(name, file.mediaType, bytes);
        attachments.push({ name, mediaType, size: BigInt(bytes.length), content });
      }
      const files: ChatFileRow[] = [];
      for (const [index, { name, mediaType }] of attachments.entries()) {
        const bytes = documents[index]?.content ?? new Uint8Array();
        const blob = await blobs.put(bytes);
        const sizeBytes = bytes.length;
        files.push({ chatflowId: flow.id, chatId, name, mediaType, blob, sizeBytes, createdAt: now() });
      }
      if (!(await chats.putFiles(files))) {
        throw new AuspexError("resource_exhausted", `chat ${chatId} has no room for more files`);
      }
      return { attachments };
    },

    async getChatFile(request, call) {
      validate(request, limits);
      const { chatId, name } = request;
      const flow = await access.asked(request.chatflowId, call);
      const file = await chats.getFile(flow.id, chatId, name);
      if (!file) throw new AuspexError("not_found", `chat ${chatId} has no file ${JSON.stringify(name)}`);
      const bytes = await blobs.get(file.blob);
      if (!bytes) throw new AuspexError("internal", `the bytes of file ${JSON.stringify(name)} are gone`);
      return { content: bytes as Uint8Array<ArrayBuffer>, mediaType: file.mediaType };
    },
  };
}

function fileOf({ name, mediaType, content }: Document): DocumentFile {
  return { name, mediaType, bytes: content };
}

/** @throws AuspexError `invalid_argument` */
function chunksOf(
  retriever: RetrieverDefinition,
  givenSize: number,
  givenOverlap: number | undefined,
): { readonly chunkSize: number; readonly chunkOverlap: number } {
  const violations: FieldViolation[] = [];
  const chunkSize = givenSize || retriever.chunkSize;
  checkChunks(
    (field, reason, description) => violations.push({ field, reason, description }),
    givenSize,
    givenOverlap,
    chunkSize,
  );
  const [first, ...rest] = violations;
  if (first) throw invalidArgument(first, ...rest);
  // The flow's may be too much for a size that is this request's own.
  const chunkOverlap = givenOverlap ?? Math.min(retriever.chunkOverlap, Math.ceil(chunkSize / 2) - 1);
  return { chunkSize, chunkOverlap };
}

function unreadable(field: string, thrown: unknown): AuspexError {
  const error = AuspexError.from(thrown);
  return error.code === "invalid_argument" && error.violations.length === 0
    ? invalidArgument({ field, reason: "unreadable", description: error.message })
    : error;
}

function tooLong(): AuspexError {
  const most = READER_LIMITS.characters.toLocaleString("en");
  const description = `have more than ${most} characters of text together`;
  return invalidArgument({ field: "documents", reason: "too_large", description });
}
