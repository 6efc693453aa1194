/** All that is particular to SQLite: how it is opened, how a statement is compiled and kept prepared. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { SqliteQueryCompiler } from "kysely";
import { load as loadVectorFunctions } from "sqlite-vec";
import type { Transaction } from "./database.ts";
import { type CompiledStatement, compileStatement, type Statement } from "./statement.ts";

/**
 * - WAL: readers and the writer never wait for each other.
 * - synchronous=full: a commit is on disk before it returns (WAL's default may lose the last ones).
 * - 16 MiB of log between checkpoints, four times the default: half the cost of settling 64 rows a commit; the file
 *   is cut back to 64 MiB after a burst.
 */
const WRITER_PRAGMAS = `
  pragma journal_mode = wal;
  pragma synchronous = full;
  pragma foreign_keys = on;
  pragma wal_autocheckpoint = 4096;
  pragma journal_size_limit = 67108864;
  pragma cache_size = -65536;
  pragma temp_store = memory;
`;
const READER_PRAGMAS = "pragma query_only = on; pragma cache_size = -16384; pragma temp_store = memory;";
/** The one writer commits; a reader only ever looks; a search is a reader that can compare vectors. */
export type Role = "write" | "read" | "search";

const PRAGMAS = {
  write: WRITER_PRAGMAS,
  read: READER_PRAGMAS,
  search: READER_PRAGMAS,
} as const satisfies Record<Role, string>;

/** Only the moment in which another connection recovers or checkpoints the log is ever waited for. */
const BUSY_TIMEOUT_MS = 5_000;

/** One writer at a time is what SQLite is: rows need no locks of their own. */
class Compiler extends SqliteQueryCompiler {
  protected override visitSelectModifier(): void {}
}

interface Prepared {
  readonly compiled: CompiledStatement;
  readonly native: StatementSync;
}

export class SqliteConnection implements Transaction {
  unfinished = 0;
  readonly #native: DatabaseSync;
  readonly #prepared = new Map<Statement<never, unknown>, Prepared>();

  constructor(file: string, role: Role) {
    const allowExtension = role === "search";
    this.#native = new DatabaseSync(file, {
      readOnly: role !== "write",
      timeout: BUSY_TIMEOUT_MS,
      allowExtension,
    });
    if (allowExtension) {
      loadVectorFunctions(this.#native);
      this.#native.enableLoadExtension(false);
    }
    this.#native.exec(PRAGMAS[role]);
  }

  async run<P extends object>(statement: Statement<P, unknown>, params: P): Promise<number> {
    const { compiled, native } = this.#prepare(statement);
    return Number(native.run(...compiled.bind(params)).changes);
  }

  async get<P extends object, R>(statement: Statement<P, R>, params: P): Promise<R | undefined> {
    const { compiled, native } = this.#prepare(statement);
    // The statement's type says which columns it selects; STRICT tables hold them to their types.
    return native.get(...compiled.bind(params)) as R | undefined;
  }

  async all<P extends object, R>(statement: Statement<P, R>, params: P): Promise<R[]> {
    const { compiled, native } = this.#prepare(statement);
    return native.all(...compiled.bind(params)) as R[];
  }

  /** The number is nobody's: SQLite keeps it in the file's first page for the application. */
  async touch(): Promise<void> {
    const { user_version: version } = this.#native.prepare("pragma user_version").get() ?? {};
    this.#native.exec(`pragma user_version = ${version === 0 ? 1 : 0}`);
  }

  /** Runs SQL that has no parameters and no rows. */
  exec(sql: string): void {
    this.#native.exec(sql);
  }

  /** False again once SQLite rolled a transaction back of itself, as it does when the disk is full. */
  get inTransaction(): boolean {
    return this.#native.isTransaction;
  }

  /** Moves the log into the database file, as far as readers allow. */
  checkpoint(): void {
    this.#native.exec("pragma wal_checkpoint(truncate)");
  }

  /** The SQL of every statement that has been run. */
  statements(): string[] {
    return [...this.#prepared.values()].map(({ compiled }) => compiled.sql);
  }

  close(): void {
    this.#native.close();
  }

  #prepare(statement: Statement<never, unknown>): Prepared {
    let prepared = this.#prepared.get(statement);
    if (!prepared) {
      const compiled = compileStatement(statement, new Compiler());
      prepared = { compiled, native: this.#native.prepare(compiled.sql) };
      this.#prepared.set(statement, prepared);
    }
    return prepared;
  }
}
