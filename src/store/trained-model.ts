/** Models that trainings make versions of: looked up, and deleted with their trainings. */
import { sql } from "kysely";
import type { TrainingStatus } from "../domain/training.ts";
import { deleteAlias } from "./alias.ts";
import { operation } from "./database.ts";
import { insertDeletion } from "./deletion.ts";
import type { DeletionRow } from "./schema.ts";
import { statement, tables } from "./statement.ts";
import { UNFINISHED } from "./training-row.ts";

/** Epochs deleted in one transaction: with 250 labels each may have 100 KB. */
const EPOCHS_PER_PURGE = 100;

const byName = statement<{ principal: string; name: string }>()((place) =>
  tables
    .selectFrom("trained_model")
    .selectAll()
    .where("name", "=", place("name"))
    .where("principal", "=", place("principal"))
    .where("deleted_at", "is", null),
);

export const getTrainedModel = operation("training.model", (tx, args: { principal: string; name: string }) =>
  tx.get(byName, args),
);

/** The training of a dataset that waits or runs. */
export const unfinishedOf = statement<{ dataset_id: number }>()((place) =>
  tables
    .selectFrom("training")
    .select(["id", "model"])
    .where("dataset_id", "=", place("dataset_id"))
    .where("status", "in", UNFINISHED),
);

const markDeleted = statement<{ name: string; now: number }>()((place) =>
  tables
    .updateTable("trained_model")
    .set({ deleted_at: place("now") })
    .where("name", "=", place("name")),
);

/** Of a model that is the principal's. */
type DeleteArgs = { readonly deletion: Omit<DeletionRow, "model_id">; readonly now: number };

export const deleteTrainedModel = operation("training.deleteModel", async (tx, args: DeleteArgs) => {
  const { deletion, now } = args;
  const { principal, deleted: name } = deletion;
  const model = await tx.get(byName, { principal, name });
  if (!model) return { kind: "unknown" } as const;
  const running = await tx.get(unfinishedOf, model);
  if (running?.model === name) return { kind: "busy" } as const;
  await tx.run(markDeleted, { name, now });
  await deleteAlias.run(tx, { principal, alias: model.model_id });
  const row: DeletionRow = { ...deletion, model_id: model.model_id };
  await tx.run(insertDeletion, row);
  return { kind: "deleted", row } as const;
});

const deleteEpochs = statement<{ model: string; limit: number }>()((place) =>
  tables.deleteFrom("epoch").where(
    (row) => row.refTuple("training_id", "epoch"),
    "in",
    (from) =>
      from
        .selectFrom("training")
        .innerJoin("epoch as old", "old.training_id", "training.id")
        .select(["old.training_id", "old.epoch"])
        .where("training.model", "=", place("model"))
        .limit(place("limit"))
        .$asTuple("training_id", "epoch"),
  ),
);

const deleteTrainings = statement<{ model: string }>()((place) =>
  tables.deleteFrom("training").where("model", "=", place("model")),
);

/** The model's row stays, so that nobody is ever given its name again. */
export const purgeTrainedModel = operation(
  "training.purgeModel",
  async (tx, { model }: { model: string }) => {
    const epochs = await tx.run(deleteEpochs, { model, limit: EPOCHS_PER_PURGE });
    if (epochs === EPOCHS_PER_PURGE) return false;
    await tx.run(deleteTrainings, { model });
    return true;
  },
);

const GIVEN_UP = sql<TrainingStatus>`('failed', 'canceled')`;

type PublishedBy = { readonly model: string; readonly training_id: string };

const givenUp = statement<PublishedBy>()((place) =>
  tables
    .selectFrom("training")
    .select("id")
    .where("id", "=", place("training_id"))
    .where("model", "=", place("model"))
    .where("status", "in", GIVEN_UP),
);

const deletedModel = statement<PublishedBy>()((place) =>
  tables
    .selectFrom("trained_model")
    .select("name")
    .where("name", "=", place("model"))
    .where("deleted_at", "is not", null),
);

export const isAbandoned = operation("training.isAbandoned", async (tx, args: PublishedBy) =>
  Boolean((await tx.get(givenUp, args)) ?? (await tx.get(deletedModel, args))),
);
