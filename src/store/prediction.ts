/** Predictions: their rows, and the operations that write them first, move them on and delete them at last. */
import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import type { PredictionId } from "../domain/id.ts";
import {
  isTerminal,
  type Lease,
  type Prediction,
  type PredictionError,
  type PredictionSummary,
  type WebhookTarget,
} from "../domain/prediction.ts";
import { type TurnRows, turnRows, writeTurn } from "./chat-message.ts";
import { claim, nextClaimAt, renew } from "./claim.ts";
import { type Database, operation, type Transaction } from "./database.ts";
import { insertDelivery, newDeliveryRow } from "./delivery.ts";
import { imageRow, insertImage } from "./image.ts";
import { decodePayload, encodePayload, encodePayloads } from "./payload.ts";
import { countByModel, listPredictions, type SummaryRow } from "./prediction-list.ts";
import type { DeliveryRow, ImageRow, PredictionRow } from "./schema.ts";
import { type Place, places, statement, tables } from "./statement.ts";
import type { InsertResult, PredictionStore, TransitionGuard } from "./store.ts";

const MUTABLE_COLUMNS = [
  "status",
  "revision",
  "attempt",
  "deaths",
  "error",
  "updated_at",
  "started_at",
  "ended_at",
  "setup_time",
  "execution_time",
  "output",
] as const satisfies readonly (keyof PredictionRow)[];

const COLUMNS = [
  ...MUTABLE_COLUMNS,
  "id",
  "principal",
  "model",
  "version",
  "created_at",
  "deadline_at",
  "request_id",
  "request_hash",
  "webhook",
  "lease_token",
  "lease_expires_at",
  "input",
] as const satisfies readonly (keyof PredictionRow)[];

const insertRow = statement<PredictionRow>()((place) =>
  tables
    .insertInto("prediction")
    .values(places(COLUMNS, place))
    .onConflict((on) =>
      on.columns(["principal", "request_id"]).where("request_id", "!=", sql.lit("")).doNothing(),
    ),
);

const byRequest = statement<{ principal: string; request_id: string }>()((place) =>
  tables
    .selectFrom("prediction")
    .selectAll()
    .where("principal", "=", place("principal"))
    .where("request_id", "=", place("request_id"))
    .where("request_id", "!=", sql.lit("")),
);

interface InsertArgs {
  readonly row: PredictionRow;
  readonly deliveries: readonly DeliveryRow[];
  readonly images: readonly ImageRow[];
  readonly turn: TurnRows | undefined;
  readonly queueMax: number;
}

type InsertReply = Exclude<InsertResult, { kind: "duplicate" }> | { kind: "duplicate"; row: PredictionRow };

export const insertPrediction = operation("prediction.insert", async (tx, args: InsertArgs) => {
  const { row, queueMax } = args;
  const unfinished = !isTerminal(row.status);
  const full = unfinished && tx.unfinished >= queueMax;
  // A repeated request gets its prediction also while the queue is full.
  if (full || (await tx.run(insertRow, row)) === 0) return refusal(tx, row);
  if (unfinished) tx.unfinished += 1;
  for (const delivery of args.deliveries) await tx.run(insertDelivery, delivery);
  for (const image of args.images) await tx.run(insertImage, image);
  if (args.turn) await writeTurn(tx, args.turn);
  return { kind: "inserted" } as InsertReply;
});

async function refusal(tx: Transaction, row: PredictionRow): Promise<InsertReply> {
  const existing = await tx.get(byRequest, { principal: row.principal, request_id: row.request_id });
  return existing ? { kind: "duplicate", row: existing } : { kind: "full" };
}

const byId = statement<{ principal: string; id: string }>()((place) =>
  tables
    .selectFrom("prediction")
    .selectAll()
    .where("id", "=", place("id"))
    .where("principal", "=", place("principal")),
);

export const getPredictionByRequest = operation(
  "prediction.getByRequest",
  (tx, args: { principal: string; request_id: string }) => tx.get(byRequest, args),
);

export const getPrediction = operation("prediction.get", (tx, args: { principal: string; id: string }) =>
  tx.get(byId, args),
);

type MutableRow = Pick<PredictionRow, (typeof MUTABLE_COLUMNS)[number]>;
type Change = MutableRow & { readonly id: string; readonly terminal: number };

/** Everything of a transition but its guard. */
function change(place: Place<Change>) {
  const kept = (column: "lease_token" | "lease_expires_at") =>
    sql<never>`case when ${place("terminal")} = 1 then null else ${sql.ref(column)} end`;
  return tables
    .updateTable("prediction")
    .set({
      ...places(MUTABLE_COLUMNS, place),
      lease_token: kept("lease_token"),
      lease_expires_at: kept("lease_expires_at"),
    })
    .where("id", "=", place("id"));
}

const changeUnderLease = statement<Change & { guard: string }>()((place) =>
  change(place).where("status", "=", sql.lit("started")).where("lease_token", "=", place("guard")),
);

const changeAtRevision = statement<Change & { guard: number }>()((place) =>
  change(place).where("status", "in", ["pending", "started"]).where("revision", "=", place("guard")),
);

interface TransitionArgs {
  readonly change: Change;
  readonly guard: TransitionGuard;
  readonly deliveries: readonly DeliveryRow[];
  readonly turn: TurnRows | undefined;
}

export const transition = operation("prediction.transition", async (tx, args: TransitionArgs) => {
  if ((await guardedChange(tx, args.change, args.guard)) === 0) return false;
  if (args.change.terminal === 1) tx.unfinished -= 1;
  for (const delivery of args.deliveries) await tx.run(insertDelivery, delivery);
  if (args.turn) await writeTurn(tx, args.turn);
  return true;
});

function guardedChange(tx: Transaction, change: Change, guard: TransitionGuard): Promise<number> {
  switch (guard.kind) {
    case "lease":
      return tx.run(changeUnderLease, { ...change, guard: guard.token });
    case "revision":
      return tx.run(changeAtRevision, { ...change, guard: guard.revision });
    default:
      return guard satisfies never;
  }
}

// Deliveries and own images go with the row: their foreign keys cascade.
const deleteOld = statement<{ ended_before: number; limit: number }>()((place) =>
  tables.deleteFrom("prediction").where("id", "in", (from) =>
    from
      .selectFrom("prediction as old")
      .select("old.id")
      .where("old.ended_at", "is not", null)
      .where("old.ended_at", "<", place("ended_before"))
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom("delivery")
              .select("delivery.id")
              .whereRef("delivery.prediction_id", "=", "old.id")
              .where("delivery.state", "=", sql.lit("due")),
          ),
        ),
      )
      .orderBy("old.ended_at")
      .limit(place("limit")),
  ),
);

export const deleteEnded = operation(
  "prediction.deleteEnded",
  (tx, args: { ended_before: number; limit: number }) => tx.run(deleteOld, args),
);

const unfinishedRows = statement<object>()(() =>
  tables
    .selectFrom((from) =>
      from
        .selectFrom("prediction")
        .select("id")
        .where("status", "=", sql.lit("pending"))
        .unionAll(from.selectFrom("prediction").select("id").where("status", "=", sql.lit("started")))
        .as("unfinished"),
    )
    .select((row) => row.fn.countAll<number>().as("rows")),
);

/** For a transaction's `unfinished` when it opens the database; from then on the operations keep it. */
export async function countUnfinished(tx: Transaction): Promise<number> {
  return (await tx.get(unfinishedRows, {}))?.rows ?? 0;
}

export function predictionStore(database: Database, queueMax: number): PredictionStore {
  return {
    insert: async ({ prediction, lease, deliveries, images, turn }) => {
      const reply = await database.write(insertPrediction, {
        row: predictionRow(prediction, lease),
        deliveries: deliveries.map(newDeliveryRow),
        images: images.map(imageRow),
        turn: turn && turnRows(turn),
        queueMax,
      });
      return reply.kind === "duplicate" ? { kind: "duplicate", existing: predictionFrom(reply.row) } : reply;
    },
    get: async (principal, id) => {
      const row = await database.read(getPrediction, { principal, id });
      return row && predictionFrom(row);
    },
    getByRequestId: async (principal, requestId) => {
      const row = await database.read(getPredictionByRequest, { principal, request_id: requestId });
      return row && predictionFrom(row);
    },
    list: async (query) => (await database.scan(listPredictions, query)).map(summaryFrom),
    countByModel: async (principal) =>
      new Map((await database.scan(countByModel, { principal })).map(({ model, rows }) => [model, rows])),
    claim: async ({ limit, now, leaseExpiresAt }) => {
      const args = { limit, now, lease_expires_at: leaseExpiresAt, nonce: randomUUID() };
      return (await database.write(claim, args)).map((row) => ({
        prediction: predictionFrom(row),
        lease: { token: row.lease_token ?? "", expiresAt: leaseExpiresAt },
      }));
    },
    renew: async ({ leases, expiresAt }) =>
      (await database.write(renew, { leases, expiresAt })) as PredictionId[],
    transition: ({ next, guard, deliveries, turn }) =>
      database.write(transition, {
        change: {
          ...mutableRow(next, next.output && encodePayload(next.output)),
          id: next.id,
          terminal: isTerminal(next.status) ? 1 : 0,
        },
        guard,
        deliveries: deliveries.map(newDeliveryRow),
        turn: turn && turnRows(turn),
      }),
    nextClaimAt: () => database.read(nextClaimAt, {}),
    unfinished: () => database.unfinished(),
    deleteEnded: ({ endedBefore, limit }) =>
      database.write(deleteEnded, { ended_before: endedBefore, limit }),
  };
}

function mutableRow(prediction: Prediction, output: Uint8Array | null): MutableRow {
  return {
    status: prediction.status,
    revision: prediction.revision,
    attempt: prediction.attempt,
    deaths: prediction.deaths,
    error: prediction.error && JSON.stringify(prediction.error),
    updated_at: prediction.updatedAt,
    started_at: prediction.startedAt,
    ended_at: prediction.endedAt,
    setup_time: prediction.setupTime,
    execution_time: prediction.executionTime,
    output,
  };
}

export function predictionRow(prediction: Prediction, lease: Lease | null): PredictionRow {
  const [input, output] = prediction.output
    ? encodePayloads(prediction.input, prediction.output)
    : [encodePayload(prediction.input), null];
  return {
    ...mutableRow(prediction, output),
    id: prediction.id,
    principal: prediction.principal,
    model: prediction.model,
    version: prediction.version,
    created_at: prediction.createdAt,
    deadline_at: prediction.deadlineAt,
    request_id: prediction.requestId,
    request_hash: prediction.requestHash,
    webhook: prediction.webhook && JSON.stringify(prediction.webhook),
    lease_token: lease?.token ?? null,
    lease_expires_at: lease?.expiresAt ?? null,
    input,
  };
}

function predictionFrom(row: PredictionRow): Prediction {
  return {
    ...summaryFrom(row),
    input: decodePayload(row.input),
    output: row.output && decodePayload(row.output),
    requestHash: row.request_hash,
    webhook: row.webhook === null ? null : (JSON.parse(row.webhook) as WebhookTarget),
  };
}

function summaryFrom(row: SummaryRow): PredictionSummary {
  return {
    // The row was written from a domain record; ids come back as they went in.
    id: row.id as PredictionId,
    principal: row.principal,
    model: row.model,
    version: row.version,
    status: row.status,
    revision: row.revision,
    attempt: row.attempt,
    deaths: row.deaths,
    error: row.error === null ? null : (JSON.parse(row.error) as PredictionError),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    setupTime: row.setup_time,
    executionTime: row.execution_time,
    deadlineAt: row.deadline_at,
    requestId: row.request_id,
  };
}
