/**
 * Webhook deliveries. Of one prediction at most one is under way, and they are first tried in the order of their
 * revisions; one that failed gives way as soon as a later one is due, so that a `pending` that nobody takes never
 * holds back `succeeded`.
 */
import { sql } from "kysely";
import type { Delivery, DeliveryState, NewDelivery } from "../domain/webhook.ts";
import { type Database, operation } from "./database.ts";
import type { DeliveryRow } from "./schema.ts";
import { places, statement, tables } from "./statement.ts";
import type { DeliveryStore } from "./store.ts";

/**
 * Microseconds after which a delivery that was taken and never recorded is due again: its dispatcher is gone. Far
 * above what one attempt may take, or it would be posted twice at once.
 */
const TAKEN_MAX_US = 120_000_000;

const COLUMNS = [
  "id",
  "prediction_id",
  "principal",
  "revision",
  "url",
  "secret",
  "format",
  "terminal",
  "created_at",
  "state",
  "attempts",
  "next_at",
  "reason",
  "taken_until",
  "body",
] as const satisfies readonly (keyof DeliveryRow)[];

export const insertDelivery = statement<DeliveryRow>()((place) =>
  tables
    .insertInto("delivery")
    .values(places(COLUMNS, place))
    .onConflict((on) => on.column("id").doNothing()),
);

export const insertDeliveries = operation("delivery.insert", async (tx, rows: readonly DeliveryRow[]) => {
  for (const row of rows) await tx.run(insertDelivery, row);
});

const releaseExpired = statement<{ now: number }>()((place) =>
  tables
    .updateTable("delivery")
    .set({ taken_until: 0 })
    .where("taken_until", ">", sql.lit(0))
    .where("taken_until", "<=", place("now")),
);

/**
 * Due and not behind an earlier one of the same prediction that is under way or was never tried. Built anew for each
 * statement that begins with it.
 */
function unblocked() {
  return tables
    .selectFrom("delivery as due")
    .where("due.state", "=", sql.lit("due"))
    .where("due.taken_until", "=", sql.lit(0))
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("delivery as earlier")
            .select("earlier.id")
            .whereRef("earlier.prediction_id", "=", "due.prediction_id")
            .whereRef("earlier.revision", "<", "due.revision")
            .where("earlier.state", "=", sql.lit("due"))
            .where((is) =>
              is.or([
                is("earlier.taken_until", ">", 0),
                is("earlier.attempts", "=", 0),
                is("earlier.terminal", "=", 1),
              ]),
            ),
        ),
      ),
    );
}

/** Without those that failed and have a later one due: they are superseded as soon as that is taken. */
const candidates = statement<{ now: number; limit: number }>()((place) =>
  unblocked()
    .selectAll("due")
    .where("due.next_at", "<=", place("now"))
    .where(({ or, eb, not, exists, selectFrom }) =>
      or([
        eb("due.attempts", "=", 0),
        eb("due.terminal", "=", 1),
        not(
          exists(
            selectFrom("delivery as later")
              .select("later.id")
              .whereRef("later.prediction_id", "=", "due.prediction_id")
              .whereRef("later.revision", ">", "due.revision")
              .where("later.state", "=", sql.lit("due"))
              .where("later.next_at", "<=", place("now")),
          ),
        ),
      ]),
    )
    .orderBy("due.next_at")
    .limit(place("limit"))
    .forUpdate()
    .skipLocked(),
);

const supersedeEarlier = statement<{ prediction_id: string; revision: number }>()((place) =>
  tables
    .updateTable("delivery")
    .set({ state: "abandoned", reason: "superseded", next_at: null })
    .where("prediction_id", "=", place("prediction_id"))
    .where("revision", "<", place("revision"))
    .where("state", "=", sql.lit("due")),
);

const take = statement<{ id: string; until: number }>()((place) =>
  tables
    .updateTable("delivery")
    .set({ taken_until: place("until") })
    .where("id", "=", place("id")),
);

export const takeDue = operation("delivery.takeDue", async (tx, args: { now: number; limit: number }) => {
  await tx.run(releaseExpired, { now: args.now });
  const rows = await tx.all(candidates, args);
  for (const { id, prediction_id, revision } of rows) {
    await tx.run(supersedeEarlier, { prediction_id, revision });
    await tx.run(take, { id, until: args.now + TAKEN_MAX_US });
  }
  return rows;
});

type StateColumns = Pick<DeliveryRow, "state" | "attempts" | "next_at" | "reason">;

const setState = statement<StateColumns & { id: string }>()((place) =>
  tables
    .updateTable("delivery")
    .set({
      state: place("state"),
      attempts: place("attempts"),
      next_at: place("next_at"),
      reason: place("reason"),
      taken_until: 0,
    })
    .where("id", "=", place("id"))
    // Retention or an abandonment may have been first; what ended stays ended.
    .where("state", "=", sql.lit("due")),
);

export const recordDelivery = operation("delivery.record", (tx, args: StateColumns & { id: string }) =>
  tx.run(setState, args),
);

const firstDue = statement<object>()(() => unblocked().select("due.next_at").orderBy("due.next_at").limit(1));

const firstTaken = statement<object>()(() =>
  tables
    .selectFrom("delivery")
    .select("taken_until")
    .where("taken_until", ">", sql.lit(0))
    .orderBy("taken_until")
    .limit(1),
);

export const nextDueAt = operation("delivery.nextDueAt", async (tx, _: object) => {
  const due = (await tx.get(firstDue, {}))?.next_at ?? Number.POSITIVE_INFINITY;
  const lost = (await tx.get(firstTaken, {}))?.taken_until ?? Number.POSITIVE_INFINITY;
  const next = Math.min(due, lost);
  return next === Number.POSITIVE_INFINITY ? undefined : next;
});

const ofPrediction = statement<{ principal: string; prediction_id: string }>()((place) =>
  tables
    .selectFrom("delivery")
    .selectAll()
    .where("prediction_id", "=", place("prediction_id"))
    .where("principal", "=", place("principal"))
    .orderBy("revision"),
);

export const listDeliveries = operation(
  "delivery.list",
  (tx, args: { principal: string; prediction_id: string }) => tx.all(ofPrediction, args),
);

const releaseAll = statement<object>()(() =>
  tables.updateTable("delivery").set({ taken_until: 0 }).where("taken_until", ">", sql.lit(0)),
);

/** For the start of a server that has the database to itself: no attempt of an earlier one is still under way. */
export const releaseDeliveries = operation("delivery.releaseAll", (tx, _: object) => tx.run(releaseAll, {}));

export function deliveryStore(database: Database): DeliveryStore {
  return {
    insert: async (deliveries) => {
      if (deliveries.length > 0) await database.write(insertDeliveries, deliveries.map(newDeliveryRow));
    },
    takeDue: async (args) => (await database.write(takeDue, args)).map(deliveryFrom),
    record: async ({ id, state }) => {
      await database.write(recordDelivery, { id, ...stateColumns(state) });
    },
    nextDueAt: () => database.read(nextDueAt, {}),
    list: async (principal, predictionId) =>
      (await database.scan(listDeliveries, { principal, prediction_id: predictionId })).map(deliveryFrom),
  };
}

export function newDeliveryRow(delivery: NewDelivery): DeliveryRow {
  return {
    id: delivery.id,
    prediction_id: delivery.predictionId,
    principal: delivery.principal,
    revision: delivery.revision,
    url: delivery.url,
    secret: delivery.secret,
    format: delivery.format,
    terminal: delivery.terminal ? 1 : 0,
    created_at: delivery.createdAt,
    ...stateColumns({ kind: "due", attempts: 0, nextAt: delivery.createdAt }),
    taken_until: 0,
    body: delivery.body,
  };
}

function stateColumns(state: DeliveryState): StateColumns {
  const { kind, attempts } = state;
  switch (kind) {
    case "due":
      return { state: kind, attempts, next_at: state.nextAt, reason: "" };
    case "delivered":
      return { state: kind, attempts, next_at: null, reason: "" };
    case "abandoned":
      return { state: kind, attempts, next_at: null, reason: state.reason };
    default:
      return state satisfies never;
  }
}

function deliveryFrom(row: DeliveryRow): Delivery {
  return {
    id: row.id,
    predictionId: row.prediction_id,
    principal: row.principal,
    revision: row.revision,
    url: row.url,
    secret: row.secret,
    format: row.format,
    body: row.body,
    terminal: row.terminal === 1,
    createdAt: row.created_at,
    state: stateFrom(row),
  };
}

function stateFrom({ state, attempts, next_at, reason }: StateColumns): DeliveryState {
  switch (state) {
    case "due":
      return { kind: state, attempts, nextAt: next_at ?? 0 };
    case "delivered":
      return { kind: state, attempts };
    case "abandoned":
      return { kind: state, attempts, reason };
    default:
      return state satisfies never;
  }
}
