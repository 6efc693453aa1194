/** What feature extractors saw in pictures: a cache by content, so that no picture is looked at twice. */
import { endianness } from "node:os";
import { type Database, operation } from "./database.ts";
import type { EmbeddingRow } from "./schema.ts";
import { statement, tables } from "./statement.ts";
import type { EmbeddingStore } from "./training-store.ts";

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

export function embeddingStore(database: Database): EmbeddingStore {
  return {
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

/** Stored little endian, whatever this machine is. */
function bytesOf(floats: Float32Array): Uint8Array {
  const bytes = Buffer.from(floats.buffer.slice(floats.byteOffset, floats.byteOffset + floats.byteLength));
  return endianness() === "LE" ? bytes : bytes.swap32();
}

function floatsOf(bytes: Uint8Array): Float32Array {
  const own = Buffer.from(new Uint8Array(bytes).buffer);
  return new Float32Array((endianness() === "LE" ? own : own.swap32()).buffer, 0, own.length / 4);
}
