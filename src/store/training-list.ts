/** Pages of trainings and of epochs, and a model's latest training. */
import { sql } from "kysely";
import { operation } from "./database.ts";
import { type Statement, statement, tables } from "./statement.ts";
import { type JoinedRow, trainings } from "./training-row.ts";

type OfModel = { readonly principal: string; readonly model: string };

function latestOf(succeeded: boolean): Statement<OfModel, JoinedRow> {
  return statement<OfModel>()((place) => {
    const all = trainings
      .where("training.model", "=", place("model"))
      .where("training.principal", "=", place("principal"))
      .where("trained_model.deleted_at", "is", null)
      .orderBy("training.id", "desc")
      .limit(1);
    return succeeded ? all.where("training.status", "=", sql.lit("succeeded")) : all;
  });
}

const latest = latestOf(false);
const latestSuccess = latestOf(true);

export const latestTraining = operation("training.latest", (tx, args: OfModel & { succeeded: boolean }) =>
  tx.get(args.succeeded ? latestSuccess : latest, args),
);

interface PageParams {
  readonly principal: string;
  readonly dataset_id: number;
  readonly after: string;
  readonly skip: number;
  readonly limit: number;
}

/** One statement with the dataset and one without, so that each finds the index that is made for it. */
function page(ofDataset: boolean): Statement<PageParams, JoinedRow> {
  return statement<PageParams>()((place) => {
    const all = trainings
      .innerJoin("dataset", "dataset.id", "trained_model.dataset_id")
      .where("dataset.deleted_at", "is", null)
      .where("trained_model.principal", "=", place("principal"))
      .where("trained_model.deleted_at", "is", null)
      .where("trained_model.id", ">", place("after"))
      .where("training.id", "=", (from) =>
        from
          .selectFrom("training as newest")
          .select("newest.id")
          .whereRef("newest.model", "=", "trained_model.name")
          .orderBy("newest.id", "desc")
          .limit(1),
      )
      .orderBy("trained_model.id")
      .limit(place("limit"))
      .offset(place("skip"));
    return ofDataset ? all.where("trained_model.dataset_id", "=", place("dataset_id")) : all;
  });
}

const pageOfAll = page(false);
const pageOfDataset = page(true);

export const listTrainings = operation("training.list", (tx, args: PageParams) =>
  tx.all(args.dataset_id === 0 ? pageOfAll : pageOfDataset, args),
);

type EpochParams = {
  readonly training_id: string;
  readonly after: number;
  readonly skip: number;
  readonly limit: number;
};

const epochPage = statement<EpochParams>()((place) =>
  tables
    .selectFrom("epoch")
    .select(["epoch", "metrics", "results"])
    .where("training_id", "=", place("training_id"))
    .where("epoch", ">", place("after"))
    .orderBy("epoch")
    .limit(place("limit"))
    .offset(place("skip")),
);

export const listEpochs = operation("training.epochs", (tx, args: EpochParams) => tx.all(epochPage, args));
