/** Puts the operations on chatflows together. */
import type { ChatflowService } from "../../gen/auspex/v1/chatflow_pb.ts";
import { AuspexError } from "../domain/error.ts";
import type { Operations } from "./call.ts";

type ChatflowOperations = Operations<typeof ChatflowService>;

/** Stands for an operation that is not there yet. */
const missing = async () => {
  throw new AuspexError("unimplemented", "not there yet");
};

export function createChatflows(): ChatflowOperations {
  return {
    createChatflow: missing,
    getChatflow: missing,
    listChatflows: missing,
    updateChatflow: missing,
    deleteChatflow: missing,
    createChatflowKey: missing,
    deleteChatflowKey: missing,
    getChatbot: missing,
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
    listUpserts: missing,
    deleteUpserts: missing,
    listMessages: missing,
    deleteMessages: missing,
    rateMessage: missing,
    listRatings: missing,
    createLead: missing,
    listLeads: missing,
  };
}
