/**
 * Leases: the right to run and finish a prediction, for a time. Whoever claims it last holds the only valid token, and
 * a settle under an older one changes nothing (fencing).
 */
import { sql } from "kysely";
import type { PredictionId } from "../domain/id.ts";
import { operation } from "./database.ts";
import type { PredictionRow } from "./schema.ts";
import { statement, tables } from "./statement.ts";

interface ClaimArgs {
  readonly limit: number;
  readonly now: number;
  readonly lease_expires_at: number;
  /** Unique to this call. */
  readonly nonce: string;
}

/**
 * Pending and expired rows are looked up apart, each from its own index, then merged oldest first; one condition with
 * OR would sort the whole queue for each claim, as would an order that the index does not have. Rows that another replica is claiming are passed over where the
 * database can have other replicas.
 */
const claimOldest = statement<ClaimArgs>()((place) =>
  tables
    .updateTable("prediction")
    .set({
      status: "started",
      revision: sql`revision + 1`,
      attempt: sql`attempt + 1`,
      updated_at: place("now"),
      started_at: sql`coalesce(started_at, ${place("now")})`,
      // leaseToken, where the attempt is at hand.
      lease_token: sql`substr(cast(1000000001 + attempt as text), 2) || '-' || ${place("nonce")}`,
      lease_expires_at: place("lease_expires_at"),
    })
    .where("id", "in", (from) => {
      const pending = from
        .selectFrom("prediction")
        .select("id")
        .where("status", "=", sql.lit("pending"))
        .orderBy("id")
        .limit(place("limit"))
        .forUpdate()
        .skipLocked();
      const expired = from
        .selectFrom("prediction")
        .select("id")
        .where("status", "=", sql.lit("started"))
        .where("lease_expires_at", "<=", place("now"))
        .orderBy("lease_expires_at")
        .orderBy("id")
        .limit(place("limit"))
        .forUpdate()
        .skipLocked();
      return from
        .selectFrom(
          from
            .selectFrom(pending.as("pending"))
            .select("id")
            .unionAll(from.selectFrom(expired.as("expired")).select("id"))
            .as("claimable"),
        )
        .select("id")
        .orderBy("id")
        .limit(place("limit"));
    })
    .returningAll(),
);

export const claim = operation("prediction.claim", async (tx, args: ClaimArgs): Promise<PredictionRow[]> => {
  const rows = await tx.all(claimOldest, args);
  // An update answers its rows in any order.
  return rows.sort((a, b) => (a.id < b.id ? -1 : 1));
});

const extend = statement<{ id: string; token: string; expires_at: number }>()((place) =>
  tables
    .updateTable("prediction")
    .set({ lease_expires_at: place("expires_at") })
    .where("id", "=", place("id"))
    .where("status", "=", sql.lit("started"))
    .where("lease_token", "=", place("token")),
);

interface RenewArgs {
  readonly leases: readonly { readonly id: PredictionId; readonly token: string }[];
  readonly expiresAt: number;
}

/** Answers the ids whose lease is lost. */
export const renew = operation("prediction.renew", async (tx, { leases, expiresAt }: RenewArgs) => {
  const lost: string[] = [];
  for (const { id, token } of leases) {
    if ((await tx.run(extend, { id, token, expires_at: expiresAt })) === 0) lost.push(id);
  }
  return lost;
});

const anyPending = statement<object>()(() =>
  tables.selectFrom("prediction").select("id").where("status", "=", sql.lit("pending")).limit(1),
);

const firstExpiry = statement<object>()(() =>
  tables
    .selectFrom("prediction")
    .select("lease_expires_at")
    .where("status", "=", sql.lit("started"))
    .orderBy("lease_expires_at")
    .limit(1),
);

export const nextClaimAt = operation("prediction.nextClaimAt", async (tx, _: object) => {
  if (await tx.get(anyPending, {})) return 0;
  return (await tx.get(firstExpiry, {}))?.lease_expires_at ?? undefined;
});

const expireAll = statement<object>()(() =>
  tables.updateTable("prediction").set({ lease_expires_at: 0 }).where("status", "=", sql.lit("started")),
);

/**
 * For the start of a server that has the database to itself: whoever held a lease is gone for certain, and its work
 * need not wait until the lease runs out.
 */
export const expireLeases = operation("prediction.expireLeases", (tx, _: object) => tx.run(expireAll, {}));
