/** Queueing a training, of a new model or of one that there is; what speaks against it is found in the same transaction. */
import { sql } from "kysely";
import { setAlias } from "./alias.ts";
import { operation, type Transaction } from "./database.ts";
import type { DatasetRow, TrainedModelRow, TrainingRow } from "./schema.ts";
import { takeNumbers } from "./sequence.ts";
import { places, statement, tables } from "./statement.ts";
import { getTrainedModel, unfinishedOf } from "./trained-model.ts";
import { type JoinedRow, trainings } from "./training-row.ts";
import type { StartResult } from "./training-store.ts";

export const trainingById = statement<{ principal: string; id: string }>()((place) =>
  trainings.where("training.id", "=", place("id")).where("training.principal", "=", place("principal")),
);

export const getTraining = operation("training.get", (tx, args: { principal: string; id: string }) =>
  tx.get(trainingById, args),
);

const datasetById = statement<{ principal: string; dataset_id: number }>()((place) =>
  tables
    .selectFrom("dataset")
    .select(["state", "import_id", "type", "deleted_at"])
    .where("id", "=", place("dataset_id"))
    .where("principal", "=", place("principal")),
);

const MODEL_COLUMNS = [
  "name",
  "principal",
  "id",
  "model_id",
  "dataset_id",
  "type",
  "created_at",
] as const satisfies readonly (keyof TrainedModelRow)[];

type NewModelRow = Pick<TrainedModelRow, (typeof MODEL_COLUMNS)[number]>;

const insertModel = statement<NewModelRow>()((place) =>
  tables.insertInto("trained_model").values({ ...places(MODEL_COLUMNS, place), deleted_at: null }),
);

const TRAINING_COLUMNS = [
  "id",
  "principal",
  "model",
  "name",
  "dataset_id",
  "options",
  "params",
  "created_at",
] as const satisfies readonly (keyof TrainingRow)[];

type NewTrainingRow = Pick<TrainingRow, (typeof TRAINING_COLUMNS)[number]>;

const insertTraining = statement<NewTrainingRow>()((place) =>
  tables.insertInto("training").values({
    ...places(TRAINING_COLUMNS, place),
    status: sql.lit("queued"),
    revision: sql.lit(1),
    attempt: sql.lit(0),
    progress: sql.lit(0),
    failure: sql.lit(""),
    version: sql.lit(0),
    updated_at: place("created_at"),
  }),
);

type Refusal = Exclude<StartResult, { kind: "started" }>;
export type StartReply = { readonly kind: "started"; readonly row: JoinedRow } | Refusal;

type DatasetOf = Pick<DatasetRow, "type" | "state" | "import_id" | "deleted_at">;

async function refusal(
  tx: Transaction,
  dataset: DatasetOf | undefined,
  datasetId: number,
): Promise<Refusal | undefined> {
  if (!dataset) return { kind: "unknown" };
  if (dataset.deleted_at !== null) return { kind: "deleted" };
  if (dataset.state === "importing" || dataset.import_id !== null) return { kind: "importing" };
  if (dataset.state === "failed") return { kind: "failed" };
  return (await tx.get(unfinishedOf, { dataset_id: datasetId })) ? { kind: "busy" } : undefined;
}

async function enqueue(tx: Transaction, row: NewTrainingRow): Promise<StartReply> {
  await tx.run(insertTraining, row);
  const written = await tx.get(trainingById, row);
  if (!written) throw new Error("a training that was just written is not there");
  return { kind: "started", row: written };
}

interface StartArgs {
  readonly training: Omit<NewTrainingRow, "model">;
  readonly model: Pick<TrainedModelRow, "id" | "model_id"> & { readonly slug: string };
}

export const startTraining = operation("training.start", async (tx, { training, model }: StartArgs) => {
  const { principal, dataset_id, created_at } = training;
  const dataset = await tx.get(datasetById, { principal, dataset_id });
  const refused = await refusal(tx, dataset, dataset_id);
  if (refused || !dataset) return refused ?? ({ kind: "unknown" } as const);
  const name = `${principal}/${model.slug}-${await takeNumbers(tx, 1)}`;
  const { id, model_id } = model;
  await tx.run(insertModel, { name, principal, id, model_id, dataset_id, type: dataset.type, created_at });
  await setAlias.run(tx, { principal, alias: model_id, target: name });
  return enqueue(tx, { ...training, model: name });
});

/** A model's trainings share the name that its first one was given. */
const firstOf = statement<{ model: string }>()((place) =>
  tables.selectFrom("training").select("name").where("model", "=", place("model")).orderBy("id").limit(1),
);

type RetrainArgs = Omit<NewTrainingRow, "dataset_id" | "name">;

export const retrainModel = operation("training.retrain", async (tx, args: RetrainArgs) => {
  const { principal, model } = args;
  const trained = await getTrainedModel.run(tx, { principal, name: model });
  if (!trained) return { kind: "unknown" } as const;
  const { dataset_id } = trained;
  const dataset = await tx.get(datasetById, { principal, dataset_id });
  // A model's dataset was there once: where no row is left it was deleted long ago.
  const refused = dataset ? await refusal(tx, dataset, dataset_id) : ({ kind: "deleted" } as const);
  if (refused) return refused;
  const name = (await tx.get(firstOf, { model }))?.name ?? model;
  return enqueue(tx, { ...args, dataset_id, name });
});
