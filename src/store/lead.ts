/** Leads: who asked in a chat. */
import type { Lead } from "../domain/chatflow.ts";
import { isFlowThere } from "./chatflow-guard.ts";
import { operation } from "./database.ts";
import type { LeadRow } from "./schema.ts";
import { places, statement, tables } from "./statement.ts";

const insertRow = statement<LeadRow>()((place) =>
  tables
    .insertInto("lead")
    .values(places(["id", "chatflow_id", "chat_id", "name", "email", "phone", "created_at"], place)),
);

// Nothing is left to keep it for when the flow is gone.
export const insertLead = operation("chat.insertLead", async (tx, row: LeadRow) => {
  if (await isFlowThere(tx, row)) await tx.run(insertRow, row);
});

interface PageParams {
  readonly chatflow_id: string;
  readonly after: string;
  readonly limit: number;
}

const page = statement<PageParams>()((place) =>
  tables
    .selectFrom("lead")
    .selectAll()
    .where("chatflow_id", "=", place("chatflow_id"))
    .where("id", ">", place("after"))
    .orderBy("id")
    .limit(place("limit")),
);

export const listLeads = operation("chat.listLeads", (tx, args: PageParams) => tx.all(page, args));

export function leadRow({ chatflowId, chatId, createdAt, id, name, email, phone }: Lead): LeadRow {
  return { id, chatflow_id: chatflowId, chat_id: chatId, name, email, phone, created_at: createdAt };
}

export function leadFrom({ chatflow_id, chat_id, created_at, id, name, email, phone }: LeadRow): Lead {
  return { id, chatflowId: chatflow_id, chatId: chat_id, name, email, phone, createdAt: created_at };
}
