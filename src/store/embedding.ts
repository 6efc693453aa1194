/** What feature extractors saw in pictures: a cache by content, so that no picture is looked at twice. */
import { anyExample } from "./blob-use.ts";
import { type Database, operation } from "./database.ts";
import type { EmbeddingRow } from "./schema.ts";
import { statement, tables } from "./statement.ts";
import type { EmbeddingStore } from "./training-store.ts";
import { bytesOf, floatsOf } from "./vector-bytes.ts";

const byKey = statement<Omit<EmbeddingRow, "vector">>()((place) =>
  tables
    .selectFrom("embedding")
    .selectAll()
    .where("extractor", "=", place("extractor"))
    .where("blob", "=", place("blob")),
);

type GetArgs = { readonly extractor: string; readonly blobs: readonly string[] };

export const getEmbeddings = operation("embedding.get", async (tx, { extractor, blobs }: GetArgs) => {
  const rows: EmbeddingRow[] = [];
  for (const blob of blobs) {
    const row = await tx.get(byKey, { extractor, blob });
    if (row) rows.push(row);
  }
  return rows;
});

const anyByKey = statement<Omit<EmbeddingRow, "vector">>()((place) =>
  tables
    .selectFrom("embedding")
    .select("blob")
    .where("extractor", "=", place("extractor"))
    .where("blob", "=", place("blob")),
);

export const missingEmbeddings = operation("embedding.missing", async (tx, { extractor, blobs }: GetArgs) => {
  const missing: string[] = [];
  for (const blob of blobs) if (!(await tx.get(anyByKey, { extractor, blob }))) missing.push(blob);
  return missing;
});

const insert = statement<EmbeddingRow>()((place) =>
  tables
    .insertInto("embedding")
    .values({ extractor: place("extractor"), blob: place("blob"), vector: place("vector") })
    .onConflict((on) => on.columns(["extractor", "blob"]).doNothing()),
);

export const putEmbeddings = operation("embedding.put", async (tx, rows: readonly EmbeddingRow[]) => {
  for (const row of rows) await tx.run(insert, row);
});

const blobsAfter = statement<{ after: string; limit: number }>()((place) =>
  tables
    .selectFrom("embedding")
    .select("blob")
    .where("blob", ">", place("after"))
    .groupBy("blob")
    .orderBy("blob")
    .limit(place("limit")),
);

/** Of the next blobs that have one: those without an example, and the last one that was looked at. */
export const unusedEmbeddings = operation(
  "embedding.unused",
  async (tx, args: { after: string; limit: number }) => {
    const looked = await tx.all(blobsAfter, args);
    const unused: string[] = [];
    for (const { blob } of looked) if (!(await tx.get(anyExample, { blob }))) unused.push(blob);
    return { unused, last: looked.length < args.limit ? undefined : looked.at(-1)?.blob };
  },
);

const remove = statement<{ blob: string }>()((place) =>
  tables.deleteFrom("embedding").where("blob", "=", place("blob")),
);

export const deleteEmbeddings = operation("embedding.delete", async (tx, blobs: readonly string[]) => {
  let deleted = 0;
  for (const blob of blobs) {
    // An example may have come since they were looked at.
    if (!(await tx.get(anyExample, { blob }))) deleted += await tx.run(remove, { blob });
  }
  return deleted;
});

/** Looked at, and perhaps deleted, in one transaction. */
const SWEPT_AT_ONCE = 500;

async function sweep(database: Database): Promise<number> {
  let deleted = 0;
  for (let after: string | undefined = ""; after !== undefined; ) {
    const page: { unused: string[]; last: string | undefined } = await database.scan(unusedEmbeddings, {
      after,
      limit: SWEPT_AT_ONCE,
    });
    if (page.unused.length > 0) deleted += await database.write(deleteEmbeddings, page.unused);
    after = page.last;
  }
  return deleted;
}

export function embeddingStore(database: Database): EmbeddingStore {
  return {
    sweep: () => sweep(database),
    missing: (extractor, blobs) => database.scan(missingEmbeddings, { extractor, blobs }),
    get: async (extractor, blobs) => {
      const rows = await database.scan(getEmbeddings, { extractor, blobs });
      return new Map(rows.map(({ blob, vector }) => [blob, floatsOf(vector)]));
    },
    put: (extractor, embeddings) =>
      database.write(
        putEmbeddings,
        [...embeddings].map(([blob, floats]) => ({ extractor, blob, vector: bytesOf(floats) })),
      ),
  };
}
