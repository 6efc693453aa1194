/**
 * The search for passages, by meaning, by words, or by both.
 *
 * By meaning: a first pass over the signs of the scope's vectors keeps the nearest by Hamming distance, and of those
 * the vectors themselves are compared. Of 100,000 passages of 384 numbers that takes 15 ms of a core and finds 0.997
 * of the exact ten nearest (a pass over int8 takes 50 ms, over the float32 themselves 100 ms).
 *
 * The distances are sqlite-vec's: a Mozilla Builders project of Alex Garcia's, also in Firefox, MIT or Apache-2.0,
 * 160 KB without dependencies, prebuilt for Linux, macOS and Windows (not for musl). It has no version 1 yet and no
 * approximate index. Of what it has only the distance functions are used, on plain tables, which take part in
 * transactions, hold vectors of any width and are deleted from as any other. Its own vec0 tables have one width, keep
 * 1,024 places for each flow, however small, and took 43 ms (float32) and 143 ms (signs, a thousand nearest).
 */
import { sql } from "kysely";
import type { ScoredPassage } from "../domain/chatflow.ts";
import type { JsonObject } from "../domain/payload.ts";
import type { PassageSearch } from "./chatflow-store.ts";
import { operation, type Transaction } from "./database.ts";
import { matchOf, queryWords } from "./passage-words.ts";
import { statement, tables } from "./statement.ts";
import { bytesOf, signsOf } from "./vector-bytes.ts";

/** Of each kind of search, what takes part in the fusion. */
const LIST_LENGTH = 50;
/** Kept by the first pass. */
const CANDIDATES = 500;
/**
 * Passages that BM25 weighs, at some 0.4 µs for each word of a question in each of them. Past it, the commonest words
 * of the question are left out, which tell little.
 */
const MATCHES = 20_000;
/** What a place in a list is worth is 1 / (this + place): the usual constant of reciprocal rank fusion. */
const RANK_CONSTANT = 60;

interface Found {
  readonly id: number;
  /** Cosine. */
  readonly score: number | null;
}

const scopesOf = statement<{ chatflow_id: string; chat_id: string }>()((place) =>
  tables
    .selectFrom("passage_scope")
    .select("number")
    .where("chatflow_id", "=", place("chatflow_id"))
    .where("chat_id", "in", [sql.lit(""), place("chat_id")]),
);

/** Upserts whose passages are not there any more. */
const ABANDONED = tables
  .selectFrom("upsert")
  .select("upsert.number")
  .where("upsert.state", "=", sql.lit("abandoned"));

interface NearestParams {
  readonly scope: number;
  readonly vector: Uint8Array;
  readonly vector_bytes: number;
  readonly signs: Uint8Array;
  readonly signs_bytes: number;
  readonly candidates: number;
  readonly limit: number;
}

// Vectors of another width were made by another model.
const nearest = statement<NearestParams>()((place) =>
  tables
    .selectFrom((from) =>
      from
        .selectFrom("passage_sign")
        .select("passage")
        .where("scope", "=", place("scope"))
        .where(sql<boolean>`length(signs) = ${place("signs_bytes")}`)
        .where("upsert", "not in", ABANDONED)
        .orderBy(sql`vec_distance_hamming(vec_bit(signs), vec_bit(${place("signs")}))`)
        .limit(place("candidates"))
        .as("candidate"),
    )
    .innerJoin("passage_vector", "passage_vector.passage", "candidate.passage")
    .where(sql<boolean>`length(vector) = ${place("vector_bytes")}`)
    .select([
      "candidate.passage as id",
      sql<number>`1 - vec_distance_cosine(vector, ${place("vector")})`.as("score"),
    ])
    .orderBy("score", "desc")
    .limit(place("limit")),
);

async function byMeaning(
  tx: Transaction,
  scopes: readonly number[],
  { vector, minScore, limit }: { vector: Float32Array; minScore: number; limit: number },
): Promise<Found[]> {
  const bytes = bytesOf(vector);
  const signs = signsOf(vector);
  const found: { id: number; score: number }[] = [];
  for (const scope of scopes) {
    const rows = await tx.all(nearest, {
      scope,
      vector: bytes,
      vector_bytes: bytes.length,
      signs,
      signs_bytes: signs.length,
      candidates: Math.max(CANDIDATES, limit),
      limit,
    });
    found.push(...rows.filter(({ score }) => score >= minScore));
  }
  return found.sort((a, b) => b.score - a.score).slice(0, limit);
}

interface MatchParams {
  readonly match: string;
  readonly limit: number;
}

// The best first. In a part by itself: a join to each of the many rows that match takes as long as all else. (By `rank`
// in place of bm25() FTS5 would take twice as long.)
const best = statement<MatchParams>()((place) =>
  tables
    .selectFrom((from) =>
      from
        .selectFrom("passage_words")
        .select(["rowid as id", sql<number>`bm25(passage_words)`.as("rank")])
        .where(sql<boolean>`passage_words match ${place("match")}`)
        .orderBy("rank")
        .limit(place("limit"))
        .as("best"),
    )
    .innerJoin("passage", "passage.id", "best.id")
    .select("best.id")
    .where("passage.upsert", "not in", ABANDONED)
    .orderBy("best.rank"),
);

const bestOfLive = statement<MatchParams>()((place) =>
  tables
    .selectFrom("passage_words")
    .innerJoin("passage", "passage.id", "passage_words.rowid")
    .select("passage.id")
    .where(sql<boolean>`passage_words match ${place("match")}`)
    .where("passage.upsert", "not in", ABANDONED)
    .orderBy(sql`bm25(passage_words)`)
    .limit(place("limit")),
);

const countMatches = statement<MatchParams>()((place) =>
  tables
    .selectFrom((from) =>
      from
        .selectFrom("passage_words")
        .select("rowid")
        .where(sql<boolean>`passage_words match ${place("match")}`)
        .limit(place("limit"))
        .as("matches"),
    )
    .select((row) => row.fn.countAll<number>().as("matches")),
);

/** Of the words, the rarest, as many as stand in MATCHES passages together, and one at least. */
async function rarest(
  tx: Transaction,
  scopes: readonly number[],
  words: readonly string[],
): Promise<readonly string[]> {
  const counted: { readonly word: string; readonly matches: number }[] = [];
  for (const word of words) {
    const match = matchOf(scopes, [word], "any");
    const row = await tx.get(countMatches, { match, limit: MATCHES + 1 });
    counted.push({ word, matches: row?.matches ?? 0 });
  }
  counted.sort((a, b) => a.matches - b.matches);
  const kept: string[] = [];
  let sum = 0;
  for (const { word, matches } of counted) {
    sum += matches;
    if (sum > MATCHES && kept.length > 0) break;
    kept.push(word);
  }
  return kept;
}

async function byWords(
  tx: Transaction,
  scopes: readonly number[],
  { text, limit, need }: { text: string; limit: number; need: "any" | "all" },
): Promise<Found[]> {
  const words = queryWords(text);
  if (words.length === 0 || scopes.length === 0) return [];
  const match = matchOf(scopes, need === "all" ? words : await rarest(tx, scopes, words), need);
  let rows = await tx.all(best, { match, limit });
  // Too few, or places were taken by passages that are gone and not yet deleted.
  if (rows.length < limit) rows = await tx.all(bestOfLive, { match, limit });
  return rows.map(({ id }) => ({ id, score: null }));
}

/** Reciprocal rank fusion: who is far ahead in one list or fairly ahead in both comes first. */
export function fuse(lists: readonly (readonly Found[])[]): Found[] {
  const worth = new Map<number, { readonly id: number; score: number | null; sum: number }>();
  for (const list of lists) {
    for (const [index, { id, score }] of list.entries()) {
      const entry = worth.get(id) ?? { id, score, sum: 0 };
      entry.score ??= score;
      entry.sum += 1 / (RANK_CONSTANT + index + 1);
      worth.set(id, entry);
    }
  }
  return [...worth.values()].sort((a, b) => b.sum - a.sum).map(({ id, score }) => ({ id, score }));
}

const cosineOf = statement<{ id: number; vector: Uint8Array; vector_bytes: number }>()((place) =>
  tables
    .selectFrom("passage_vector")
    .where("passage", "=", place("id"))
    .where(sql<boolean>`length(vector) = ${place("vector_bytes")}`)
    .select(sql<number>`1 - vec_distance_cosine(vector, ${place("vector")})`.as("score")),
);

const textOf = statement<{ id: number }>()((place) =>
  tables.selectFrom("passage").select(["text", "metadata"]).where("id", "=", place("id")),
);

async function complete(
  tx: Transaction,
  found: readonly Found[],
  vector: Float32Array | undefined,
): Promise<ScoredPassage[]> {
  const bytes = vector && bytesOf(vector);
  const passages: ScoredPassage[] = [];
  for (const { id, score: known } of found) {
    const row = await tx.get(textOf, { id });
    if (!row) continue;
    const compared =
      known === null && bytes && (await tx.get(cosineOf, { id, vector: bytes, vector_bytes: bytes.length }));
    const score = known ?? (compared ? compared.score : null);
    passages.push({ id, text: row.text, metadata: JSON.parse(row.metadata) as JsonObject, score });
  }
  return passages;
}

export const searchPassages = operation("passage.search", async (tx, query: PassageSearch) => {
  const { mode, text, vector, minScore } = query;
  const of = { chatflow_id: query.chatflowId, chat_id: query.chatId };
  const scopes = (await tx.all(scopesOf, of)).map(({ number }) => number);
  const limit = mode === "hybrid" ? Math.max(LIST_LENGTH, query.limit) : query.limit;
  const lists: Found[][] = [];
  if (mode !== "keyword" && vector) lists.push(await byMeaning(tx, scopes, { vector, minScore, limit }));
  // Where nothing is near by meaning, a word in common is an accident; an identifier, or a whole phrase, is none.
  const need = lists.some((list) => list.length === 0) ? "all" : "any";
  if (mode !== "vector") lists.push(await byWords(tx, scopes, { text, limit, need }));
  return complete(tx, fuse(lists).slice(0, query.limit), vector);
});
