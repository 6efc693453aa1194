/**
 * A SQLite file as a Database: one thread writes, another does long reads, a third searches, and lookups by key run on the
 * caller's thread, where they take less time than a message to another one would.
 */
import { AuspexError } from "../domain/error.ts";
import type { Database, Operation } from "./database.ts";
import { migrate } from "./migrate.ts";
import { SqliteConnection } from "./sqlite.ts";
import { DatabaseThread } from "./thread-client.ts";
import { errorFrom, failureOf, type ThreadData } from "./thread-protocol.ts";

/** @param onStorageFault told of each write that fails because storage does, before its caller is */
export async function openSqliteDatabase(
  file: string,
  onStorageFault?: (text: string) => void,
): Promise<Database> {
  const migrator = new SqliteConnection(file, "write");
  try {
    await migrate(migrator);
  } finally {
    migrator.close();
  }
  const writer = await DatabaseThread.open({ file, role: "write" }, onStorageFault);
  const lookups = new SqliteConnection(file, "read");
  const reader = new LazyThread({ file, role: "read" });
  const searcher = new LazyThread({ file, role: "search" });
  let closed = false;

  return {
    description: `sqlite ${file}`,
    write: (operation, args) => writer.call(operation, args),
    scan: (operation, args) => reader.call(operation, args),
    search: (operation, args) => searcher.call(operation, args),
    read: async (operation, args) => {
      if (closed) throw closedError();
      try {
        return await operation.run(lookups, args);
      } catch (error) {
        throw errorFrom(failureOf(error));
      }
    },
    unfinished: () => writer.unfinished,
    close: async () => {
      if (!closed) lookups.close();
      closed = true;
      // The writer last: it checkpoints, which another connection could hold up.
      await Promise.all([reader.close(), searcher.close()]);
      await writer.close();
    },
  };
}

/** Begun with the first call: loading its program takes some 0.3 s of a core, which a start can do without. */
class LazyThread {
  readonly #data: ThreadData;
  #thread: Promise<DatabaseThread> | undefined;
  #closed = false;

  constructor(data: ThreadData) {
    this.#data = data;
  }

  async call<A, R>(operation: Operation<A, R>, args: A): Promise<R> {
    if (this.#closed) throw closedError();
    this.#thread ??= DatabaseThread.open(this.#data).catch((error: unknown) => {
      this.#thread = undefined;
      throw error;
    });
    return (await this.#thread).call(operation, args);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await (await this.#thread)?.close();
  }
}

function closedError(): AuspexError {
  return new AuspexError("unavailable", "the store is closed");
}
