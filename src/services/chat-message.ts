/** The operations on what was said in a flow's chats: messages, ratings, leads. */
import type { ChatflowService, MessageFilter, RateMessageRequest } from "../../gen/auspex/v1/chatflow_pb.ts";
import type { Chatflow, Lead, Rating } from "../domain/chatflow.ts";
import { AuspexError, invalidArgument } from "../domain/error.ts";
import { parseUuid } from "../domain/id.ts";
import type { ChatStore, MessageFilter as Filter } from "../store/chatflow-store.ts";
import type { Operations } from "./call.ts";
import { chatMessageMessage, leadMessage, ratingMessage, ratingName } from "./chat-record.ts";
import type { ChatflowAccess } from "./chatflow-access.ts";
import { timestampUs } from "./check.ts";
import { decodeNumberToken, decodePageToken, pageOf } from "./page-token.ts";
import { type Limits, validate } from "./validation.ts";

const PAGE_SIZE_DEFAULT = 100;

export interface ChatMessageOptions {
  readonly chats: ChatStore;
  readonly access: ChatflowAccess;
  readonly limits: Limits;
  /** Microseconds since the epoch. */
  readonly now: () => number;
  readonly mintId: () => string;
}

type Part = Pick<
  Operations<typeof ChatflowService>,
  "listMessages" | "deleteMessages" | "rateMessage" | "listRatings" | "createLead" | "listLeads"
>;

export function createChatMessageOperations(options: ChatMessageOptions): Part {
  const { chats, access, limits, now, mintId } = options;

  /** The rating that the request wants, before it is written. */
  async function wanted(flow: Chatflow, request: RateMessageRequest): Promise<Rating> {
    if (request.ratingId !== "") return changed(flow, request);
    const { chatId, messageId, comment } = request;
    const message = await chats.get(flow.id, chatId, parseUuid(messageId) ?? messageId);
    if (!message) throw unknownMessage(messageId);
    if (message.role !== "api") {
      throw invalidArgument({ field: "message_id", reason: "question", description: "must be an answer" });
    }
    // Validated: there is a thumb.
    const value = ratingName(request.value) ?? "up";
    const at = { id: mintId(), chatflowId: flow.id, createdAt: now() };
    return { ...at, messageId: message.id, chatId: message.chatId, value, comment };
  }

  /** An earlier rating; what the request leaves out stays. */
  async function changed(flow: Chatflow, request: RateMessageRequest): Promise<Rating> {
    const { chatId, messageId, ratingId, comment } = request;
    const rating = await chats.rating(flow.id, parseUuid(ratingId) ?? ratingId);
    const isMeant =
      rating !== undefined &&
      (chatId === "" || chatId === rating.chatId) &&
      (messageId === "" || (parseUuid(messageId) ?? messageId) === rating.messageId);
    if (!isMeant) throw new AuspexError("not_found", `rating ${ratingId} does not exist`);
    const value = ratingName(request.value) ?? rating.value;
    return { ...rating, value, comment: comment || rating.comment };
  }

  return {
    async listMessages(request, call) {
      validate(request, limits);
      const flow = await access.owned(request.chatflowId, call);
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const found = await chats.list({
        filter: filterOf(flow, request.filter),
        descending: request.descending,
        after: decodeNumberToken(request.pageToken),
        // One more than the page tells whether there is another page.
        limit: size + 1,
      });
      const { page, nextPageToken } = pageOf(found, size, ({ position }) => position);
      return {
        messages: page.map(({ message, rating }) => chatMessageMessage(message, rating)),
        nextPageToken,
      };
    },

    async deleteMessages(request, call) {
      validate(request, limits);
      const flow = await access.owned(request.chatflowId, call);
      return { deleted: await chats.delete(filterOf(flow, request.filter)) };
    },

    async rateMessage(request, call) {
      validate(request, limits);
      const flow = await access.asked(request.chatflowId, call);
      const rating = await chats.rate(await wanted(flow, request));
      if (!rating) throw unknownMessage(request.messageId);
      return { rating: ratingMessage(rating) };
    },

    async listRatings(request, call) {
      validate(request, limits);
      const { chatId, startTime, endTime, descending, pageToken } = request;
      const flow = await access.owned(request.chatflowId, call);
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const found = await chats.listRatings({
        chatflowId: flow.id,
        chatId,
        since: startTime && timestampUs(startTime),
        until: endTime && timestampUs(endTime),
        descending,
        after: decodePageToken(pageToken)?.key,
        limit: size + 1,
      });
      const { page, nextPageToken } = pageOf(found, size, ({ id }) => id);
      return {
        ratings: page.map(ratingMessage),
        nextPageToken,
      };
    },

    async createLead(request, call) {
      validate(request, limits);
      const { chatId, name, email, phone } = request;
      const flow = await access.asked(request.chatflowId, call);
      const at = { id: mintId(), chatflowId: flow.id, createdAt: now() };
      const lead: Lead = { ...at, chatId, name: name.trim(), email: email.trim(), phone: phone.trim() };
      await chats.insertLead(lead);
      return { lead: leadMessage(lead) };
    },

    async listLeads(request, call) {
      validate(request, limits);
      const flow = await access.owned(request.chatflowId, call);
      const size = request.pageSize || PAGE_SIZE_DEFAULT;
      const after = decodePageToken(request.pageToken)?.key;
      const found = await chats.listLeads({ chatflowId: flow.id, after, limit: size + 1 });
      const { page, nextPageToken } = pageOf(found, size, ({ id }) => id);
      return {
        leads: page.map(leadMessage),
        nextPageToken,
      };
    },
  };
}

function filterOf(flow: Chatflow, given: MessageFilter | undefined): Filter {
  const { startTime, endTime, messageId = "", ratings = [] } = given ?? {};
  return {
    chatflowId: flow.id,
    chatId: given?.chatId ?? "",
    sessionId: given?.sessionId ?? "",
    messageId: parseUuid(messageId) ?? messageId,
    memoryType: given?.memoryType ?? "",
    since: startTime && timestampUs(startTime),
    until: endTime && timestampUs(endTime),
    ratings: ratings.flatMap((value) => ratingName(value) ?? []),
  };
}

function unknownMessage(id: string): AuspexError {
  return new AuspexError("not_found", `message ${id} does not exist in this chat`);
}
