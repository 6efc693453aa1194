/** A chatflow of a real server, filled with the documents and asked by every mode in turn. */
import { ChatflowService, Retriever_Mode } from "../../gen/auspex/v1/chatflow_pb.ts";
import { clientOf, startServer } from "../../test/harness.ts";
import type { SourceDocument } from "./questions.ts";

export const MODES = ["vector", "keyword", "hybrid"] as const;
export type Mode = (typeof MODES)[number];

const WIRE_MODES = {
  vector: Retriever_Mode.VECTOR,
  keyword: Retriever_Mode.KEYWORD,
  hybrid: Retriever_Mode.HYBRID,
} as const satisfies Record<Mode, Retriever_Mode>;

export interface FoundPassage {
  readonly file: string;
  readonly text: string;
  /** Cosine; undefined where it was not compared. */
  readonly score?: number | undefined;
}

export interface Reply {
  readonly text: string;
  /** The best first. */
  readonly passages: readonly FoundPassage[];
}

export interface DocumentationFlow extends AsyncDisposable {
  /** As the splitter made them. */
  readonly passages: readonly FoundPassage[];
  readonly upsertSeconds: number;
  /** To be called before the first question. */
  configure(retriever: { readonly mode: Mode; readonly topK: number }): Promise<void>;
  ask(question: string): Promise<Reply>;
}

const MEDIA_TYPES: Readonly<Record<string, string>> = { md: "text/markdown", json: "application/json" };

interface PassageMessage {
  readonly text: string;
  readonly metadata?: unknown;
  readonly score?: number | undefined;
}

function foundPassage({ text, metadata, score }: PassageMessage): FoundPassage {
  const { source } = metadata as { readonly source: string };
  return { file: source, text, score };
}

export async function startFlow(documents: readonly SourceDocument[]): Promise<DocumentationFlow> {
  const server = await startServer();
  try {
    const client = clientOf(server, "grpc", ChatflowService);
    const generator = { case: "extractive", value: {} } as const;
    const { chatflow } = await client.createChatflow({
      name: "documentation",
      definition: { retriever: {}, generator },
    });
    const id = chatflow?.id ?? "";
    const began = performance.now();
    const passages: FoundPassage[] = [];
    // One by one: an answer tells the first 100 of its passages.
    for (const { file, text } of documents) {
      const mediaType = MEDIA_TYPES[file.split(".").at(-1) ?? ""] ?? "text/plain";
      const content = new TextEncoder().encode(text);
      const { result } = await client.upsertDocuments({
        chatflowId: id,
        documents: [{ name: file, mediaType, content }],
      });
      const added = result?.addedDocuments ?? [];
      if (added.length !== result?.added) throw new Error(`${file} has more than 100 passages`);
      passages.push(...added.map(foundPassage));
    }
    return {
      passages,
      upsertSeconds: (performance.now() - began) / 1000,
      configure: async ({ mode, topK }) => {
        const retriever = { mode: WIRE_MODES[mode], topK };
        await client.updateChatflow({ id, definition: { retriever, generator } });
      },
      ask: async (question) => {
        const { answer } = await client.createAnswer({ chatflowId: id, question: { text: question } });
        return { text: answer?.text ?? "", passages: (answer?.sourceDocuments ?? []).map(foundPassage) };
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}
