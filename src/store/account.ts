/** What the server keeps of accounts: their refresh tokens, as hashes, and how much they have used. */
import { sql } from "kysely";
import { type Database, operation } from "./database.ts";
import type { RefreshTokenRow, UsageRow } from "./schema.ts";
import { statement, tables } from "./statement.ts";

export interface RefreshToken {
  /** SHA-256 of its text, lower-case hex. */
  readonly hash: string;
  readonly principal: string;
  readonly createdAt: number;
}

export interface Usage {
  readonly principal: string;
  /** First moment of the calendar month (UTC). */
  readonly month: number;
  /** To be added; less than 0 takes back. */
  readonly predictions: number;
}

export interface AccountStore {
  /** False when the principal has `max` of them already; nothing was written. */
  insertRefreshToken(token: RefreshToken, max: number): Promise<boolean>;
  /** The principal that it was given to. */
  ownerOfRefreshToken(hash: string): Promise<string | undefined>;
  /** False when the principal has no such token. */
  deleteRefreshToken(principal: string, hash: string): Promise<boolean>;
  /** Predictions that the principal created in the month. */
  usage(principal: string, month: number): Promise<number>;
  addUsage(usages: readonly Usage[]): Promise<void>;
}

const ofPrincipal = statement<{ principal: string }>()((place) =>
  tables
    .selectFrom("refresh_token")
    .where("principal", "=", place("principal"))
    .select((row) => row.fn.countAll<number>().as("tokens")),
);

const insertRow = statement<RefreshTokenRow>()((place) =>
  tables.insertInto("refresh_token").values({
    hash: place("hash"),
    principal: place("principal"),
    created_at: place("created_at"),
  }),
);

export const insertRefreshToken = operation(
  "account.insertRefreshToken",
  async (tx, { row, max }: { row: RefreshTokenRow; max: number }) => {
    const { tokens } = (await tx.get(ofPrincipal, row)) ?? { tokens: 0 };
    return tokens < max && (await tx.run(insertRow, row)) > 0;
  },
);

const byHash = statement<{ hash: string }>()((place) =>
  tables.selectFrom("refresh_token").select("principal").where("hash", "=", place("hash")),
);

export const refreshTokenOwner = operation("account.refreshTokenOwner", (tx, args: { hash: string }) =>
  tx.get(byHash, args),
);

const remove = statement<{ principal: string; hash: string }>()((place) =>
  tables
    .deleteFrom("refresh_token")
    .where("hash", "=", place("hash"))
    .where("principal", "=", place("principal")),
);

export const deleteRefreshToken = operation(
  "account.deleteRefreshToken",
  async (tx, args: { principal: string; hash: string }) => (await tx.run(remove, args)) > 0,
);

const ofMonth = statement<{ principal: string; month: number }>()((place) =>
  tables
    .selectFrom("usage")
    .select("predictions")
    .where("principal", "=", place("principal"))
    .where("month", "=", place("month")),
);

export const getUsage = operation("account.usage", (tx, args: { principal: string; month: number }) =>
  tx.get(ofMonth, args),
);

const add = statement<UsageRow>()((place) =>
  tables
    .insertInto("usage")
    .values({
      principal: place("principal"),
      month: place("month"),
      predictions: place("predictions"),
    })
    .onConflict((on) =>
      on
        .columns(["principal", "month"])
        .doUpdateSet({ predictions: sql`${sql.ref("usage.predictions")} + ${place("predictions")}` }),
    ),
);

export const addUsage = operation("account.addUsage", async (tx, usages: readonly Usage[]) => {
  for (const usage of usages) await tx.run(add, usage);
});

export function accountStore(database: Database): AccountStore {
  return {
    insertRefreshToken: ({ hash, principal, createdAt }, max) =>
      database.write(insertRefreshToken, { row: { hash, principal, created_at: createdAt }, max }),
    ownerOfRefreshToken: async (hash) => (await database.read(refreshTokenOwner, { hash }))?.principal,
    deleteRefreshToken: (principal, hash) => database.write(deleteRefreshToken, { principal, hash }),
    usage: async (principal, month) =>
      (await database.read(getUsage, { principal, month }))?.predictions ?? 0,
    addUsage: (usages) => database.write(addUsage, usages),
  };
}
