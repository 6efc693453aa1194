/**
 * Statements are built with Kysely once, when their module loads, with names where the values will be; a database
 * compiles each one for itself and keeps it prepared. (Building and compiling takes Kysely some 20 µs a query, more
 * than running most of ours.)
 */
import {
  createQueryId,
  DummyDriver,
  Kysely,
  type QueryCompiler,
  type RawBuilder,
  type RootOperationNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from "kysely";
import type { Tables } from "./schema.ts";

declare const ROW: unique symbol;

export type SqlValue = string | number | null | Uint8Array;

/** A query with parameters named by P's keys, answering rows R. */
export interface Statement<P extends object, R> {
  readonly query: RootOperationNode;
  /** Never there; carries the types. */
  readonly [ROW]?: (params: P) => R;
}

/** Stands in a query where a value will be. */
class Parameter {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** The place of the named parameter, typed as its value. */
export type Place<P> = <K extends keyof P & string>(name: K) => RawBuilder<P[K]>;

interface Buildable<R> {
  toOperationNode(): RootOperationNode;
  compile(): { readonly query: RootOperationNode };
  execute(): Promise<R[]>;
}

/** Builds queries and never runs them: it has no driver. */
export const tables = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

/** `statement<{ id: string }>()((place) => tables.selectFrom(…).where("id", "=", place("id")))` */
export function statement<P extends object>(): <R>(
  build: (place: Place<P>) => Buildable<R>,
) => Statement<P, R> {
  return (build) => ({
    query: build((name) => sql.val(new Parameter(name)) as unknown as RawBuilder<never>).toOperationNode(),
  });
}

/** Parameter places for an insert of all the given columns, each named as its column. */
export function places<R extends object, K extends keyof R & string>(
  columns: readonly K[],
  place: Place<R>,
): { [C in K]: RawBuilder<R[C]> } {
  return Object.fromEntries(columns.map((column) => [column, place(column)])) as {
    [C in K]: RawBuilder<R[C]>;
  };
}

export interface CompiledStatement {
  readonly sql: string;
  /** The values for the statement's placeholders, in their order. */
  bind(params: object): SqlValue[];
}

export function compileStatement(
  statement: Statement<never, unknown>,
  compiler: QueryCompiler,
): CompiledStatement {
  const { sql, parameters } = compiler.compileQuery(statement.query, createQueryId());
  return {
    sql,
    bind: (params) => {
      const named = params as Readonly<Record<string, SqlValue>>;
      return parameters.map((value) => {
        if (!(value instanceof Parameter)) return value as SqlValue;
        const given = named[value.name];
        if (given === undefined) throw new Error(`parameter ${value.name} is missing for: ${sql}`);
        return given;
      });
    },
  };
}
