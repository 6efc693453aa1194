/** The operations on chatflows, their keys, and what a chat window is told of one. */
import type { ChatflowService, UpdateChatflowRequest } from "../../gen/auspex/v1/chatflow_pb.ts";
import type { Config } from "../config.ts";
import type { Chatflow, ChatflowDefinition, ChatflowKey } from "../domain/chatflow.ts";
import { AuspexError } from "../domain/error.ts";
import { parseUuid } from "../domain/id.ts";
import type { ChatflowStore, PassageStore } from "../store/chatflow-store.ts";
import type { Operations } from "./call.ts";
import { type ChatflowAccess, unknownChatflow } from "./chatflow-access.ts";
import { checkDefinition, type DefinitionContext } from "./chatflow-definition.ts";
import { chatflowMessage, definitionFromMessage, keyMessage } from "./chatflow-message.ts";
import { flowKeyHash, mintFlowKey } from "./flow-key.ts";
import { decodePageToken, pageOf } from "./page-token.ts";
import { validate } from "./validation.ts";

const PAGE_SIZE_DEFAULT = 25;
/** A key for each site that shows a flow, say; each is a row that every look at the flow reads. */
export const KEYS_MAX = 100;
/** What the picture step reads, and what chat windows may offer to upload for it. */
const PICTURE_TYPES = ["image/jpeg", "image/png", "image/webp", "image/gif"];

export interface ChatflowOptions {
  readonly flows: ChatflowStore;
  readonly passages: Pick<PassageStore, "count">;
  readonly access: ChatflowAccess;
  readonly definitions: DefinitionContext;
  readonly config: Config;
  /** Media types of documents that are read. */
  readonly documentTypes: readonly string[];
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
}

type Part = Pick<
  Operations<typeof ChatflowService>,
  | "createChatflow"
  | "getChatflow"
  | "listChatflows"
  | "updateChatflow"
  | "deleteChatflow"
  | "createChatflowKey"
  | "deleteChatflowKey"
  | "getChatbot"
>;

export function createChatflowOperations(options: ChatflowOptions): Part {
  const { flows, passages, access, definitions, config, now, mintId } = options;
  const message = async (flow: Chatflow) => chatflowMessage(flow, await passages.count(flow.id));

  /** What a request leaves out stays as the flow has it. */
  async function next(flow: Chatflow, { name, definition }: UpdateChatflowRequest) {
    const changed = {
      name: name || flow.name,
      definition: definition ? definitionFromMessage(definition) : flow.definition,
    };
    await refuseOtherEmbeddings(flow, changed.definition, passages);
    return changed;
  }

  return {
    async createChatflow(request, { principal }) {
      const { name, definition } = request;
      validate(request, config, (complain) => checkDefinition(complain, definition, principal, definitions));
      if (!definition) throw new Error("a definition is required");
      const createdAt = now();
      const flow: Chatflow = {
        id: mintId(),
        principal: principal.name,
        name,
        version: 1,
        definition: definitionFromMessage(definition),
        keys: [],
        fromFile: false,
        createdAt,
        updatedAt: createdAt,
      };
      if (!(await flows.create(flow))) throw new Error(`the id ${flow.id} was minted twice`);
      return { chatflow: chatflowMessage(flow, 0) };
    },

    async getChatflow(request, call) {
      validate(request, config);
      return { chatflow: await message(await access.owned(request.id, call)) };
    },

    async listChatflows(request, { principal }) {
      validate(request, config);
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const before = decodePageToken(request.pageToken)?.key;
      // One more than the page tells whether there is another page.
      const found = await flows.list({ principal: principal.name, before, limit: size + 1 });
      const { page, nextPageToken } = pageOf(found, size, ({ id }) => id, "before");
      return {
        chatflows: await Promise.all(page.map(message)),
        nextPageToken,
      };
    },

    async updateChatflow(request, call) {
      const { definition, ifVersion } = request;
      validate(request, config, (complain) => {
        if (definition) checkDefinition(complain, definition, call.principal, definitions);
      });
      for (;;) {
        const flow = await access.owned(request.id, call);
        refuseFile(flow);
        if (ifVersion !== 0 && ifVersion !== flow.version) throw otherVersion(flow, ifVersion);
        const changed = await next(flow, request);
        // What is kept is what was read, so the version must still be the same; otherwise it is read again.
        const args = { id: flow.id, ...changed, ifVersion: flow.version, updatedAt: now() };
        const updated = await flows.update(args);
        if (updated) return { chatflow: await message(updated) };
      }
    },

    async deleteChatflow(request, call) {
      validate(request, config);
      const flow = await access.owned(request.id, call);
      refuseFile(flow);
      if (!(await flows.delete(flow.id))) throw unknownChatflow(request.id);
      return {};
    },

    async createChatflowKey(request, call) {
      validate(request, config);
      const flow = await access.owned(request.chatflowId, call);
      const secret = mintFlowKey();
      const key: ChatflowKey = { id: mintId(), name: request.name, createdAt: now() };
      const row = { chatflowId: flow.id, key, hash: flowKeyHash(secret), max: KEYS_MAX };
      if (!(await flows.addKey(row))) {
        if (!(await flows.get(flow.id))) throw unknownChatflow(request.chatflowId);
        throw new AuspexError(
          "failed_precondition",
          `chatflow ${flow.id} has ${KEYS_MAX} keys already; delete one first`,
        );
      }
      return { key: keyMessage(key), secret };
    },

    async deleteChatflowKey(request, call) {
      validate(request, config);
      const flow = await access.owned(request.chatflowId, call);
      if (!(await flows.deleteKey(flow.id, parseUuid(request.keyId) ?? request.keyId))) {
        throw new AuspexError("not_found", `chatflow ${flow.id} has no key ${request.keyId}`);
      }
      return {};
    },

    async getChatbot(request, call) {
      validate(request, config);
      const flow = await access.shown(request.chatflowId, call);
      // The same for whatever id: that answers may be streamed holds for every flow.
      if (!flow) return { streaming: true, needsKey: true };
      const { definition } = flow;
      const pictures = definition.picture !== null;
      const documents = definition.retriever !== null;
      return {
        name: flow.name,
        chatbot: definition.chatbot,
        streaming: true,
        pictures,
        pictureTypes: pictures ? PICTURE_TYPES : [],
        documents,
        documentTypes: documents ? [...options.documentTypes] : [],
        maxUploadBytes: BigInt(config.MAX_BODY_BYTES),
        followUpPrompts: [...definition.followUpPrompts],
        needsKey: !definition.public && (flow.keys.length > 0 || !config.open),
      };
    },
  };
}

function refuseFile({ id, fromFile }: Chatflow): void {
  if (!fromFile) return;
  throw new AuspexError(
    "failed_precondition",
    `chatflow ${id} is loaded from a file: change the file instead`,
  );
}

function otherVersion({ id, version }: Chatflow, wanted: number): AuspexError {
  return new AuspexError("failed_precondition", `chatflow ${id} has version ${version}, not ${wanted}`);
}

/** Vectors of one model say nothing to another's. Rejects with `failed_precondition`. */
export async function refuseOtherEmbeddings(
  flow: Chatflow,
  next: ChatflowDefinition,
  passages: Pick<PassageStore, "count">,
): Promise<void> {
  const model = flow.definition.retriever?.model;
  if (next.retriever?.model === model) return;
  const count = await passages.count(flow.id);
  if (count === 0) return;
  throw new AuspexError(
    "failed_precondition",
    `chatflow ${flow.id} has ${count} passages that ${model} has embedded; delete their upserts before the retriever gets another model, or none`,
  );
}
