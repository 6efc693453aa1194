/** Which blobs are in use: a blob stays as long as a row refers to it. */
import { operation } from "./database.ts";
import { statement, tables } from "./statement.ts";

interface OfBlob {
  readonly blob: string;
}

const anyImage = statement<OfBlob>()((place) =>
  tables.selectFrom("image").select("blob").where("blob", "=", place("blob")).limit(1),
);

/** Hidden and deleted ones, too: their rows are still there. */
export const anyExample = statement<OfBlob>()((place) =>
  tables.selectFrom("example").select("blob").where("blob", "=", place("blob")).limit(1),
);

const anyImport = statement<OfBlob>()((place) =>
  tables
    .selectFrom("dataset_import")
    .select("blob")
    .where("blob", "is not", null)
    .where("blob", "=", place("blob"))
    .limit(1),
);

const anyChatFile = statement<OfBlob>()((place) =>
  tables.selectFrom("chat_file").select("blob").where("blob", "=", place("blob")).limit(1),
);

const REFERENCES = [anyImage, anyExample, anyImport, anyChatFile];

/** Answers those of the blobs that no row refers to. */
export const unreferencedBlobs = operation("blob.unreferenced", async (tx, blobs: readonly string[]) => {
  const free: string[] = [];
  for (const blob of blobs) {
    let used = false;
    for (const reference of REFERENCES) used ||= (await tx.get(reference, { blob })) !== undefined;
    if (!used) free.push(blob);
  }
  return free;
});
