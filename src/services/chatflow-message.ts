/** Chatflows and their definitions as messages of the API, and back. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import {
  type ChatflowDefinitionSchema,
  type ChatflowKeySchema,
  type ChatflowSchema,
  type ChatflowDefinition as DefinitionMessage,
  type ExtractiveGenerator,
  type OpenAiGenerator,
  type Retriever,
  Retriever_Mode,
} from "../../gen/auspex/v1/chatflow_pb.ts";
import {
  type Chatflow,
  type ChatflowDefinition,
  type ChatflowKey,
  CHATFLOW_DEFAULTS as DEFAULTS,
  type GeneratorDefinition,
  type Overridable,
  RETRIEVER_MODEL_DEFAULT,
  type RetrievalMode,
  type RetrieverDefinition,
} from "../domain/chatflow.ts";
import { durationMs } from "./check.ts";
import { timeMessage } from "./message.ts";

const MODE = {
  hybrid: Retriever_Mode.HYBRID,
  vector: Retriever_Mode.VECTOR,
  keyword: Retriever_Mode.KEYWORD,
} as const satisfies Record<RetrievalMode, Retriever_Mode>;

const MODE_NAME = new Map<Retriever_Mode, RetrievalMode>([
  [Retriever_Mode.UNSPECIFIED, "hybrid"],
  ...Object.entries(MODE).map(([name, value]) => [value, name as RetrievalMode] as const),
]);

/** undefined for a value that this version of the API does not know. */
export function retrievalModeName(mode: Retriever_Mode): RetrievalMode | undefined {
  return MODE_NAME.get(mode);
}

/** Complete, with defaults filled in. The caller has checked it. */
export function definitionFromMessage(message: DefinitionMessage): ChatflowDefinition {
  const { memory, retriever, picture, rateLimit } = message;
  return {
    memory: memory ? { window: memory.window || DEFAULTS.window } : null,
    retriever: retriever ? retrieverFromMessage(retriever) : null,
    picture: picture ? { model: picture.model, topK: picture.topK || DEFAULTS.labels } : null,
    generator: generatorFromMessage(message.generator),
    overridable: message.overridable as Overridable[],
    chatbot: message.chatbot ?? {},
    public: message.public,
    allowedOrigins: message.allowedOrigins,
    originRefusal: message.originRefusal,
    rateLimit: rateLimit
      ? { questions: rateLimit.questions, periodMs: ms(rateLimit.period, 0), refusal: rateLimit.refusal }
      : null,
    followUpPrompts: message.followUpPrompts,
  };
}

function retrieverFromMessage(message: Retriever): RetrieverDefinition {
  const chunkSize = message.chunkSize || DEFAULTS.chunkSize;
  return {
    model: message.model || RETRIEVER_MODEL_DEFAULT,
    mode: retrievalModeName(message.mode) ?? "hybrid",
    topK: message.topK || DEFAULTS.topK,
    minScore: message.minScore ?? null,
    chunkSize,
    chunkOverlap: message.chunkOverlap ?? Math.floor(chunkSize / 10),
    returnSources: message.returnSources ?? true,
  };
}

function generatorFromMessage(message: DefinitionMessage["generator"]): GeneratorDefinition {
  switch (message.case) {
    case "extractive":
      return extractiveFromMessage(message.value);
    case "openai":
      return openAiFromMessage(message.value);
    default:
      throw new Error("a definition without a generator was taken for a checked one");
  }
}

function extractiveFromMessage({ sentences, noMatch }: ExtractiveGenerator): GeneratorDefinition {
  return { kind: "extractive", sentences: sentences || DEFAULTS.sentences, noMatch };
}

function openAiFromMessage(message: OpenAiGenerator): GeneratorDefinition {
  const timeoutMs = ms(message.timeout, DEFAULTS.timeoutMs);
  return {
    kind: "openai",
    baseUrl: message.baseUrl,
    model: message.model,
    apiKeyEnv: message.apiKeyEnv,
    systemPrompt: message.systemPrompt,
    temperature: message.temperature ?? null,
    maxTokens: message.maxTokens || DEFAULTS.maxTokens,
    timeoutMs,
    idleTimeoutMs: ms(message.idleTimeout, Math.min(timeoutMs, DEFAULTS.idleTimeoutMs)),
    retries: message.retries ?? DEFAULTS.retries,
  };
}

function ms(duration: Duration | undefined, otherwise: number): number {
  return duration ? durationMs(duration) : otherwise;
}

function durationMessage(milliseconds: number) {
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((milliseconds - seconds * 1000) * 1e6) };
}

/** Complete: what was left to us is said, too. */
export function definitionMessage(
  definition: ChatflowDefinition,
): MessageInitShape<typeof ChatflowDefinitionSchema> {
  const { memory, retriever, picture, rateLimit } = definition;
  return {
    memory: memory ?? undefined,
    retriever: retriever
      ? { ...retriever, mode: MODE[retriever.mode], minScore: retriever.minScore ?? undefined }
      : undefined,
    picture: picture ?? undefined,
    generator: generatorMessage(definition.generator),
    overridable: [...definition.overridable],
    chatbot: definition.chatbot,
    public: definition.public,
    allowedOrigins: [...definition.allowedOrigins],
    originRefusal: definition.originRefusal,
    rateLimit: rateLimit ? { ...rateLimit, period: durationMessage(rateLimit.periodMs) } : undefined,
    followUpPrompts: [...definition.followUpPrompts],
  };
}

function generatorMessage(
  generator: GeneratorDefinition,
): NonNullable<MessageInitShape<typeof ChatflowDefinitionSchema>["generator"]> {
  switch (generator.kind) {
    case "extractive": {
      const { kind, ...value } = generator;
      return { case: kind, value };
    }
    case "openai": {
      const { kind, timeoutMs, idleTimeoutMs, temperature, ...value } = generator;
      return {
        case: kind,
        value: {
          ...value,
          temperature: temperature ?? undefined,
          timeout: durationMessage(timeoutMs),
          idleTimeout: durationMessage(idleTimeoutMs),
        },
      };
    }
    default:
      return generator satisfies never;
  }
}

/** @param passages that its retriever looks through */
export function chatflowMessage(flow: Chatflow, passages: number): MessageInitShape<typeof ChatflowSchema> {
  return {
    id: flow.id,
    name: flow.name,
    version: flow.version,
    definition: definitionMessage(flow.definition),
    keys: flow.keys.map(keyMessage),
    passages,
    fromFile: flow.fromFile,
    createTime: timeMessage(flow.createdAt),
    updateTime: timeMessage(flow.updatedAt),
  };
}

export function keyMessage({ id, name, createdAt }: ChatflowKey): MessageInitShape<typeof ChatflowKeySchema> {
  return { id, name, createTime: timeMessage(createdAt) };
}
