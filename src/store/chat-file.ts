/** Files that came with a chat; their bytes are blobs. */
import { CHAT_FILES } from "../domain/chatflow.ts";
import { isFlowThere } from "./chatflow-guard.ts";
import type { ChatFileRow } from "./chatflow-store.ts";
import { operation } from "./database.ts";
import type { ChatFileTableRow } from "./schema.ts";
import { places, statement, tables } from "./statement.ts";

const CONTENT_COLUMNS = [
  "media_type",
  "blob",
  "size_bytes",
  "created_at",
] as const satisfies readonly (keyof ChatFileTableRow)[];

const put = statement<ChatFileTableRow>()((place) =>
  tables
    .insertInto("chat_file")
    .values(places(["chatflow_id", "chat_id", "name", ...CONTENT_COLUMNS], place))
    .onConflict((on) =>
      on.columns(["chatflow_id", "chat_id", "name"]).doUpdateSet(places(CONTENT_COLUMNS, place)),
    ),
);

const ofChat = statement<Pick<ChatFileTableRow, "chatflow_id" | "chat_id">>()((place) =>
  tables
    .selectFrom("chat_file")
    .select(["name", "size_bytes"])
    .where("chatflow_id", "=", place("chatflow_id"))
    .where("chat_id", "=", place("chat_id")),
);

/** The files are of one chat. */
export const putChatFiles = operation("chat.putFiles", async (tx, rows: readonly ChatFileTableRow[]) => {
  const [first] = rows;
  if (!first) return true;
  if (!(await isFlowThere(tx, first))) return false;
  const sizes = new Map((await tx.all(ofChat, first)).map(({ name, size_bytes }) => [name, size_bytes]));
  for (const { name, size_bytes } of rows) sizes.set(name, size_bytes);
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  if (sizes.size > CHAT_FILES.count || bytes > CHAT_FILES.bytes) return false;
  for (const row of rows) await tx.run(put, row);
  return true;
});

type Key = Pick<ChatFileTableRow, "chatflow_id" | "chat_id" | "name">;

const byKey = statement<Key>()((place) =>
  tables
    .selectFrom("chat_file")
    .selectAll()
    .where("chatflow_id", "=", place("chatflow_id"))
    .where("chat_id", "=", place("chat_id"))
    .where("name", "=", place("name")),
);

export const getChatFile = operation("chat.getFile", (tx, args: Key) => tx.get(byKey, args));

export function chatFileRow(file: ChatFileRow): ChatFileTableRow {
  return {
    chatflow_id: file.chatflowId,
    chat_id: file.chatId,
    name: file.name,
    media_type: file.mediaType,
    blob: file.blob,
    size_bytes: file.sizeBytes,
    created_at: file.createdAt,
  };
}

export function chatFileFrom(row: ChatFileTableRow): ChatFileRow {
  return {
    chatflowId: row.chatflow_id,
    chatId: row.chat_id,
    name: row.name,
    mediaType: row.media_type,
    blob: row.blob,
    sizeBytes: row.size_bytes,
    createdAt: row.created_at,
  };
}
