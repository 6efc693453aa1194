/** Imports: zips that are taken up, a part at a time, and shown when all of it is there; dataset.ts says how. */
import { sql } from "kysely";
import type { DatasetId } from "../domain/dataset.ts";
import { type Database, operation } from "./database.ts";
import { datasetById, datasetFrom, datasetHead, findLabel, insertDataset, insertLabels } from "./dataset.ts";
import type { DatasetImport, ImportEnd, ImportSource, ImportStore, NewDataset } from "./dataset-store.ts";
import { insertExampleRow } from "./example.ts";
import type { DatasetImportRow, DatasetRow, ExampleRow } from "./schema.ts";
import { takeNumbers } from "./sequence.ts";
import { places, statement, tables } from "./statement.ts";

const COLUMNS = [
  "id",
  "dataset_id",
  "blob",
  "url",
  "is_first",
  "created_at",
] as const satisfies readonly (keyof DatasetImportRow)[];

const insertImportRow = statement<DatasetImportRow>()((place) =>
  tables.insertInto("dataset_import").values(places(COLUMNS, place)),
);

type SourceColumns = Pick<DatasetImportRow, "blob" | "url">;

interface CreateArgs {
  readonly dataset: NewDataset;
  readonly source: SourceColumns;
}

export const createImport = operation("import.create", async (tx, { dataset, source }: CreateArgs) => {
  const { id, importId } = await insertDataset(tx, dataset, true);
  if (importId === null) throw new Error("an importing dataset without an import");
  const created_at = dataset.createdAt;
  const row: DatasetImportRow = { id: importId, dataset_id: id, ...source, is_first: 1, created_at };
  await tx.run(insertImportRow, row);
  return { row, dataset: await tx.all(datasetById, { principal: dataset.principal, id }) };
});

const toImporting = statement<{ id: number; import_id: number }>()((place) =>
  tables
    .updateTable("dataset")
    .set({ state: "importing", import_id: place("import_id") })
    .where("id", "=", place("id")),
);

interface BeginArgs {
  readonly principal: string;
  readonly dataset_id: number;
  readonly source: SourceColumns;
  readonly now: number;
}

export const beginImport = operation(
  "import.begin",
  async (tx, { principal, dataset_id, source, now }: BeginArgs) => {
    const known = await datasetHead(tx, { principal, id: dataset_id });
    if (!known) return { kind: "unknown" } as const;
    if (known.state === "importing") return { kind: "importing" } as const;
    const id = await takeNumbers(tx, 1);
    const is_first = known.state === "failed" ? 1 : 0;
    const row: DatasetImportRow = { id, dataset_id, ...source, is_first, created_at: now };
    await tx.run(insertImportRow, row);
    await tx.run(toImporting, { id: dataset_id, import_id: id });
    return { kind: "begun", row, dataset: await tx.all(datasetById, { principal, id: dataset_id }) } as const;
  },
);

const unended = statement<object>()(() =>
  tables
    .selectFrom("dataset_import")
    .innerJoin("dataset", "dataset.id", "dataset_import.dataset_id")
    .selectAll("dataset_import")
    .select("dataset.principal")
    .where("dataset_import.id", ">", sql.lit(0))
    .orderBy("dataset_import.id"),
);

export const unendedImports = operation("import.unended", (tx, _: object) => tx.all(unended, {}));

// ---- examples ------------------------------------------------------------------------------------------------------

interface InsertArgs {
  readonly id: number;
  readonly principal: string;
  readonly dataset_id: number;
  readonly rows: readonly (Pick<
    ExampleRow,
    "name" | "blob" | "media_type" | "width" | "height" | "size_bytes"
  > & {
    readonly label: string;
  })[];
  readonly now: number;
}

export const insertImported = operation("import.insert", async (tx, args: InsertArgs) => {
  const { id: import_id, principal, dataset_id, rows, now } = args;
  const labels = new Map<string, number>();
  const first = await takeNumbers(tx, rows.length);
  let duplicates = 0;
  for (const [index, { label, ...row }] of rows.entries()) {
    const label_id =
      labels.get(label) ??
      (await findLabel(tx, dataset_id, label)) ??
      (await insertLabels(tx, { id: dataset_id, principal }, [label]));
    labels.set(label, label_id);
    const common = { id: first + index, dataset_id, label_id, principal, import_id, created_at: now };
    const inserted = await tx.run(insertExampleRow, { ...row, ...common, source: "upload" });
    duplicates += 1 - inserted;
  }
  return duplicates;
});

const deleteExamples = statement<{ id: number; limit: number }>()((place) =>
  tables
    .deleteFrom("example")
    .where("id", "in", (from) =>
      from
        .selectFrom("example as imported")
        .select("imported.id")
        .where("imported.import_id", "=", place("id"))
        .limit(place("limit")),
    ),
);

const deleteLabels = statement<{ id: number; dataset_id: number }>()((place) =>
  tables.deleteFrom("label").where("dataset_id", "=", place("dataset_id")).where("id", ">", place("id")),
);

/** Only while it has not ended: its labels are known by that alone. */
const ofDataset = statement<{ id: number }>()((place) =>
  tables.selectFrom("dataset_import").selectAll().where("id", "=", place("id")),
);

export const clearImport = operation("import.clear", async (tx, args: { id: number; limit: number }) => {
  const row = await tx.get(ofDataset, args);
  if (!row) return true;
  if ((await tx.run(deleteExamples, args)) === args.limit) return false;
  await tx.run(deleteLabels, row);
  return true;
});

// ---- the end -------------------------------------------------------------------------------------------------------

type EndColumns = Pick<DatasetRow, "id" | "state" | "failure" | "duplicates" | "skipped" | "updated_at">;

const show = statement<EndColumns>()((place) =>
  tables
    .updateTable("dataset")
    .set((row) => ({
      ...places(["state", "failure", "skipped", "updated_at"], place),
      duplicates: row("duplicates", "+", place("duplicates")),
      import_id: null,
    }))
    .where("id", "=", place("id")),
);

const remove = statement<{ id: number }>()((place) =>
  tables.deleteFrom("dataset_import").where("id", "=", place("id")),
);

interface EndArgs {
  readonly id: number;
  readonly end: ImportEnd;
  readonly now: number;
}

export const endImport = operation("import.end", async (tx, { id, end, now }: EndArgs) => {
  const row = await tx.get(ofDataset, { id });
  if (!row) return;
  const failed = end.kind === "failed";
  await tx.run(show, {
    id: row.dataset_id,
    state: failed && row.is_first === 1 ? "failed" : "ready",
    failure: failed ? end.failure : "",
    duplicates: failed ? 0 : end.duplicates,
    skipped: JSON.stringify(end.skipped),
    updated_at: now,
  });
  await tx.run(remove, { id });
});

// ---- the store -----------------------------------------------------------------------------------------------------

export function importStore(database: Database): ImportStore {
  return {
    create: async (next, source) => {
      const reply = await database.write(createImport, { dataset: next, source: sourceColumns(source) });
      return { dataset: datasetFrom(reply.dataset), begun: importFrom(reply.row, next.principal) };
    },
    begin: async ({ principal, datasetId, source, now }) => {
      const args = { principal, dataset_id: datasetId, source: sourceColumns(source), now };
      const reply = await database.write(beginImport, args);
      if (reply.kind !== "begun") return reply;
      return {
        kind: reply.kind,
        dataset: datasetFrom(reply.dataset),
        begun: importFrom(reply.row, principal),
      };
    },
    unended: async () =>
      (await database.read(unendedImports, {})).map((row) => importFrom(row, row.principal)),
    insert: ({ begun, examples, now }) =>
      database.write(insertImported, {
        id: begun.id,
        principal: begun.principal,
        dataset_id: begun.datasetId,
        rows: examples.map(({ mediaType, sizeBytes, ...row }) => ({
          ...row,
          media_type: mediaType,
          size_bytes: sizeBytes,
        })),
        now,
      }),
    clear: ({ id }, limit) => database.write(clearImport, { id, limit }),
    end: ({ begun, end, now }) => database.write(endImport, { id: begun.id, end, now }),
  };
}

function sourceColumns(source: ImportSource): SourceColumns {
  return source.kind === "blob" ? { blob: source.blob, url: null } : { blob: null, url: source.url };
}

function importFrom(row: DatasetImportRow, principal: string): DatasetImport {
  return {
    id: row.id,
    principal,
    datasetId: row.dataset_id as DatasetId,
    source: row.blob === null ? { kind: "url", url: row.url ?? "" } : { kind: "blob", blob: row.blob },
  };
}
