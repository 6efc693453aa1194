/**
 * Datasets and their labels. What belongs to an import under way is hidden by numbers alone: its examples carry the
 * import's id, and its labels have higher ids than it, for nobody else adds labels meanwhile. Dropping the id from
 * the dataset's row shows all of it at once, however much it is.
 */
import { sql } from "kysely";
import {
  type Dataset,
  type DatasetId,
  type DatasetState,
  LABELS_MAX,
  type Label,
  type LabelId,
  type SkippedFiles,
} from "../domain/dataset.ts";
import { type Database, operation, type Transaction } from "./database.ts";
import type { DatasetStore, NewDataset, TrainingExample } from "./dataset-store.ts";
import { deletionFrom, insertDeletion } from "./deletion.ts";
import type { DatasetRow, DeletionRow, LabelRow } from "./schema.ts";
import { takeNumbers } from "./sequence.ts";
import { places, statement, tables } from "./statement.ts";
import { unfinishedOf } from "./trained-model.ts";

/** Conditions of queries that join the dataset: of an example or a label that is not hidden. */
export const EXAMPLE_COUNTS = sql<boolean>`(example.import_id is null or dataset.import_id is null or example.import_id <> dataset.import_id)`;
export const LABEL_COUNTS = sql<boolean>`(dataset.import_id is null or label.id < dataset.import_id)`;

/** Examples of the row's label, in a query that has label and dataset. */
export const LABEL_EXAMPLES = sql<number>`(select count(*) from example where example.label_id = label.id and ${EXAMPLE_COUNTS})`;

const DATASET_COLUMNS = [
  "id",
  "principal",
  "name",
  "type",
  "state",
  "failure",
  "import_id",
  "duplicates",
  "skipped",
  "created_at",
  "updated_at",
  "deleted_at",
] as const satisfies readonly (keyof DatasetRow)[];

const LABEL_COLUMNS = [
  "id",
  "dataset_id",
  "principal",
  "name",
] as const satisfies readonly (keyof LabelRow)[];

const insertDatasetRow = statement<DatasetRow>()((place) =>
  tables.insertInto("dataset").values(places(DATASET_COLUMNS, place)),
);

const insertLabelRow = statement<LabelRow>()((place) =>
  tables.insertInto("label").values(places(LABEL_COLUMNS, place)),
);

/** A dataset's row with one of its labels; as many as it has, or one without. */
export type LabelledRow = DatasetRow & {
  readonly label_id: number | null;
  readonly label_name: string | null;
  readonly examples: number;
};

/** In one statement, so that state, labels and counts are of one moment. */
function labelled() {
  return tables
    .selectFrom("dataset")
    .leftJoin("label", (join) => join.onRef("label.dataset_id", "=", "dataset.id").on(LABEL_COUNTS))
    .selectAll("dataset")
    .select(["label.id as label_id", "label.name as label_name", LABEL_EXAMPLES.as("examples")])
    .where("dataset.deleted_at", "is", null)
    .orderBy("dataset.id")
    .orderBy("label.id");
}

interface Own {
  readonly principal: string;
  readonly id: number;
}

export const datasetById = statement<Own>()((place) =>
  labelled().where("dataset.id", "=", place("id")).where("dataset.principal", "=", place("principal")),
);

interface Page {
  readonly principal: string;
  readonly after: number;
  readonly skip: number;
  readonly limit: number;
}

const page = statement<Page>()((place) =>
  labelled().where("dataset.id", "in", (from) =>
    from
      .selectFrom("dataset as shown")
      .select("shown.id")
      .where("shown.principal", "=", place("principal"))
      .where("shown.deleted_at", "is", null)
      .where("shown.id", ">", place("after"))
      .orderBy("shown.id")
      .limit(place("limit"))
      .offset(place("skip")),
  ),
);

/** What decides whether it can be changed. */
const head = statement<Own>()((place) =>
  tables
    .selectFrom("dataset")
    .select(["id", "state", "import_id"])
    .where("id", "=", place("id"))
    .where("principal", "=", place("principal"))
    .where("deleted_at", "is", null),
);

export function datasetHead(tx: Transaction, own: Own) {
  return tx.get(head, own);
}

const touch = statement<{ id: number; updated_at: number }>()((place) =>
  tables
    .updateTable("dataset")
    .set({ updated_at: place("updated_at") })
    .where("id", "=", place("id")),
);

export function touchDataset(tx: Transaction, id: number, now: number): Promise<number> {
  return tx.run(touch, { id, updated_at: now });
}

export const getDataset = operation("dataset.get", (tx, own: Own) => tx.all(datasetById, own));

export const listDatasets = operation("dataset.list", (tx, query: Page) => tx.all(page, query));

/** Takes the numbers for the dataset, an import with it or none, and its labels, in this order. */
export async function insertDataset(tx: Transaction, next: NewDataset, importing: boolean) {
  const id = await takeNumbers(tx, 1);
  const importId = importing ? await takeNumbers(tx, 1) : null;
  await tx.run(insertDatasetRow, {
    id,
    principal: next.principal,
    name: next.name,
    type: next.type,
    state: importing ? "importing" : "ready",
    failure: "",
    import_id: importId,
    duplicates: 0,
    skipped: JSON.stringify(NOTHING_SKIPPED),
    created_at: next.createdAt,
    updated_at: next.createdAt,
    deleted_at: null,
  });
  await insertLabels(tx, { id, principal: next.principal }, next.labels);
  return { id, importId };
}

const NOTHING_SKIPPED: SkippedFiles = { count: 0, first: [] };

/** Answers the first one's id; the others' follow it. */
export async function insertLabels(tx: Transaction, dataset: Own, names: readonly string[]): Promise<number> {
  const first = await takeNumbers(tx, names.length);
  for (const [index, name] of names.entries()) {
    await tx.run(insertLabelRow, {
      id: first + index,
      dataset_id: dataset.id,
      principal: dataset.principal,
      name,
    });
  }
  return first;
}

export const createDataset = operation("dataset.create", async (tx, next: NewDataset) => {
  const { id } = await insertDataset(tx, next, false);
  return tx.all(datasetById, { principal: next.principal, id });
});

// ---- labels --------------------------------------------------------------------------------------------------------

export type CountedLabelRow = LabelRow & { readonly examples: number };

export const labelById = statement<Own>()((place) =>
  tables
    .selectFrom("label")
    .innerJoin("dataset", "dataset.id", "label.dataset_id")
    .selectAll("label")
    .select(LABEL_EXAMPLES.as("examples"))
    .where("label.id", "=", place("id"))
    .where("label.principal", "=", place("principal"))
    .where("dataset.deleted_at", "is", null)
    .where(LABEL_COUNTS),
);

export const getLabel = operation("dataset.getLabel", (tx, own: Own) => tx.get(labelById, own));

const labelByName = statement<{ dataset_id: number; name: string }>()((place) =>
  tables
    .selectFrom("label")
    .select("id")
    .where("dataset_id", "=", place("dataset_id"))
    .where("name", "=", place("name")),
);

/** Also a hidden one. */
export async function findLabel(tx: Transaction, datasetId: number, name: string) {
  return (await tx.get(labelByName, { dataset_id: datasetId, name }))?.id;
}

const labelCount = statement<{ dataset_id: number }>()((place) =>
  tables
    .selectFrom("label")
    .select((row) => row.fn.countAll<number>().as("labels"))
    .where("dataset_id", "=", place("dataset_id")),
);

type CreateLabelArgs = Parameters<DatasetStore["createLabel"]>[0];

export const createLabel = operation(
  "dataset.createLabel",
  async (tx, { principal, datasetId, name, now }: CreateLabelArgs) => {
    const dataset = await datasetHead(tx, { principal, id: datasetId });
    if (!dataset) return { kind: "unknown" } as const;
    if (dataset.state !== "ready") return { kind: dataset.state } as const;
    if ((await findLabel(tx, datasetId, name)) !== undefined) return { kind: "exists" } as const;
    const count = (await tx.get(labelCount, { dataset_id: datasetId }))?.labels ?? 0;
    if (count >= LABELS_MAX) return { kind: "full" } as const;
    const id = await insertLabels(tx, { principal, id: datasetId }, [name]);
    await touchDataset(tx, datasetId, now);
    return { kind: "created", row: { id, dataset_id: datasetId, principal, name, examples: 0 } } as const;
  },
);

// ---- examples of a training, deletion ------------------------------------------------------------------------------

const trainingExamples = (withFeedback: boolean) =>
  statement<Own>()((place) => {
    const all = tables
      .selectFrom("dataset")
      .innerJoin("example", "example.dataset_id", "dataset.id")
      .select(["example.blob", "example.label_id", "example.name"])
      .where("dataset.id", "=", place("id"))
      .where("dataset.principal", "=", place("principal"))
      .where("dataset.deleted_at", "is", null)
      .where(EXAMPLE_COUNTS)
      .orderBy("example.id");
    return withFeedback ? all : all.where("example.source", "=", sql.lit("upload"));
  });
const withFeedback = trainingExamples(true);
const withoutFeedback = trainingExamples(false);

export const examplesOf = operation("dataset.examplesOf", (tx, args: Own & { feedback: boolean }) =>
  tx.all(args.feedback ? withFeedback : withoutFeedback, args),
);

const hide = statement<{ id: number; deleted_at: number }>()((place) =>
  tables
    .updateTable("dataset")
    .set({ deleted_at: place("deleted_at") })
    .where("id", "=", place("id")),
);

export const deleteDataset = operation("dataset.delete", async (tx, row: DeletionRow) => {
  const id = Number(row.deleted);
  const dataset = await datasetHead(tx, { principal: row.principal, id });
  if (!dataset) return "unknown";
  if (dataset.state === "importing") return "importing";
  if (await tx.get(unfinishedOf, { dataset_id: id })) return "training";
  await tx.run(hide, { id, deleted_at: row.created_at });
  await tx.run(insertDeletion, row);
  return "deleted";
});

// ---- the store -----------------------------------------------------------------------------------------------------

export function datasetStore(database: Database): DatasetStore {
  return {
    create: async (next) => datasetFrom(await database.write(createDataset, next)),
    get: async (principal, id) => datasetsFrom(await database.scan(getDataset, { principal, id }))[0],
    list: async (query) => datasetsFrom(await database.scan(listDatasets, query)),
    createLabel: async (args) => {
      const reply = await database.write(createLabel, args);
      return reply.kind === "created" ? { kind: reply.kind, label: labelFrom(reply.row) } : reply;
    },
    getLabel: async (principal, id) => {
      const row = await database.scan(getLabel, { principal, id });
      return row && labelFrom(row);
    },
    examplesOf: async (principal, id, options) => {
      const rows = await database.scan(examplesOf, { principal, id, feedback: options.withFeedback });
      return rows.map(
        (row): TrainingExample => ({ blob: row.blob, labelId: row.label_id as LabelId, name: row.name }),
      );
    },
    delete: async ({ principal, id, deletionId, now }) => {
      const row: DeletionRow = {
        id: deletionId,
        principal,
        kind: "dataset",
        deleted: String(id),
        model_id: "",
        state: "queued",
        progress: 0,
        failure: "",
        created_at: now,
      };
      const kind = await database.write(deleteDataset, row);
      return kind === "deleted" ? { kind, deletion: deletionFrom(row) } : { kind };
    },
  };
}

/** The dataset of the rows of one. */
export function datasetFrom(rows: readonly LabelledRow[]): Dataset {
  const [dataset] = datasetsFrom(rows);
  if (!dataset) throw new Error("a dataset was not there in the transaction that wrote it");
  return dataset;
}

export function datasetsFrom(rows: readonly LabelledRow[]): Dataset[] {
  const labels = new Map<number, Label[]>();
  for (const row of rows) {
    const own = labels.get(row.id) ?? [];
    labels.set(row.id, own);
    if (row.label_id === null) continue;
    own.push(
      labelFrom({ id: row.label_id, dataset_id: row.id, name: row.label_name ?? "", examples: row.examples }),
    );
  }
  const firsts = rows.filter((row, index) => row.id !== rows[index - 1]?.id);
  return firsts.map((row) => ({
    id: row.id as DatasetId,
    principal: row.principal,
    name: row.name,
    type: row.type,
    state: stateFrom(row),
    labels: labels.get(row.id) ?? [],
    duplicateCount: row.duplicates,
    skipped: JSON.parse(row.skipped) as SkippedFiles,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }));
}

function stateFrom({ state, failure }: DatasetRow): DatasetState {
  return state === "importing" ? { kind: state } : { kind: state, failure };
}

export function labelFrom(row: Omit<CountedLabelRow, "principal">): Label {
  return {
    id: row.id as LabelId,
    datasetId: row.dataset_id as DatasetId,
    name: row.name,
    exampleCount: row.examples,
  };
}
