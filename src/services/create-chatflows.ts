/** Puts the operations on chatflows together. */
import type { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import type { Config } from "../config.ts";
import { AuspexError } from "../domain/error.ts";
import type { Engine } from "../engine/engine.ts";
import type { Store } from "../store/store.ts";
import type { Authenticate } from "./authenticator.ts";
import type { Operations } from "./call.ts";
import { createChatMessageOperations } from "./chat-message.ts";
import { createChatflowOperations } from "./chatflow.ts";
import { type ChatflowAccess, createChatflowAccess } from "./chatflow-access.ts";
import type { DefinitionContext } from "./chatflow-definition.ts";
import type { Egress } from "./egress.ts";
import { DOCUMENT_TYPES } from "./flow/documents/media-type.ts";
import { createAskerAuthenticator } from "./flow-key.ts";
import { createUpsertOperations } from "./upsert.ts";

export interface ChatflowsOptions {
  readonly store: Pick<Store, "chatflows" | "passages" | "upserts" | "chats">;
  readonly engine: Pick<Engine, "models">;
  readonly egress: Egress;
  readonly config: Config;
  readonly authenticate: Authenticate;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
}

export interface Chatflows {
  readonly operations: Operations<typeof ChatflowService>;
  readonly access: ChatflowAccess;
  readonly authenticateAsker: Authenticate;
}

/** Stands for an operation that is not there yet. */
const missing = async () => {
  throw new AuspexError("unimplemented", "not there yet");
};

export function createChatflows(options: ChatflowsOptions): Chatflows {
  const { store, engine, egress, config, authenticate, now, mintId } = options;
  const access = createChatflowAccess({
    flows: store.chatflows,
    open: config.open,
    origins: config.CORS_ORIGINS,
    nowMs: () => performance.now(),
  });
  const definitions: DefinitionContext = {
    egress,
    llmKeys: config.llmKeys,
    models: engine.models,
    limits: config,
  };
  return {
    access,
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
      // FLOW
      createAnswer: missing,
      async *streamAnswer() {
        yield await missing();
      },
      abortAnswers: missing,
      // INGEST
      upsertDocuments: missing,
      createAttachments: missing,
      getChatFile: missing,
    },
  };
}
