/** Puts the operations on chatflows together. */
import { join } from "node:path";
import type { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import type { Config } from "../config.ts";
import type { Engine, EngineLog } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";
import type { AnswerOperations } from "./answer.ts";
import type { Authenticate } from "./authenticator.ts";
import type { Operations } from "./call.ts";
import { createChatMessageOperations } from "./chat-message.ts";
import { createChatflowOperations } from "./chatflow.ts";
import type { ChatflowAccess } from "./chatflow-access.ts";
import type { DefinitionContext } from "./chatflow-definition.ts";
import { type ChatflowFolder, createChatflowFolder } from "./chatflow-folder.ts";
import { createDocumentOperations } from "./document.ts";
import type { Egress } from "./egress.ts";
import type { Knowledge } from "./flow/create-knowledge.ts";
import { DOCUMENT_TYPES } from "./flow/documents/media-type.ts";
import { createAskerAuthenticator } from "./flow-key.ts";
import { createUpsertOperations } from "./upsert.ts";

export interface ChatflowsOptions {
  readonly store: Pick<Store, "chatflows" | "passages" | "upserts" | "chats" | "blobs">;
  readonly engine: Pick<Engine, "models">;
  readonly egress: Egress;
  readonly config: Config;
  readonly authenticate: Authenticate;
  readonly access: ChatflowAccess;
  readonly answers: AnswerOperations;
  readonly knowledge: Knowledge;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
  readonly log: EngineLog;
}

export interface Chatflows {
  readonly operations: Operations<typeof ChatflowService>;
  readonly authenticateAsker: Authenticate;
  /** Flows that are files. */
  readonly folder: ChatflowFolder;
}

export function createChatflows(options: ChatflowsOptions): Chatflows {
  const { store, engine, egress, config, authenticate, access, answers, knowledge, now, mintId, log } =
    options;
  const definitions: DefinitionContext = {
    egress,
    llmKeys: config.llmKeys,
    models: engine.models,
    limits: config,
  };
  return {
    folder: createChatflowFolder({
      folder: join(config.DATA_DIR, "chatflows"),
      flows: store.chatflows,
      passages: store.passages,
      context: { ...definitions, open: config.open },
      now,
      log,
    }),
    authenticateAsker: createAskerAuthenticator({ open: config.open, flows: store.chatflows, authenticate }),
    operations: {
      ...createChatflowOperations({
        flows: store.chatflows,
        passages: store.passages,
        access,
        definitions,
        config,
        documentTypes: DOCUMENT_TYPES,
        now,
        mintId,
      }),
      ...createChatMessageOperations({ chats: store.chats, access, limits: config, now, mintId }),
      ...createUpsertOperations({ upserts: store.upserts, access, limits: config }),
      createAnswer: answers.createAnswer,
      streamAnswer: answers.streamAnswer,
      abortAnswers: answers.abortAnswers,
      ...createDocumentOperations({
        chats: store.chats,
        blobs: store.blobs,
        access,
        reader: knowledge.reader,
        ingestion: knowledge.ingestion,
        limits: config,
        now,
      }),
    },
  };
}
