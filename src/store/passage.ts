/**
 * Passages: their rows, added and deleted. A passage is four rows: itself, its vector, the vector's signs and its words.
 * Passages that are searched together make a scope (a flow's own, or one chat's), which has a number.
 */
import { createHash } from "node:crypto";
import { sql } from "kysely";
import type { NewPassage, PassageStore, ReplacedDocument } from "./chatflow-store.ts";
import { type Database, operation, type Transaction } from "./database.ts";
import { searchPassages } from "./passage-search.ts";
import { indexedWords } from "./passage-words.ts";
import type { PassageRow, PassageSignRow } from "./schema.ts";
import { statement, tables } from "./statement.ts";
import { bytesOf, signsOf } from "./vector-bytes.ts";

export interface ScopeKey {
  readonly chatflow_id: string;
  readonly chat_id: string;
}

const scopeByKey = statement<ScopeKey>()((place) =>
  tables
    .selectFrom("passage_scope")
    .select("number")
    .where("chatflow_id", "=", place("chatflow_id"))
    .where("chat_id", "=", place("chat_id")),
);

const insertScope = statement<ScopeKey>()((place) =>
  tables
    .insertInto("passage_scope")
    .values({ chatflow_id: place("chatflow_id"), chat_id: place("chat_id") })
    .returning("number"),
);

// ---- adding --------------------------------------------------------------------------------------------------------

const runningUpsert = statement<{ upsert_id: string; chatflow_id: string }>()((place) =>
  tables
    .selectFrom("upsert")
    .select("number")
    .where("id", "=", place("upsert_id"))
    .where("chatflow_id", "=", place("chatflow_id"))
    .where("state", "=", sql.lit("running")),
);

const insertRow = statement<Omit<PassageRow, "id"> & { upsert: number }>()((place) =>
  tables
    .insertInto("passage")
    .values({
      scope: place("scope"),
      upsert: place("upsert"),
      source: place("source"),
      hash: place("hash"),
      text: place("text"),
      metadata: place("metadata"),
    })
    .onConflict((on) => on.columns(["scope", "source", "hash", "upsert"]).doNothing())
    .returning("id"),
);

const insertVector = statement<{ passage: number; vector: Uint8Array }>()((place) =>
  tables.insertInto("passage_vector").values({ passage: place("passage"), vector: place("vector") }),
);

const insertSigns = statement<PassageSignRow>()((place) =>
  tables.insertInto("passage_sign").values({
    scope: place("scope"),
    passage: place("passage"),
    upsert: place("upsert"),
    signs: place("signs"),
  }),
);

const insertWords = statement<{ passage: number; words: string }>()((place) =>
  tables.insertInto("passage_words").values({ rowid: place("passage"), words: place("words") }),
);

interface AddArgs extends ScopeKey {
  readonly upsert_id: string;
  readonly passages: readonly NewPassage[];
}

export const addPassages = operation("passage.add", async (tx, args: AddArgs) => {
  const running = await tx.get(runningUpsert, args);
  if (!running) return false;
  const scope = (await tx.get(scopeByKey, args)) ?? (await tx.get(insertScope, args));
  if (!scope) throw new Error("a scope of passages was not written");
  for (const passage of args.passages) await insertPassage(tx, scope.number, running.number, passage);
  return true;
});

async function insertPassage(
  tx: Transaction,
  scope: number,
  upsert: number,
  passage: NewPassage,
): Promise<void> {
  const { text, metadata, vector } = passage;
  const row = await tx.get(insertRow, {
    scope,
    upsert,
    source: typeof metadata.source === "string" ? metadata.source : "",
    hash: createHash("sha256").update(text).digest(),
    text,
    metadata: JSON.stringify(metadata),
  });
  if (!row) return;
  await tx.run(insertVector, { passage: row.id, vector: bytesOf(vector) });
  await tx.run(insertSigns, { scope, passage: row.id, upsert, signs: signsOf(vector) });
  await tx.run(insertWords, { passage: row.id, words: indexedWords(scope, passage) });
}

// ---- what is there -------------------------------------------------------------------------------------------------

// Those of an upsert that still runs may go again.
const knownHash = statement<ScopeKey & { source: string; hash: Uint8Array }>()((place) =>
  tables
    .selectFrom("passage")
    .innerJoin("passage_scope", "passage_scope.number", "passage.scope")
    .innerJoin("upsert", "upsert.number", "passage.upsert")
    .select("passage.id")
    .where("passage_scope.chatflow_id", "=", place("chatflow_id"))
    .where("passage_scope.chat_id", "=", place("chat_id"))
    .where("passage.source", "=", place("source"))
    .where("passage.hash", "=", place("hash"))
    .where("upsert.state", "in", ["ended", "forgotten"])
    .limit(1),
);

interface KnownArgs extends ScopeKey {
  readonly source: string;
  /** SHA-256, lower-case hex. */
  readonly hashes: readonly string[];
}

export const knownPassages = operation("passage.known", async (tx, { hashes, ...of }: KnownArgs) => {
  const known: string[] = [];
  for (const hash of hashes) {
    if (await tx.get(knownHash, { ...of, hash: Buffer.from(hash, "hex") })) known.push(hash);
  }
  return known;
});

const countOfFlow = statement<{ chatflow_id: string }>()((place) =>
  tables
    .selectFrom("passage_scope")
    .innerJoin("passage_sign", "passage_sign.scope", "passage_scope.number")
    .select((row) => row.fn.countAll<number>().as("passages"))
    .where("passage_scope.chatflow_id", "=", place("chatflow_id"))
    .where("passage_scope.chat_id", "=", sql.lit(""))
    .where("passage_sign.upsert", "not in", (from) =>
      from.selectFrom("upsert").select("upsert.number").where("upsert.state", "=", sql.lit("abandoned")),
    ),
);

export const countPassages = operation(
  "passage.count",
  async (tx, args: { chatflow_id: string }) => (await tx.get(countOfFlow, args))?.passages ?? 0,
);

// ---- deleting ------------------------------------------------------------------------------------------------------

interface Located {
  readonly id: number;
  readonly scope: number;
}

const deleteSigns = statement<Located>()((place) =>
  tables.deleteFrom("passage_sign").where("scope", "=", place("scope")).where("passage", "=", place("id")),
);
const deleteVector = statement<Located>()((place) =>
  tables.deleteFrom("passage_vector").where("passage", "=", place("id")),
);
const deleteWords = statement<Located>()((place) =>
  tables.deleteFrom("passage_words").where("rowid", "=", place("id")),
);
const deleteRow = statement<Located>()((place) => tables.deleteFrom("passage").where("id", "=", place("id")));

async function deletePassages(tx: Transaction, passages: readonly Located[]): Promise<number> {
  for (const passage of passages) {
    await tx.run(deleteSigns, passage);
    await tx.run(deleteVector, passage);
    await tx.run(deleteWords, passage);
    await tx.run(deleteRow, passage);
  }
  return passages.length;
}

const doubles = statement<{ upsert: number }>()((place) =>
  tables
    .selectFrom("passage as own")
    .select(["own.id", "own.scope"])
    .where("own.upsert", "=", place("upsert"))
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom("passage as other")
          .innerJoin("upsert", "upsert.number", "other.upsert")
          .select("other.id")
          .whereRef("other.scope", "=", "own.scope")
          .whereRef("other.source", "=", "own.source")
          .whereRef("other.hash", "=", "own.hash")
          .where("upsert.state", "in", ["ended", "forgotten"]),
      ),
    ),
);

const countOfUpsert = statement<{ upsert: number }>()((place) =>
  tables
    .selectFrom("passage")
    .select((row) => row.fn.countAll<number>().as("passages"))
    .where("upsert", "=", place("upsert")),
);

/** Deletes an upsert's passages that one which has ended has, too. Answers how many are left. */
export async function deleteDoubles(tx: Transaction, upsert: number): Promise<number> {
  await deletePassages(tx, await tx.all(doubles, { upsert }));
  return (await tx.get(countOfUpsert, { upsert }))?.passages ?? 0;
}

const ofSource = statement<ScopeKey & { source: string }>()((place) =>
  tables
    .selectFrom("passage")
    .innerJoin("passage_scope", "passage_scope.number", "passage.scope")
    .innerJoin("upsert", "upsert.number", "passage.upsert")
    .select(["passage.id", "passage.scope", "passage.hash"])
    .where("passage_scope.chatflow_id", "=", place("chatflow_id"))
    .where("passage_scope.chat_id", "=", place("chat_id"))
    .where("passage.source", "=", place("source"))
    .where("upsert.state", "in", ["ended", "forgotten"]),
);

/** Of documents that are replaced, deletes what ended upserts added and is not in them any more. Answers how many. */
export async function deleteReplaced(
  tx: Transaction,
  scope: ScopeKey,
  replaced: readonly ReplacedDocument[],
): Promise<number> {
  let deleted = 0;
  for (const { source, hashes } of replaced) {
    const kept = new Set(hashes);
    const old = (await tx.all(ofSource, { ...scope, source })).filter(
      ({ hash }) => !kept.has(Buffer.from(hash).toString("hex")),
    );
    deleted += await deletePassages(tx, old);
  }
  return deleted;
}

const firstAbandoned = statement<object>()(() =>
  tables
    .selectFrom("upsert")
    .select("number")
    .where("state", "=", sql.lit("abandoned"))
    .orderBy("number")
    .limit(1),
);

const ofUpsert = statement<{ upsert: number; limit: number }>()((place) =>
  tables
    .selectFrom("passage")
    .select(["id", "scope"])
    .where("upsert", "=", place("upsert"))
    .limit(place("limit")),
);

const deleteUpsert = statement<{ number: number }>()((place) =>
  tables.deleteFrom("upsert").where("number", "=", place("number")),
);

export const purgePassages = operation("passage.purge", async (tx, { limit }: { limit: number }) => {
  let purged = 0;
  for (let upsert = await tx.get(firstAbandoned, {}); upsert; upsert = await tx.get(firstAbandoned, {})) {
    const rest = limit - purged;
    const passages = await tx.all(ofUpsert, { upsert: upsert.number, limit: rest });
    purged += await deletePassages(tx, passages);
    if (passages.length === rest) break;
    await tx.run(deleteUpsert, upsert);
  }
  return purged;
});

export function passageStore(database: Database): PassageStore {
  return {
    known: ({ chatflowId, chatId, source, hashes }) =>
      database.scan(knownPassages, { chatflow_id: chatflowId, chat_id: chatId, source, hashes }),
    add: ({ chatflowId, chatId, upsertId, passages }) =>
      database.write(addPassages, {
        chatflow_id: chatflowId,
        chat_id: chatId,
        upsert_id: upsertId,
        passages,
      }),
    search: (query) => database.search(searchPassages, query),
    count: (chatflowId) => database.scan(countPassages, { chatflow_id: chatflowId }),
    purge: (limit) => database.write(purgePassages, { limit }),
  };
}
