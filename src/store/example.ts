/** Examples: labelled pictures of a dataset; their bytes are blobs. */
import { sql } from "kysely";
import type { DatasetId, Example, ExampleId, Label } from "../domain/dataset.ts";
import { type Database, operation, type Transaction } from "./database.ts";
import {
  type CountedLabelRow,
  datasetById,
  datasetHead,
  datasetsFrom,
  EXAMPLE_COUNTS,
  type LabelledRow,
  labelById,
  labelFrom,
  touchDataset,
} from "./dataset.ts";
import type { ExampleStore } from "./dataset-store.ts";
import type { ExampleRow } from "./schema.ts";
import { takeNumbers } from "./sequence.ts";
import { places, statement, tables } from "./statement.ts";

const COLUMNS = [
  "id",
  "dataset_id",
  "label_id",
  "principal",
  "name",
  "source",
  "import_id",
  "blob",
  "media_type",
  "width",
  "height",
  "size_bytes",
  "created_at",
] as const satisfies readonly (keyof ExampleRow)[];

/** Changes nothing for a picture that is there under the label. */
export const insertExampleRow = statement<ExampleRow>()((place) =>
  tables
    .insertInto("example")
    .values(places(COLUMNS, place))
    .onConflict((on) => on.columns(["label_id", "blob"]).doNothing()),
);

/** Those that are not hidden, of datasets that are there. */
function shown() {
  return tables
    .selectFrom("example")
    .innerJoin("dataset", "dataset.id", "example.dataset_id")
    .selectAll("example")
    .where("dataset.deleted_at", "is", null)
    .where(EXAMPLE_COUNTS);
}

interface Own {
  readonly principal: string;
  readonly id: number;
}

const byId = statement<Own>()((place) =>
  shown().where("example.id", "=", place("id")).where("example.principal", "=", place("principal")),
);

// ---- adding --------------------------------------------------------------------------------------------------------

const byBlob = statement<{ label_id: number; blob: string }>()((place) =>
  tables
    .selectFrom("example")
    .select(["id", "import_id"])
    .where("label_id", "=", place("label_id"))
    .where("blob", "=", place("blob")),
);

const feedbackByName = statement<{ dataset_id: number; name: string }>()((place) =>
  tables
    .selectFrom("example")
    .select("id")
    .where("dataset_id", "=", place("dataset_id"))
    .where("name", "=", place("name"))
    .where("source", "=", sql.lit("feedback")),
);

type Adopted = Pick<ExampleRow, "id" | "name" | "source" | "created_at">;

const adopt = statement<Adopted>()((place) =>
  tables
    .updateTable("example")
    .set({ ...places(["name", "source", "created_at"], place), import_id: null })
    .where("id", "=", place("id")),
);

type NewRow = Omit<ExampleRow, "id" | "import_id">;

/**
 * The picture may be there already. If that is an import's, which is still hidden and may yet be undone, the example
 * becomes the caller's own.
 */
async function add(tx: Transaction, row: NewRow, importId: number | null) {
  const known = await tx.get(byBlob, row);
  if (!known) {
    const id = await takeNumbers(tx, 1);
    await tx.run(insertExampleRow, { ...row, id, import_id: null });
    return { kind: "inserted", id } as const;
  }
  const hidden = known.import_id !== null && known.import_id === importId;
  if (hidden) await tx.run(adopt, { ...row, id: known.id });
  return { kind: hidden ? "inserted" : "found", id: known.id } as const;
}

export const insertExample = operation("example.insert", async (tx, row: NewRow) => {
  const { principal } = row;
  const dataset = await datasetHead(tx, { principal, id: row.dataset_id });
  if (!dataset) return { kind: "unknown" } as const;
  if (dataset.state === "failed") return { kind: "failed" } as const;
  const label = await tx.get(labelById, { principal, id: row.label_id });
  if (label?.dataset_id !== row.dataset_id) return { kind: "unknown_label" } as const;
  if (row.source === "feedback" && (await tx.get(feedbackByName, row)))
    return { kind: "name_taken" } as const;
  const { kind, id } = await add(tx, row, dataset.import_id);
  if (kind === "inserted") await touchDataset(tx, row.dataset_id, row.created_at);
  return { kind, ...(await withLabel(tx, { principal, id })) } as const;
});

async function withLabel(tx: Transaction, own: Own) {
  const row = await tx.get(byId, own);
  const label = row && (await tx.get(labelById, { principal: own.principal, id: row.label_id }));
  if (!row || !label) throw new Error(`example ${own.id} is not there in the transaction that wrote it`);
  return { row, label };
}

// ---- looking -------------------------------------------------------------------------------------------------------

export const getExample = operation("example.get", async (tx, own: Own) => {
  const row = await tx.get(byId, own);
  const label = row && (await tx.get(labelById, { principal: own.principal, id: row.label_id }));
  // Its dataset may have been deleted between the two.
  return row && label ? { row, label } : undefined;
});

interface Page {
  readonly principal: string;
  /** Of the dataset or the label. */
  readonly of: number;
  /** "" for any. */
  readonly source: string;
  readonly after: number;
  readonly skip: number;
  readonly limit: number;
}

const pageOf = (column: "example.dataset_id" | "example.label_id") =>
  statement<Page>()((place) =>
    shown()
      .where(column, "=", place("of"))
      .where("example.principal", "=", place("principal"))
      .where("example.id", ">", place("after"))
      .where(sql<boolean>`(${place("source")} = '' or example.source = ${place("source")})`)
      .orderBy("example.id")
      .limit(place("limit"))
      .offset(place("skip")),
  );
const pageOfDataset = pageOf("example.dataset_id");
const pageOfLabel = pageOf("example.label_id");

interface ListArgs extends Omit<Page, "of"> {
  readonly dataset_id: number | null;
  readonly label_id: number | null;
}

/** The labels come with the examples, counted once for the page and not once for each. */
export const listExamples = operation(
  "example.list",
  async (tx, { dataset_id, label_id, ...page }: ListArgs) => {
    const { principal } = page;
    if (label_id === null) {
      const dataset: readonly LabelledRow[] =
        dataset_id === null ? [] : await tx.all(datasetById, { principal, id: dataset_id });
      if (!dataset[0]) return undefined;
      return { rows: await tx.all(pageOfDataset, { ...page, of: dataset[0].id }), dataset, label: undefined };
    }
    const label = await tx.get(labelById, { principal, id: label_id });
    if (!label || (dataset_id !== null && label.dataset_id !== dataset_id)) return undefined;
    return { rows: await tx.all(pageOfLabel, { ...page, of: label.id }), dataset: undefined, label };
  },
);

// ---- deleting ------------------------------------------------------------------------------------------------------

const remove = statement<{ id: number }>()((place) =>
  tables.deleteFrom("example").where("id", "=", place("id")),
);

export const deleteExample = operation(
  "example.delete",
  async (tx, { principal, id, now }: Own & { now: number }) => {
    const row = await tx.get(byId, { principal, id });
    if (!row) return false;
    await tx.run(remove, { id });
    await touchDataset(tx, row.dataset_id, now);
    return true;
  },
);

// ---- the store -----------------------------------------------------------------------------------------------------

export function exampleStore(database: Database): ExampleStore {
  return {
    insert: async ({ principal, datasetId, labelId, source, example, now }) => {
      const reply = await database.write(insertExample, {
        dataset_id: datasetId,
        label_id: labelId,
        principal,
        name: example.name,
        source,
        blob: example.blob,
        media_type: example.mediaType,
        width: example.width,
        height: example.height,
        size_bytes: example.sizeBytes,
        created_at: now,
      });
      return "row" in reply ? { kind: reply.kind, example: exampleWith(reply) } : reply;
    },
    get: async (principal, id) => {
      const reply = await database.scan(getExample, { principal, id });
      return reply && exampleWith(reply);
    },
    list: async ({ datasetId, labelId, source, ...page }) => {
      const reply = await database.scan(listExamples, {
        ...page,
        dataset_id: datasetId ?? null,
        label_id: labelId ?? null,
        source: source ?? "",
      });
      if (!reply) return undefined;
      const labels = reply.dataset
        ? (datasetsFrom(reply.dataset)[0]?.labels ?? [])
        : [labelFrom(reply.label)];
      const byId = new Map<number, Label>(labels.map((label) => [label.id, label]));
      return reply.rows.flatMap((row) => {
        const label = byId.get(row.label_id);
        // Without one only when the import that brought both ended between the two reads.
        return label ? [exampleFrom(row, label)] : [];
      });
    },
    delete: (args) => database.write(deleteExample, args),
  };
}

function exampleWith({ row, label }: { readonly row: ExampleRow; readonly label: CountedLabelRow }): Example {
  return exampleFrom(row, labelFrom(label));
}

function exampleFrom(row: ExampleRow, label: Label): Example {
  return {
    id: row.id as ExampleId,
    datasetId: row.dataset_id as DatasetId,
    principal: row.principal,
    label,
    name: row.name,
    source: row.source,
    blob: row.blob,
    mediaType: row.media_type,
    width: row.width,
    height: row.height,
    sizeBytes: row.size_bytes,
    createdAt: row.created_at,
  };
}
