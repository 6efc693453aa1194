/** Messages of chats: their rows, written in pairs, and the window of a session that a flow remembers. */
import type { ChatMessage, ChatTurn } from "../domain/chatflow.ts";
import { isFlowThere } from "./chatflow-guard.ts";
import { operation, type Transaction } from "./database.ts";
import type { ChatMessageRow } from "./schema.ts";
import { places, statement, tables } from "./statement.ts";

/** As it is written: its position comes with that. */
export type NewChatMessageRow = Omit<ChatMessageRow, "position">;

export const MESSAGE_COLUMNS = [
  "id",
  "chatflow_id",
  "role",
  "content",
  "chat_id",
  "session_id",
  "prediction_id",
  "failure",
  "lead_email",
  "memory_type",
  "details",
  "created_at",
] as const satisfies readonly (keyof NewChatMessageRow)[];

export type TurnRows = readonly [NewChatMessageRow, NewChatMessageRow];

const insertRow = statement<NewChatMessageRow>()((place) =>
  tables
    .insertInto("chat_message")
    .values(places(MESSAGE_COLUMNS, place))
    .onConflict((on) => on.column("id").doNothing()),
);

/** Belongs into the transaction that settles the turn's prediction. Messages that are there are left alone. */
export async function writeTurn(tx: Transaction, [question, answer]: TurnRows): Promise<void> {
  if (!(await isFlowThere(tx, question))) return;
  await tx.run(insertRow, question);
  await tx.run(insertRow, answer);
}

export const insertTurn = operation("chat.insertTurn", (tx, turn: TurnRows) => writeTurn(tx, turn));

interface WindowParams {
  readonly chatflow_id: string;
  readonly session_id: string;
  readonly limit: number;
}

const lastOfSession = statement<WindowParams>()((place) =>
  tables
    .selectFrom("chat_message")
    .select(MESSAGE_COLUMNS)
    .where("chatflow_id", "=", place("chatflow_id"))
    .where("session_id", "=", place("session_id"))
    .orderBy("position", "desc")
    .limit(place("limit")),
);

export const chatWindow = operation("chat.window", async (tx, args: WindowParams) =>
  (await tx.all(lastOfSession, args)).reverse(),
);

const byId = statement<{ id: string }>()((place) =>
  tables.selectFrom("chat_message").select(MESSAGE_COLUMNS).where("id", "=", place("id")),
);

export const getChatMessage = operation("chat.get", (tx, args: { id: string }) => tx.get(byId, args));

export function turnRows([question, answer]: ChatTurn): TurnRows {
  return [messageRow(question), messageRow(answer)];
}

type Details = Pick<ChatMessage, "sourceDocuments" | "uploads" | "followUpPrompts">;

function messageRow(message: ChatMessage): NewChatMessageRow {
  const { sourceDocuments, uploads, followUpPrompts } = message;
  return {
    id: message.id,
    chatflow_id: message.chatflowId,
    role: message.role,
    content: message.content,
    chat_id: message.chatId,
    session_id: message.sessionId,
    prediction_id: message.predictionId,
    failure: message.failure,
    lead_email: message.leadEmail,
    memory_type: message.memoryType,
    details: JSON.stringify({ sourceDocuments, uploads, followUpPrompts } satisfies Details),
    created_at: message.createdAt,
  };
}

export function messageFrom(row: NewChatMessageRow): ChatMessage {
  const details = JSON.parse(row.details) as Details;
  return {
    id: row.id,
    chatflowId: row.chatflow_id,
    role: row.role,
    content: row.content,
    chatId: row.chat_id,
    sessionId: row.session_id,
    predictionId: row.prediction_id,
    failure: row.failure,
    sourceDocuments: details.sourceDocuments,
    uploads: details.uploads,
    leadEmail: row.lead_email,
    memoryType: row.memory_type,
    followUpPrompts: details.followUpPrompts,
    createdAt: row.created_at,
  };
}
