/** Names that a principal knows something by, and what each stands for. */
import { type Database, operation } from "./database.ts";
import { statement, tables } from "./statement.ts";
import type { AliasRow, AliasStore } from "./store.ts";

type Key = Pick<AliasRow, "principal" | "alias">;

const upsert = statement<AliasRow>()((place) =>
  tables
    .insertInto("alias")
    .values({ principal: place("principal"), alias: place("alias"), target: place("target") })
    .onConflict((on) => on.columns(["principal", "alias"]).doUpdateSet({ target: place("target") })),
);

export const setAlias = operation("alias.set", async (tx, row: AliasRow) => {
  await tx.run(upsert, row);
});

const byKey = statement<Key>()((place) =>
  tables
    .selectFrom("alias")
    .selectAll()
    .where("principal", "=", place("principal"))
    .where("alias", "=", place("alias")),
);

export const getAlias = operation("alias.get", (tx, key: Key) => tx.get(byKey, key));

const ofPrincipal = statement<{ principal: string }>()((place) =>
  tables.selectFrom("alias").selectAll().where("principal", "=", place("principal")).orderBy("alias"),
);

export const listAliases = operation("alias.list", (tx, args: { principal: string }) =>
  tx.all(ofPrincipal, args),
);

const remove = statement<Key>()((place) =>
  tables.deleteFrom("alias").where("principal", "=", place("principal")).where("alias", "=", place("alias")),
);

export const deleteAlias = operation("alias.delete", async (tx, key: Key) => (await tx.run(remove, key)) > 0);

export function aliasStore(database: Database): AliasStore {
  return {
    set: (row) => database.write(setAlias, row),
    get: (principal, alias) => database.read(getAlias, { principal, alias }),
    list: (principal) => database.scan(listAliases, { principal }),
    delete: (principal, alias) => database.write(deleteAlias, { principal, alias }),
  };
}
