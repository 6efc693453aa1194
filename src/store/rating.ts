/** Ratings of answers: one a message. */
import type { Rating } from "../domain/chatflow.ts";
import { operation } from "./database.ts";
import type { RatingRow } from "./schema.ts";
import { type Statement, statement, tables } from "./statement.ts";

const anyMessage = statement<{ chatflow_id: string; message_id: string }>()((place) =>
  tables
    .selectFrom("chat_message")
    .select("id")
    .where("id", "=", place("message_id"))
    .where("chatflow_id", "=", place("chatflow_id")),
);

const put = statement<RatingRow>()((place) =>
  tables
    .insertInto("rating")
    .values({
      id: place("id"),
      chatflow_id: place("chatflow_id"),
      message_id: place("message_id"),
      chat_id: place("chat_id"),
      value: place("value"),
      comment: place("comment"),
      created_at: place("created_at"),
    })
    .onConflict((on) =>
      on.column("message_id").doUpdateSet({ value: place("value"), comment: place("comment") }),
    )
    .returningAll(),
);

export const rateMessage = operation("chat.rate", async (tx, row: RatingRow) =>
  (await tx.get(anyMessage, row)) ? tx.get(put, row) : undefined,
);

const byId = statement<{ chatflow_id: string; id: string }>()((place) =>
  tables
    .selectFrom("rating")
    .selectAll()
    .where("id", "=", place("id"))
    .where("chatflow_id", "=", place("chatflow_id")),
);

export const getRating = operation("chat.rating", (tx, args: { chatflow_id: string; id: string }) =>
  tx.get(byId, args),
);

interface PageParams {
  readonly chatflow_id: string;
  /** "" for any. */
  readonly chat_id: string;
  readonly since: number;
  readonly until: number;
  readonly after: string;
  readonly limit: number;
}

function pageBy(direction: "asc" | "desc", ofChat: boolean): Statement<PageParams, RatingRow> {
  return statement<PageParams>()((place) => {
    const all = tables
      .selectFrom("rating")
      .selectAll()
      .where("chatflow_id", "=", place("chatflow_id"))
      .where("id", direction === "asc" ? ">" : "<", place("after"))
      .where("created_at", ">=", place("since"))
      .where("created_at", "<", place("until"))
      .orderBy("id", direction)
      .limit(place("limit"));
    return ofChat ? all.where("chat_id", "=", place("chat_id")) : all;
  });
}

const PAGES = {
  flow: { rising: pageBy("asc", false), falling: pageBy("desc", false) },
  chat: { rising: pageBy("asc", true), falling: pageBy("desc", true) },
} as const;

export const listRatings = operation("chat.listRatings", (tx, args: PageParams & { descending: boolean }) => {
  const pages = args.chat_id === "" ? PAGES.flow : PAGES.chat;
  return tx.all(args.descending ? pages.falling : pages.rising, args);
});

export function ratingRow(rating: Rating): RatingRow {
  return {
    id: rating.id,
    chatflow_id: rating.chatflowId,
    message_id: rating.messageId,
    chat_id: rating.chatId,
    value: rating.value,
    comment: rating.comment,
    created_at: rating.createdAt,
  };
}

export function ratingFrom(row: RatingRow): Rating {
  return {
    id: row.id,
    chatflowId: row.chatflow_id,
    messageId: row.message_id,
    chatId: row.chat_id,
    value: row.value,
    comment: row.comment,
    createdAt: row.created_at,
  };
}
