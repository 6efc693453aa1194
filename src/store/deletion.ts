/** Deletions: what was asked for is hidden at once, and its rows go behind the call, a part at a time. */
import { sql } from "kysely";
import type { Deletion } from "../domain/dataset.ts";
import { firstIdOf } from "../domain/id.ts";
import { type Database, operation } from "./database.ts";
import type { DeletionStore } from "./dataset-store.ts";
import type { DeletionRow } from "./schema.ts";
import { places, statement, tables } from "./statement.ts";

const COLUMNS = [
  "id",
  "principal",
  "kind",
  "deleted",
  "model_id",
  "state",
  "progress",
  "failure",
  "created_at",
] as const satisfies readonly (keyof DeletionRow)[];

/** Belongs into the transaction that hides what is to be deleted. */
export const insertDeletion = statement<DeletionRow>()((place) =>
  tables.insertInto("deletion").values(places(COLUMNS, place)),
);

const byId = statement<{ principal: string; id: string }>()((place) =>
  tables
    .selectFrom("deletion")
    .selectAll()
    .where("id", "=", place("id"))
    .where("principal", "=", place("principal")),
);

export const getDeletion = operation("deletion.get", (tx, args: { principal: string; id: string }) =>
  tx.get(byId, args),
);

/** Said as deletion_unfinished says it, which covers nothing else. */
const UNFINISHED = sql<boolean>`state in ('queued', 'running')`;

const unfinished = statement<{ limit: number }>()((place) =>
  tables.selectFrom("deletion").selectAll().where(UNFINISHED).orderBy("id").limit(place("limit")),
);

export const unfinishedDeletions = operation("deletion.unfinished", (tx, args: { limit: number }) =>
  tx.all(unfinished, args),
);

type Progress = Pick<DeletionRow, "id" | "state" | "progress" | "failure">;

const update = statement<Progress>()((place) =>
  tables
    .updateTable("deletion")
    .set(places(["state", "progress", "failure"], place))
    .where("id", "=", place("id"))
    .where(UNFINISHED),
);

export const recordDeletion = operation("deletion.record", (tx, args: Progress) => tx.run(update, args));

const exampleCount = statement<{ dataset_id: number }>()((place) =>
  tables
    .selectFrom("example")
    .select((row) => row.fn.countAll<number>().as("examples"))
    .where("dataset_id", "=", place("dataset_id")),
);

export const countExamples = operation(
  "deletion.countExamples",
  async (tx, args: { dataset_id: number }) => (await tx.get(exampleCount, args))?.examples ?? 0,
);

const deleteExamples = statement<{ dataset_id: number; limit: number }>()((place) =>
  tables
    .deleteFrom("example")
    .where("id", "in", (from) =>
      from
        .selectFrom("example as doomed")
        .select("doomed.id")
        .where("doomed.dataset_id", "=", place("dataset_id"))
        .limit(place("limit")),
    ),
);

// The few labels go with it: their foreign key cascades.
const deleteDatasetRow = statement<{ dataset_id: number }>()((place) =>
  tables.deleteFrom("dataset").where("id", "=", place("dataset_id")).where("deleted_at", "is not", null),
);

export const purgeDataset = operation(
  "deletion.purgeDataset",
  async (tx, args: { dataset_id: number; limit: number }) => {
    if ((await tx.run(deleteExamples, args)) === args.limit) return false;
    await tx.run(deleteDatasetRow, args);
    return true;
  },
);

// Ids rise with time, so those below one are those before a moment.
const deleteOld = statement<{ before: string; limit: number }>()((place) =>
  tables
    .deleteFrom("deletion")
    .where("id", "in", (from) =>
      from
        .selectFrom("deletion as old")
        .select("old.id")
        .where("old.id", "<", place("before"))
        .where("old.state", "in", ["succeeded", "failed"])
        .orderBy("old.id")
        .limit(place("limit")),
    ),
);

export const deleteEndedDeletions = operation(
  "deletion.deleteEnded",
  (tx, args: { before: string; limit: number }) => tx.run(deleteOld, args),
);

export function deletionStore(database: Database): DeletionStore {
  return {
    get: async (principal, id) => {
      const row = await database.read(getDeletion, { principal, id });
      return row && deletionFrom(row);
    },
    unfinished: async (limit) => (await database.read(unfinishedDeletions, { limit })).map(deletionFrom),
    record: async ({ id }, { state, progress, failure }) => {
      await database.write(recordDeletion, { id, state, progress, failure });
    },
    countExamples: (datasetId) => database.scan(countExamples, { dataset_id: datasetId }),
    purgeDataset: (datasetId, limit) => database.write(purgeDataset, { dataset_id: datasetId, limit }),
    deleteEnded: ({ askedBefore, limit }) =>
      database.write(deleteEndedDeletions, { before: firstIdOf(askedBefore / 1000), limit }),
  };
}

export function deletionFrom(row: DeletionRow): Deletion {
  return {
    id: row.id,
    principal: row.principal,
    kind: row.kind,
    deleted: row.deleted,
    modelId: row.model_id,
    state: row.state,
    progress: row.progress,
    failure: row.failure,
    createdAt: row.created_at,
  };
}
