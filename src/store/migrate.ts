/**
 * Brings a database to this program's schema. Migrations are append-only and run in order, each in a transaction of
 * its own whose first statement writes the migration's row, so that it is all there or not at all.
 */
import { AuspexError } from "../domain/error.ts";
import { predictions } from "./migrations/0001-predictions.ts";
import { training } from "./migrations/0002-training.ts";
import { chatflows } from "./migrations/0003-chatflows.ts";
import type { SqliteConnection } from "./sqlite.ts";
import { statement, tables } from "./statement.ts";

export interface Migration {
  /** One more than the one before. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

export const MIGRATIONS: readonly Migration[] = [predictions, training, chatflows];

const CREATE_TABLE =
  "create table if not exists migration (version integer not null primary key, name text not null) strict";

const record = statement<Omit<Migration, "sql">>()((place) =>
  tables.insertInto("migration").values({ version: place("version"), name: place("name") }),
);
const newest = statement<object>()(() =>
  tables.selectFrom("migration").select("version").orderBy("version", "desc").limit(1),
);

/** @throws AuspexError `failed_precondition` when a newer program has been at the database */
export async function migrate(
  connection: SqliteConnection,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<void> {
  connection.exec(CREATE_TABLE);
  const done = (await connection.get(newest, {}))?.version ?? 0;
  const known = migrations.at(-1)?.version ?? 0;
  if (done > known) {
    throw new AuspexError(
      "failed_precondition",
      `the database has schema version ${done} and this program knows ${known} and below: ` +
        "a newer release has run on this data folder; start that one",
    );
  }
  for (const migration of migrations.filter(({ version }) => version > done)) {
    connection.exec("begin immediate");
    try {
      await connection.run(record, { version: migration.version, name: migration.name });
      connection.exec(migration.sql);
      connection.exec("commit");
    } catch (error) {
      if (connection.inTransaction) connection.exec("rollback");
      throw error;
    }
  }
}
