/**
 * Upserts: what was added to a flow's passages at a time. Passages count as long as their upsert is there: an upsert
 * that is abandoned takes its passages with it at once, and they are deleted behind it, a part at a time.
 */
import { sql } from "kysely";
import type { Passage, Upsert } from "../domain/chatflow.ts";
import { isFlowThere } from "./chatflow-guard.ts";
import type { ReplacedDocument, UpsertStore } from "./chatflow-store.ts";
import { type Database, operation } from "./database.ts";
import { firstEdge } from "./id-range.ts";
import { deleteDoubles, deleteReplaced } from "./passage.ts";
import type { UpsertRow } from "./schema.ts";
import { type Statement, statement, tables } from "./statement.ts";

interface Begun {
  readonly id: string;
  readonly chatflow_id: string;
  readonly principal: string;
  readonly created_at: number;
}

const insertRow = statement<Begun>()((place) =>
  tables.insertInto("upsert").values({
    id: place("id"),
    chatflow_id: place("chatflow_id"),
    principal: place("principal"),
    state: sql.lit("running"),
    added: sql.lit(0),
    deleted: sql.lit(0),
    skipped: sql.lit(0),
    added_passages: sql.lit("[]"),
    created_at: place("created_at"),
  }),
);

export const beginUpsert = operation("upsert.begin", async (tx, args: Begun) => {
  if (await isFlowThere(tx, args)) await tx.run(insertRow, args);
});

const runningById = statement<{ id: string }>()((place) =>
  tables
    .selectFrom("upsert")
    .select(["number", "chatflow_id"])
    .where("id", "=", place("id"))
    .where("state", "=", sql.lit("running")),
);

type Ended = Pick<UpsertRow, "id" | "added" | "deleted" | "skipped" | "added_passages">;

const endRow = statement<Ended>()((place) =>
  tables
    .updateTable("upsert")
    .set({
      state: sql.lit("ended"),
      added: place("added"),
      deleted: place("deleted"),
      skipped: place("skipped"),
      added_passages: place("added_passages"),
    })
    .where("id", "=", place("id"))
    .returningAll(),
);

interface EndArgs extends Omit<Ended, "deleted"> {
  readonly chat_id: string;
  readonly replaced: readonly ReplacedDocument[];
}

export const endUpsert = operation("upsert.end", async (tx, { chat_id, replaced, ...ended }: EndArgs) => {
  const running = await tx.get(runningById, ended);
  if (!running) return undefined;
  const scope = { chatflow_id: running.chatflow_id, chat_id };
  // What another upsert of the same document added at the same time is there already.
  const added = await deleteDoubles(tx, running.number);
  const deleted = await deleteReplaced(tx, scope, replaced);
  const skipped = ended.skipped + ended.added - added;
  return tx.get(endRow, { ...ended, deleted, added, skipped });
});

const abandonRow = statement<{ id: string }>()((place) =>
  tables
    .updateTable("upsert")
    .set({ state: sql.lit("abandoned") })
    .where("id", "=", place("id"))
    .where("state", "=", sql.lit("running")),
);

export const abandonUpsert = operation("upsert.abandon", async (tx, args: { id: string }) => {
  await tx.run(abandonRow, args);
});

/** Belongs into the transaction that deletes the flow. */
export const abandonOfFlow = statement<{ id: string }>()((place) =>
  tables
    .updateTable("upsert")
    .set({ state: sql.lit("abandoned") })
    .where("chatflow_id", "=", place("id")),
);

const abandonAll = statement<object>()(() =>
  tables
    .updateTable("upsert")
    .set({ state: sql.lit("abandoned") })
    .where("state", "=", sql.lit("running")),
);

/** For a store that has just been opened: whatever seems to run was lost with an earlier server. */
export const abandonUpserts = operation("upsert.abandonAll", (tx, _: object) => tx.run(abandonAll, {}));

type RecordRow = Omit<UpsertRow, "number">;

interface PageParams {
  readonly chatflow_id: string;
  readonly since: number;
  readonly until: number;
  readonly after: string;
  readonly limit: number;
}

function pageBy(direction: "asc" | "desc"): Statement<PageParams, RecordRow> {
  return statement<PageParams>()((place) =>
    tables
      .selectFrom("upsert")
      .selectAll()
      .where("chatflow_id", "=", place("chatflow_id"))
      .where("state", "=", sql.lit("ended"))
      .where("id", direction === "asc" ? ">" : "<", place("after"))
      .where("created_at", ">=", place("since"))
      .where("created_at", "<", place("until"))
      .orderBy("id", direction)
      .limit(place("limit")),
  );
}

const rising = pageBy("asc");
const falling = pageBy("desc");

export const listUpserts = operation("upsert.list", (tx, args: PageParams & { descending: boolean }) =>
  tx.all(args.descending ? falling : rising, args),
);

const forgetRow = statement<{ principal: string; id: string; state: "forgotten" | "abandoned" }>()((place) =>
  tables
    .updateTable("upsert")
    .set({ state: place("state"), added_passages: sql.lit("[]") })
    .where("id", "=", place("id"))
    .where("principal", "=", place("principal"))
    .where("state", "=", sql.lit("ended")),
);

const ownEnded = statement<{ principal: string; id: string }>()((place) =>
  tables
    .selectFrom("upsert")
    .select("id")
    .where("id", "=", place("id"))
    .where("principal", "=", place("principal"))
    .where("state", "=", sql.lit("ended")),
);

interface DeleteArgs {
  readonly principal: string;
  readonly ids: readonly string[];
  readonly state: "forgotten" | "abandoned";
}

export const deleteUpserts = operation("upsert.delete", async (tx, { principal, ids, state }: DeleteArgs) => {
  for (const id of ids) if (!(await tx.get(ownEnded, { principal, id }))) return undefined;
  for (const id of ids) await tx.run(forgetRow, { principal, id, state });
  return ids.length;
});

export function upsertStore(database: Database): UpsertStore {
  return {
    begin: ({ id, chatflowId, principal, createdAt }) =>
      database.write(beginUpsert, { id, chatflow_id: chatflowId, principal, created_at: createdAt }),
    end: async ({ upsert: { id, added, skipped, addedPassages }, chatId, replaced }) => {
      const row = await database.write(endUpsert, {
        id,
        added,
        skipped,
        added_passages: JSON.stringify(addedPassages),
        chat_id: chatId,
        replaced,
      });
      return row && upsertFrom(row);
    },
    abandon: (id) => database.write(abandonUpsert, { id }),
    list: async ({ chatflowId, since, until, descending, after, limit }) => {
      const rows = await database.scan(listUpserts, {
        chatflow_id: chatflowId,
        since: since ?? Number.MIN_SAFE_INTEGER,
        until: until ?? Number.MAX_SAFE_INTEGER,
        after: after ?? firstEdge(descending),
        descending,
        limit,
      });
      return rows.map(upsertFrom);
    },
    delete: ({ principal, ids, deletePassages }) =>
      database.write(deleteUpserts, {
        principal,
        ids: [...new Set(ids)],
        state: deletePassages ? "abandoned" : "forgotten",
      }),
  };
}

function upsertFrom(row: RecordRow): Upsert {
  return {
    id: row.id,
    chatflowId: row.chatflow_id,
    principal: row.principal,
    added: row.added,
    deleted: row.deleted,
    skipped: row.skipped,
    addedPassages: JSON.parse(row.added_passages) as Passage[],
    createdAt: row.created_at,
  };
}
