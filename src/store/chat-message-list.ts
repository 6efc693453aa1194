/** Messages by a filter: pages of them with their ratings, and their deletion. */
import { sql } from "kysely";
import { MESSAGE_COLUMNS, type NewChatMessageRow } from "./chat-message.ts";
import type { MessageFilter } from "./chatflow-store.ts";
import { type Database, operation } from "./database.ts";
import type { RatingRow } from "./schema.ts";
import { type Place, type Statement, statement, tables } from "./statement.ts";

/** Rows deleted in one transaction: keeps it short, so that other writes do not wait. */
const DELETE_BATCH = 500;

/** Complete: "" for any, and numbers past all others. */
interface FilterParams {
  readonly chatflow_id: string;
  readonly chat_id: string;
  readonly session_id: string;
  readonly message_id: string;
  readonly memory_type: string;
  readonly since: number;
  readonly until: number;
  /** 1 for all, rated or not. */
  readonly any_rating: number;
  readonly up: number;
  readonly down: number;
}

/** What leads to the fewest rows, so that each finds the index that is made for it. */
const LEADS = ["message_id", "session_id", "chat_id", "chatflow_id"] as const;
type Lead = (typeof LEADS)[number];

function leadOf(filter: FilterParams): Lead {
  return LEADS.find((lead) => filter[lead] !== "") ?? "chatflow_id";
}

/** The rest is looked at row by row; the `+` keeps it from being taken for a way to find them. */
function matching<P extends FilterParams>(place: Place<P>, lead: Lead) {
  const all = tables
    .selectFrom("chat_message as message")
    .leftJoin("rating", "rating.message_id", "message.id");
  const led =
    lead === "message_id"
      ? all
          .where("message.id", "=", place("message_id"))
          .where(sql<boolean>`+message.chatflow_id = ${place("chatflow_id")}`)
      : lead === "chatflow_id"
        ? all.where("message.chatflow_id", "=", place("chatflow_id"))
        : all
            .where("message.chatflow_id", "=", place("chatflow_id"))
            .where(`message.${lead}`, "=", place(lead));
  return led
    .where(sql<boolean>`${place("chat_id")} in ('', +message.chat_id)`)
    .where(sql<boolean>`${place("session_id")} in ('', +message.session_id)`)
    .where(sql<boolean>`${place("memory_type")} in ('', message.memory_type)`)
    .where("message.created_at", ">=", place("since"))
    .where("message.created_at", "<", place("until"))
    .where(
      sql<boolean>`(${place("any_rating")} = 1 or case rating.value
        when 'up' then ${place("up")} = 1 when 'down' then ${place("down")} = 1 end)`,
    );
}

interface PageParams extends FilterParams {
  readonly after: number;
  readonly limit: number;
}

export interface RatedMessageRow extends NewChatMessageRow {
  readonly position: number;
  readonly rating_id: RatingRow["id"] | null;
  readonly rating_value: RatingRow["value"] | null;
  readonly rating_comment: RatingRow["comment"] | null;
  readonly rating_created_at: RatingRow["created_at"] | null;
}

function page(lead: Lead, direction: "asc" | "desc"): Statement<PageParams, RatedMessageRow> {
  return statement<PageParams>()((place) =>
    matching(place, lead)
      .where("message.position", direction === "asc" ? ">" : "<", place("after"))
      .select(MESSAGE_COLUMNS.map((column) => `message.${column}` as const))
      .select([
        "message.position",
        "rating.id as rating_id",
        "rating.value as rating_value",
        "rating.comment as rating_comment",
        "rating.created_at as rating_created_at",
      ])
      .orderBy("message.position", direction)
      .limit(place("limit")),
  );
}

function byLead<S>(make: (lead: Lead) => S): Readonly<Record<Lead, S>> {
  return {
    message_id: make("message_id"),
    session_id: make("session_id"),
    chat_id: make("chat_id"),
    chatflow_id: make("chatflow_id"),
  };
}

const rising = byLead((lead) => page(lead, "asc"));
const falling = byLead((lead) => page(lead, "desc"));

export const listChatMessages = operation(
  "chat.list",
  (tx, args: PageParams & { readonly descending: boolean }) =>
    tx.all((args.descending ? falling : rising)[leadOf(args)], args),
);

const removal = byLead((lead) =>
  statement<FilterParams & { limit: number }>()((place) =>
    tables
      .deleteFrom("chat_message")
      .where("position", "in", matching(place, lead).select("message.position").limit(place("limit"))),
  ),
);

// Ratings go with their messages: their foreign key cascades.
export const deleteChatMessages = operation("chat.delete", (tx, args: FilterParams & { limit: number }) =>
  tx.run(removal[leadOf(args)], args),
);

/** Answers how many. */
export async function deleteMessagesOf(database: Database, filter: MessageFilter): Promise<number> {
  const args = { ...filterParams(filter), limit: DELETE_BATCH };
  let deleted = 0;
  for (let count = DELETE_BATCH; count === DELETE_BATCH; deleted += count) {
    count = await database.write(deleteChatMessages, args);
  }
  return deleted;
}

export function messagesOfFlow(chatflowId: string): MessageFilter {
  const any = { chatId: "", sessionId: "", messageId: "", memoryType: "", ratings: [] };
  return { ...any, chatflowId, since: undefined, until: undefined };
}

export function filterParams(filter: MessageFilter): FilterParams {
  return {
    chatflow_id: filter.chatflowId,
    chat_id: filter.chatId,
    session_id: filter.sessionId,
    message_id: filter.messageId,
    memory_type: filter.memoryType,
    since: filter.since ?? Number.MIN_SAFE_INTEGER,
    until: filter.until ?? Number.MAX_SAFE_INTEGER,
    any_rating: filter.ratings.length === 0 ? 1 : 0,
    up: filter.ratings.includes("up") ? 1 : 0,
    down: filter.ratings.includes("down") ? 1 : 0,
  };
}
