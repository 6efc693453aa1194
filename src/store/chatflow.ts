/** Chatflows: their rows, the definitions that they had, and their keys. */
import { sql } from "kysely";
import type { Chatflow, ChatflowDefinition } from "../domain/chatflow.ts";
import { deleteMessagesOf, messagesOfFlow } from "./chat-message-list.ts";
import { isFlowThere } from "./chatflow-guard.ts";
import type { ChatflowStore } from "./chatflow-store.ts";
import { type Database, operation, type Transaction } from "./database.ts";
import { AFTER_ALL_IDS } from "./id-range.ts";
import type { ChatflowKeyRow, ChatflowRow } from "./schema.ts";
import { places, statement, tables } from "./statement.ts";
import { abandonOfFlow } from "./upsert.ts";

const COLUMNS = [
  "id",
  "principal",
  "name",
  "version",
  "definition",
  "from_file",
  "created_at",
  "updated_at",
] as const satisfies readonly (keyof ChatflowRow)[];

const insertRow = statement<ChatflowRow>()((place) =>
  tables
    .insertInto("chatflow")
    .values(places(COLUMNS, place))
    .onConflict((on) => on.column("id").doNothing()),
);

const insertVersion = statement<{ id: string; version: number; definition: string }>()((place) =>
  tables
    .insertInto("chatflow_version")
    .values({ chatflow_id: place("id"), version: place("version"), definition: place("definition") }),
);

export const createChatflow = operation("chatflow.create", async (tx, row: ChatflowRow) => {
  if ((await tx.run(insertRow, row)) === 0) return false;
  await tx.run(insertVersion, row);
  return true;
});

interface OfFlow {
  readonly id: string;
}

const byId = statement<OfFlow>()((place) =>
  tables.selectFrom("chatflow").selectAll().where("id", "=", place("id")),
);

const keysOf = statement<OfFlow>()((place) =>
  tables
    .selectFrom("chatflow_key")
    .select(["id", "name", "created_at"])
    .where("chatflow_id", "=", place("id"))
    .orderBy("id"),
);

interface FlowReply {
  readonly row: ChatflowRow;
  readonly keys: readonly Pick<ChatflowKeyRow, "id" | "name" | "created_at">[];
}

async function withKeys(tx: Transaction, row: ChatflowRow): Promise<FlowReply> {
  return { row, keys: await tx.all(keysOf, row) };
}

export const getChatflow = operation("chatflow.get", async (tx, args: OfFlow) => {
  const row = await tx.get(byId, args);
  return row && (await withKeys(tx, row));
});

const versionRow = statement<{ id: string; version: number }>()((place) =>
  tables
    .selectFrom("chatflow_version")
    .select("definition")
    .where("chatflow_id", "=", place("id"))
    .where("version", "=", place("version")),
);

export const getDefinition = operation("chatflow.definition", (tx, args: { id: string; version: number }) =>
  tx.get(versionRow, args),
);

const page = statement<{ principal: string; before: string; limit: number }>()((place) =>
  tables
    .selectFrom("chatflow")
    .selectAll()
    .where("principal", "=", place("principal"))
    .where("id", "<", place("before"))
    .orderBy("id", "desc")
    .limit(place("limit")),
);

const fromFile = statement<object>()(() =>
  tables.selectFrom("chatflow").selectAll().where("from_file", "=", sql.lit(1)).orderBy("id"),
);

export const listFlowsFromFiles = operation("chatflow.fromFiles", async (tx, _: object) => {
  const replies: FlowReply[] = [];
  for (const row of await tx.all(fromFile, {})) replies.push(await withKeys(tx, row));
  return replies;
});

export const listChatflows = operation(
  "chatflow.list",
  async (tx, args: { principal: string; before: string; limit: number }) => {
    const replies: FlowReply[] = [];
    for (const row of await tx.all(page, args)) replies.push(await withKeys(tx, row));
    return replies;
  },
);

interface Update {
  readonly id: string;
  readonly name: string;
  readonly definition: string;
  /** 0: any. */
  readonly if_version: number;
  readonly updated_at: number;
}

const updateRow = statement<Update>()((place) =>
  tables
    .updateTable("chatflow")
    .set((row) => ({
      name: place("name"),
      definition: place("definition"),
      version: row("version", "+", 1),
      updated_at: place("updated_at"),
    }))
    .where("id", "=", place("id"))
    .where(sql<boolean>`${place("if_version")} in (0, version)`)
    .returningAll(),
);

export const updateChatflow = operation("chatflow.update", async (tx, args: Update) => {
  const row = await tx.get(updateRow, args);
  if (!row) return undefined;
  await tx.run(insertVersion, row);
  return withKeys(tx, row);
});

const deleteRow = statement<OfFlow>()((place) => tables.deleteFrom("chatflow").where("id", "=", place("id")));

// Foreign keys take all else with it; of the upserts' passages only the search knows no more.
export const deleteChatflow = operation("chatflow.delete", async (tx, args: OfFlow) => {
  if ((await tx.run(deleteRow, args)) === 0) return false;
  await tx.run(abandonOfFlow, args);
  return true;
});

const insertKey = statement<ChatflowKeyRow>()((place) =>
  tables
    .insertInto("chatflow_key")
    .values(places(["id", "chatflow_id", "name", "hash", "created_at"], place)),
);

interface AddKeyArgs extends ChatflowKeyRow {
  readonly max: number;
}

export const addChatflowKey = operation("chatflow.addKey", async (tx, { max, ...row }: AddKeyArgs) => {
  if (!(await isFlowThere(tx, row))) return false;
  if ((await tx.all(keysOf, { id: row.chatflow_id })).length >= max) return false;
  return (await tx.run(insertKey, row)) > 0;
});

const removeKey = statement<{ chatflow_id: string; id: string }>()((place) =>
  tables
    .deleteFrom("chatflow_key")
    .where("id", "=", place("id"))
    .where("chatflow_id", "=", place("chatflow_id")),
);

export const deleteChatflowKey = operation(
  "chatflow.deleteKey",
  async (tx, args: { chatflow_id: string; id: string }) => (await tx.run(removeKey, args)) > 0,
);

const holder = statement<{ hash: string }>()((place) =>
  tables
    .selectFrom("chatflow_key")
    .innerJoin("chatflow", "chatflow.id", "chatflow_key.chatflow_id")
    .select(["chatflow.id as chatflowId", "chatflow.principal"])
    .where("chatflow_key.hash", "=", place("hash")),
);

export const chatflowKeyHolder = operation("chatflow.keyHolder", (tx, args: { hash: string }) =>
  tx.get(holder, args),
);

export function chatflowStore(database: Database): ChatflowStore {
  return {
    create: ({ id, principal, name, version, definition, fromFile, createdAt, updatedAt }) =>
      database.write(createChatflow, {
        id,
        principal,
        name,
        version,
        definition: JSON.stringify(definition),
        from_file: fromFile ? 1 : 0,
        created_at: createdAt,
        updated_at: updatedAt,
      }),
    get: async (id) => {
      const reply = await database.read(getChatflow, { id });
      return reply && chatflowFrom(reply);
    },
    definition: async (id, version) => {
      const row = await database.read(getDefinition, { id, version });
      return row && (JSON.parse(row.definition) as ChatflowDefinition);
    },
    list: async ({ principal, before = AFTER_ALL_IDS, limit }) =>
      (await database.scan(listChatflows, { principal, before, limit })).map(chatflowFrom),
    fromFiles: async () => (await database.read(listFlowsFromFiles, {})).map(chatflowFrom),
    update: async ({ id, name, definition, ifVersion, updatedAt }) => {
      const reply = await database.write(updateChatflow, {
        id,
        name,
        definition: JSON.stringify(definition),
        if_version: ifVersion,
        updated_at: updatedAt,
      });
      return reply && chatflowFrom(reply);
    },
    delete: async (id) => {
      // Most of what hangs on it goes in parts, so that other writes do not wait for all of it.
      await deleteMessagesOf(database, messagesOfFlow(id));
      return database.write(deleteChatflow, { id });
    },
    addKey: ({ chatflowId, key, hash, max }) =>
      database.write(addChatflowKey, {
        id: key.id,
        chatflow_id: chatflowId,
        name: key.name,
        hash,
        created_at: key.createdAt,
        max,
      }),
    deleteKey: (chatflowId, keyId) =>
      database.write(deleteChatflowKey, { chatflow_id: chatflowId, id: keyId }),
    keyHolder: (hash) => database.read(chatflowKeyHolder, { hash }),
  };
}

function chatflowFrom({ row, keys }: FlowReply): Chatflow {
  return {
    id: row.id,
    principal: row.principal,
    name: row.name,
    version: row.version,
    definition: JSON.parse(row.definition) as ChatflowDefinition,
    keys: keys.map(({ id, name, created_at }) => ({ id, name, createdAt: created_at })),
    fromFile: row.from_file === 1,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
