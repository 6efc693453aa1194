/** A flow and what belongs to it, to be put into a store. */
import { randomUUID } from "node:crypto";
import type { Chatflow, ChatflowDefinition, ChatMessage, ChatTurn } from "../../src/domain/chatflow.ts";
import type { NewPassage } from "../../src/store/chatflow-store.ts";
import type { Store } from "../../src/store/store.ts";
import { newId } from "./temp-store.ts";

export const DEFINITION: ChatflowDefinition = {
  memory: { window: 10 },
  retriever: null,
  picture: null,
  generator: { kind: "extractive", sentences: 3, noMatch: "" },
  overridable: [],
  chatbot: {},
  public: false,
  allowedOrigins: [],
  originRefusal: "",
  rateLimit: null,
  followUpPrompts: [],
};

export function aFlow(given: Partial<Chatflow> = {}): Chatflow {
  return {
    id: newId(),
    principal: "alice",
    name: "questions",
    version: 1,
    definition: DEFINITION,
    keys: [],
    fromFile: false,
    createdAt: 1_000,
    updatedAt: 1_000,
    ...given,
  };
}

export async function createFlow(store: Store, given: Partial<Chatflow> = {}): Promise<Chatflow> {
  const flow = aFlow(given);
  await store.chatflows.create(flow);
  return flow;
}

export function aMessage(given: Partial<ChatMessage>): ChatMessage {
  return {
    id: randomUUID(),
    chatflowId: "",
    role: "user",
    content: "hello",
    chatId: "chat",
    sessionId: "session",
    predictionId: newId(),
    failure: "",
    sourceDocuments: [],
    uploads: [],
    leadEmail: "",
    memoryType: "window",
    followUpPrompts: [],
    createdAt: 1_000,
    ...given,
  };
}

export function aTurn(chatflowId: string, given: Partial<ChatMessage> = {}): ChatTurn {
  const common = { chatflowId, predictionId: newId(), ...given };
  return [
    aMessage({ ...common, role: "user", content: "How are you?" }),
    aMessage({ ...common, role: "api", content: "Fine." }),
  ];
}

/** L2-normalised, of eight numbers that go on as they are given. */
export function vectorOf(...components: readonly number[]): Float32Array {
  const vector = Float32Array.from({ length: 8 }, (_, index) => components[index] ?? 0);
  const length = Math.hypot(...vector);
  return vector.map((each) => each / length);
}

export function aPassage(text: string, vector: Float32Array, source = "a.md"): NewPassage {
  return { text, metadata: { source }, vector };
}

/** In an upsert of its own, which has ended unless it is to run on. Answers the upsert's id. */
export async function addPassages(
  store: Store,
  flow: Chatflow,
  passages: readonly NewPassage[],
  { chatId = "", ends = true } = {},
): Promise<string> {
  const id = newId();
  const of = { chatflowId: flow.id, principal: flow.principal, createdAt: 1_000 };
  await store.upserts.begin({ id, ...of });
  await store.passages.add({ chatflowId: flow.id, chatId, upsertId: id, passages });
  if (!ends) return id;
  const counts = { added: passages.length, skipped: 0, addedPassages: [] };
  await store.upserts.end({ upsert: { id, ...of, ...counts }, chatId, replaced: [] });
  return id;
}
