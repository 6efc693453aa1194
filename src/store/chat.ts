/** Chats: what was said in them, what was thought of it, who asked, and the files that came along. */
import { chatFileFrom, chatFileRow, getChatFile, putChatFiles } from "./chat-file.ts";
import { chatWindow, getChatMessage, insertTurn, messageFrom, turnRows } from "./chat-message.ts";
import {
  deleteMessagesOf,
  filterParams,
  listChatMessages,
  type RatedMessageRow,
} from "./chat-message-list.ts";
import type { ChatStore } from "./chatflow-store.ts";
import type { Database } from "./database.ts";
import { BEFORE_ALL_IDS, firstEdge } from "./id-range.ts";
import { insertLead, leadFrom, leadRow, listLeads } from "./lead.ts";
import { getRating, listRatings, rateMessage, ratingFrom, ratingRow } from "./rating.ts";

export function chatStore(database: Database): ChatStore {
  return {
    insertTurn: (turn) => database.write(insertTurn, turnRows(turn)),
    window: async ({ chatflowId, sessionId, limit }) => {
      const args = { chatflow_id: chatflowId, session_id: sessionId, limit };
      return (await database.read(chatWindow, args)).map(messageFrom);
    },
    list: async ({ filter, descending, after, limit }) => {
      const rows = await database.scan(listChatMessages, {
        ...filterParams(filter),
        descending,
        after: after ?? (descending ? Number.MAX_SAFE_INTEGER : 0),
        limit,
      });
      return rows.map((row) => ({
        message: messageFrom(row),
        rating: ratingOf(row),
        position: row.position,
      }));
    },
    delete: (filter) => deleteMessagesOf(database, filter),
    get: async (chatflowId, chatId, messageId) => {
      const row = await database.read(getChatMessage, { id: messageId });
      if (!row || row.chatflow_id !== chatflowId || !["", row.chat_id].includes(chatId)) return undefined;
      return messageFrom(row);
    },
    rate: async (rating) => {
      const row = await database.write(rateMessage, ratingRow(rating));
      return row && ratingFrom(row);
    },
    rating: async (chatflowId, id) => {
      const row = await database.read(getRating, { chatflow_id: chatflowId, id });
      return row && ratingFrom(row);
    },
    listRatings: async ({ chatflowId, chatId, since, until, descending, after, limit }) => {
      const rows = await database.scan(listRatings, {
        chatflow_id: chatflowId,
        chat_id: chatId,
        since: since ?? Number.MIN_SAFE_INTEGER,
        until: until ?? Number.MAX_SAFE_INTEGER,
        after: after ?? firstEdge(descending),
        descending,
        limit,
      });
      return rows.map(ratingFrom);
    },
    insertLead: (lead) => database.write(insertLead, leadRow(lead)),
    listLeads: async ({ chatflowId, after = BEFORE_ALL_IDS, limit }) =>
      (await database.scan(listLeads, { chatflow_id: chatflowId, after, limit })).map(leadFrom),
    putFiles: (files) => database.write(putChatFiles, files.map(chatFileRow)),
    getFile: async (chatflowId, chatId, name) => {
      const row = await database.read(getChatFile, { chatflow_id: chatflowId, chat_id: chatId, name });
      return row && chatFileFrom(row);
    },
  };
}

function ratingOf(row: RatedMessageRow): ReturnType<typeof ratingFrom> | undefined {
  const { rating_id, rating_value, rating_comment, rating_created_at } = row;
  if (rating_id === null || rating_value === null) return undefined;
  return ratingFrom({
    id: rating_id,
    chatflow_id: row.chatflow_id,
    message_id: row.id,
    chat_id: row.chat_id,
    value: rating_value,
    comment: rating_comment ?? "",
    created_at: rating_created_at ?? 0,
  });
}
