/** A training on its way: claimed, moved on and ended, each in one conditional update that wins or loses. */
import { sql } from "kysely";
import { operation, type Transaction } from "./database.ts";
import type { EpochRow, TrainingRow } from "./schema.ts";
import { type Place, statement, tables } from "./statement.ts";
import { type JoinedRow, trainings, UNFINISHED } from "./training-row.ts";
import { trainingById } from "./training-start.ts";

const byIdAlone = statement<{ id: string }>()((place) => trainings.where("training.id", "=", place("id")));

const claimOldest = statement<{ now: number }>()((place) =>
  tables
    .updateTable("training")
    .set({
      status: sql.lit("running"),
      revision: sql`revision + 1`,
      attempt: sql`attempt + 1`,
      updated_at: place("now"),
      started_at: place("now"),
    })
    .where("id", "=", (from) =>
      from
        .selectFrom("training as queued")
        .select("queued.id")
        .where("queued.status", "in", UNFINISHED)
        .where("queued.status", "=", sql.lit("queued"))
        .orderBy("queued.id")
        .limit(1),
    )
    .returning("id"),
);

export const claimTraining = operation("training.claim", async (tx, args: { now: number }) => {
  const claimed = await tx.get(claimOldest, args);
  return claimed && tx.get(byIdAlone, claimed);
});

const interrupted = statement<object>()(() =>
  trainings
    .where("training.status", "in", UNFINISHED)
    .where("training.status", "=", sql.lit("running"))
    .orderBy("training.id"),
);

interface RunningKey {
  readonly id: string;
  readonly attempt: number;
}

/** Everything of a change but what it sets: only of the attempt that is made now, and only while it runs. */
function change<P extends RunningKey & { readonly now: number }>(place: Place<P>) {
  return tables
    .updateTable("training")
    .set({ revision: sql`revision + 1`, updated_at: place("now") })
    .where("id", "=", place("id"))
    .where("attempt", "=", place("attempt"))
    .where("status", "=", sql.lit("running"));
}

const raiseAttempt = statement<RunningKey & { now: number }>()((place) =>
  change(place).set({ attempt: sql`attempt + 1` }),
);

interface TakeUpArgs {
  readonly now: number;
  readonly attemptsMax: number;
  readonly failure: string;
}

export const takeUpTrainings = operation("training.takeUp", async (tx, args: TakeUpArgs) => {
  const { now, attemptsMax, failure } = args;
  const taken: JoinedRow[] = [];
  for (const { id, attempt, stats, version } of await tx.all(interrupted, {})) {
    if (attempt >= attemptsMax) {
      await end(tx, { id, attempt, now, status: "failed", failure, stats, version });
    } else await tx.run(raiseAttempt, { id, attempt, now });
    const row = await tx.get(byIdAlone, { id });
    if (row) taken.push(row);
  }
  return taken;
});

const checkpointOf = statement<{ id: string }>()((place) =>
  tables.selectFrom("training").select("checkpoint").where("id", "=", place("id")),
);

export const getCheckpoint = operation("training.checkpoint", (tx, args: { id: string }) =>
  tx.get(checkpointOf, args),
);

const setCheckpoint = statement<RunningKey & { now: number; checkpoint: Uint8Array }>()((place) =>
  change(place).set({ checkpoint: place("checkpoint"), last_epoch: null }),
);

const deleteEpochs = statement<{ training_id: string }>()((place) =>
  tables.deleteFrom("epoch").where("training_id", "=", place("training_id")),
);

type RestartArgs = RunningKey & { readonly now: number; readonly checkpoint: Uint8Array };

export const restartTraining = operation("training.restart", async (tx, args: RestartArgs) => {
  if ((await tx.run(setCheckpoint, args)) === 0) return false;
  await tx.run(deleteEpochs, { training_id: args.id });
  return true;
});

type Advance = RunningKey &
  Pick<TrainingRow, "progress" | "options" | "last_epoch" | "checkpoint"> & { readonly now: number };

const moveOn = statement<Advance>()((place) =>
  change(place).set({
    progress: place("progress"),
    options: place("options"),
    last_epoch: sql`coalesce(${place("last_epoch")}, last_epoch)`,
    checkpoint: sql`coalesce(${place("checkpoint")}, checkpoint)`,
  }),
);

/** A training that goes on from a checkpoint comes by its later epochs again. */
const upsertEpoch = statement<Omit<EpochRow, "results">>()((place) =>
  tables
    .insertInto("epoch")
    .values({
      training_id: place("training_id"),
      epoch: place("epoch"),
      metrics: place("metrics"),
      results: sql.lit("[]"),
    })
    .onConflict((on) => on.columns(["training_id", "epoch"]).doUpdateSet({ metrics: place("metrics") })),
);

export type EpochText = Pick<EpochRow, "epoch" | "metrics">;
type AdvanceArgs = Advance & { readonly epochs: readonly EpochText[] };

export const advanceTraining = operation("training.advance", async (tx, { epochs, ...args }: AdvanceArgs) => {
  if ((await tx.run(moveOn, args)) === 0) return false;
  for (const { epoch, metrics } of epochs)
    await tx.run(upsertEpoch, { training_id: args.id, epoch, metrics });
  return true;
});

type End = RunningKey &
  Pick<TrainingRow, "status" | "failure" | "stats" | "version"> & { readonly now: number };

const settleRow = statement<End>()((place) =>
  change(place).set({
    status: place("status"),
    failure: place("failure"),
    stats: place("stats"),
    version: place("version"),
    progress: sql`case when ${place("status")} = 'succeeded' then 1 else progress end`,
    ended_at: place("now"),
    checkpoint: null,
  }),
);

const setResults = statement<Omit<EpochRow, "metrics">>()((place) =>
  tables
    .updateTable("epoch")
    .set({ results: place("results") })
    .where("training_id", "=", place("training_id"))
    .where("epoch", "=", place("epoch")),
);

const deleteOlderEpochs = statement<{ id: string }>()((place) =>
  tables
    .deleteFrom("epoch")
    .where("training_id", "in", (from) =>
      from
        .selectFrom("training as older")
        .innerJoin("training as newer", "newer.model", "older.model")
        .select("older.id")
        .where("newer.id", "=", place("id"))
        .whereRef("older.id", "<", "newer.id"),
    ),
);

async function end(tx: Transaction, row: End): Promise<boolean> {
  if ((await tx.run(settleRow, row)) === 0) return false;
  if (row.status === "succeeded") await tx.run(deleteOlderEpochs, row);
  else await tx.run(deleteEpochs, { training_id: row.id });
  return true;
}

/** `epoch` is the last one; 0 for none. */
type SettleArgs = End & Pick<EpochRow, "epoch" | "results">;

export const settleTraining = operation("training.settle", async (tx, args: SettleArgs) => {
  const { epoch, results, ...row } = args;
  if (!(await end(tx, row))) return false;
  if (epoch > 0) await tx.run(setResults, { training_id: row.id, epoch, results });
  return true;
});

const cancelRow = statement<{ principal: string; id: string; now: number }>()((place) =>
  tables
    .updateTable("training")
    .set({
      status: sql.lit("canceled"),
      revision: sql`revision + 1`,
      updated_at: place("now"),
      ended_at: place("now"),
      checkpoint: null,
    })
    .where("id", "=", place("id"))
    .where("principal", "=", place("principal"))
    .where("status", "in", UNFINISHED),
);

type CancelArgs = { readonly principal: string; readonly id: string; readonly now: number };

export const cancelTraining = operation("training.cancel", async (tx, args: CancelArgs) => {
  if ((await tx.run(cancelRow, args)) === 0) return undefined;
  await tx.run(deleteEpochs, { training_id: args.id });
  return tx.get(trainingById, args);
});

const lowerAttempt = statement<RunningKey>()((place) =>
  tables
    .updateTable("training")
    .set({ attempt: sql`attempt - 1` })
    .where("id", "=", place("id"))
    .where("attempt", "=", place("attempt"))
    .where("status", "=", sql.lit("running")),
);

export const giveBackTraining = operation("training.giveBack", (tx, args: RunningKey) =>
  tx.run(lowerAttempt, args),
);
