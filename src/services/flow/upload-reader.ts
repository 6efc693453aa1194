/** Files that come with a question, on their way to the generator: what pictures show, what documents say. */
import type { Chatflow, RetrieverDefinition } from "../../domain/chatflow.ts";
import { AuspexError } from "../../domain/error.ts";
import type { ImageId } from "../../domain/id.ts";
import type { JsonValue } from "../../domain/payload.ts";
import { type InputContext, readImage } from "../input.ts";
import type { ModelDirectory } from "../model-directory.ts";
import { fetchUrl } from "../picture-source.ts";
import type { Asked, AskedUpload } from "./asked.ts";
import type { DocumentFile, DocumentReader } from "./document-reader.ts";
import type { AttachedDocument, SeenPicture } from "./generator.ts";
import type { Ingestion } from "./ingestion.ts";

/** Characters of all documents that are read in full for one question: what language models read at once. */
const DOCUMENTS_LENGTH_MAX = 400_000;

export interface UploadReaderOptions {
  readonly input: InputContext;
  readonly directory: ModelDirectory;
  readonly reader: Pick<DocumentReader, "read">;
  readonly ingestion: Ingestion;
  /** Whether every model is everybody's. */
  readonly open: boolean;
}

export interface ReadUploads {
  readonly pictures: readonly SeenPicture[];
  readonly documents: readonly AttachedDocument[];
}

export interface UploadReader {
  /**
   * What the retriever is to look through is there when it resolves. Rejects with `invalid_argument` for a file that
   * cannot be read, and as the model and `Ingestion.upsert` do.
   */
  read(flow: Chatflow, asked: Asked, limits: RunLimits): Promise<ReadUploads>;
}

export interface RunLimits {
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly deadlineAt: number;
}

export function createUploadReader(options: UploadReaderOptions): UploadReader {
  const { input, directory, reader, ingestion, open } = options;
  const { store, engine, egress, maxPictureBytes } = input;

  async function bytesOf(
    { principal }: Chatflow,
    { kind, source }: AskedUpload,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    switch (source.kind) {
      case "bytes":
        return source.bytes;
      case "url": {
        const what = kind === "picture" ? "picture" : "document";
        return fetchUrl({ url: source.url, what, egress, maxBytes: maxPictureBytes, signal });
      }
      case "image": {
        const image = await store.images.get(principal, source.id as ImageId);
        if (!image) throw new AuspexError("not_found", `image ${source.id} does not exist`);
        return readImage(store, image);
      }
      default:
        return source satisfies never;
    }
  }

  async function see(flow: Chatflow, upload: AskedUpload, limits: RunLimits): Promise<SeenPicture> {
    const { picture } = flow.definition;
    if (!picture) throw new AuspexError("invalid_argument", "this flow has no picture step");
    const { owner, name, version } = await directory.resolve({ name: flow.principal, open }, picture.model);
    const { output } = await engine.run({
      owner,
      name,
      version,
      input: { json: {}, tensors: {}, files: { image: await bytesOf(flow, upload, limits.signal) } },
      deaths: 0,
      onWorkerDeath: async () => {},
      ...limits,
    });
    // A detector may name a label once for each thing that it found.
    const labels = new Set(labelsOf(output.json.probabilities ?? null));
    return { name: upload.name, labels: [...labels].slice(0, picture.topK) };
  }

  async function file(flow: Chatflow, upload: AskedUpload, signal: AbortSignal): Promise<DocumentFile> {
    const { name, mediaType } = upload;
    return { name, mediaType, bytes: await bytesOf(flow, upload, signal) };
  }

  async function ingest(
    flow: Chatflow,
    { chunkSize, chunkOverlap }: RetrieverDefinition,
    { chatId, uploads }: Asked,
    signal: AbortSignal,
  ): Promise<void> {
    const documents = [];
    for (const upload of uploads) {
      if (upload.kind === "rag") documents.push({ ...(await file(flow, upload, signal)), metadata: {} });
    }
    if (documents.length === 0) return;
    await ingestion.upsert({ flow, chatId, documents, replace: true, chunkSize, chunkOverlap, signal });
  }

  async function readInFull(
    flow: Chatflow,
    { uploads }: Asked,
    signal: AbortSignal,
  ): Promise<AttachedDocument[]> {
    const documents: AttachedDocument[] = [];
    let left = DOCUMENTS_LENGTH_MAX;
    for (const upload of uploads) {
      if (upload.kind !== "full") continue;
      const parts = await reader.read(await file(flow, upload, signal), flow.id, signal);
      const text = parts.map((part) => part.text).join("\n\n");
      left -= text.length;
      if (left < 0) {
        throw new AuspexError(
          "invalid_argument",
          `the attached documents have more than ${DOCUMENTS_LENGTH_MAX} characters; longer ones are for the retriever`,
        );
      }
      documents.push({ name: upload.name, text });
    }
    return documents;
  }

  return {
    async read(flow, asked, limits) {
      const pictures: SeenPicture[] = [];
      for (const upload of asked.uploads)
        if (upload.kind === "picture") pictures.push(await see(flow, upload, limits));
      const documents = await readInFull(flow, asked, limits.signal);
      const { retriever } = flow.definition;
      if (retriever) await ingest(flow, retriever, asked, limits.signal);
      return { pictures, documents };
    },
  };
}

function labelsOf(probabilities: JsonValue): readonly string[] {
  if (!Array.isArray(probabilities)) return [];
  return probabilities.flatMap((each) =>
    typeof each === "object" && each !== null && !Array.isArray(each) && typeof each.label === "string"
      ? [each.label]
      : [],
  );
}
