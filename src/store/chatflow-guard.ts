/** For writes that nothing is left to be kept for once their flow is gone. */
import type { Transaction } from "./database.ts";
import { statement, tables } from "./statement.ts";

const anyFlow = statement<{ chatflow_id: string }>()((place) =>
  tables.selectFrom("chatflow").select("id").where("id", "=", place("chatflow_id")),
);

export async function isFlowThere(tx: Transaction, row: { readonly chatflow_id: string }): Promise<boolean> {
  return (await tx.get(anyFlow, row)) !== undefined;
}
