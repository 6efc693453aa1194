/** Numbers that are given out once, in order: for datasets and all that is in them. */
import { sql } from "kysely";
import type { Transaction } from "./database.ts";
import { statement, tables } from "./statement.ts";

const advance = statement<{ count: number }>()((place) =>
  tables
    .updateTable("sequence")
    .set((row) => ({ value: row("value", "+", place("count")) }))
    .where("name", "=", sql.lit("dataset"))
    .returning("value"),
);

/** The first of `count` numbers that follow each other. Taken with the transaction, or not at all. */
export async function takeNumbers(tx: Transaction, count: number): Promise<number> {
  const row = await tx.get(advance, { count });
  if (!row) throw new Error("the sequence of datasets is missing");
  return row.value - count + 1;
}
