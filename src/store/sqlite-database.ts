/**
 * A SQLite file as a Database: one thread writes, another does long reads, and lookups by key run on the caller's
 * thread, where they take less time than a message to another one would.
 */
import { AuspexError } from "../domain/error.ts";
import type { Database } from "./database.ts";
import { migrate } from "./migrate.ts";
import { SqliteConnection } from "./sqlite.ts";
import { DatabaseThread } from "./thread-client.ts";
import { errorFrom, failureOf } from "./thread-protocol.ts";

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
  // Begun with the first long read: loading its program takes some 0.3 s of a core, which a start can do without.
  let reader: Promise<DatabaseThread> | undefined;
  let closed = false;

  return {
    description: `sqlite ${file}`,
    write: (operation, args) => writer.call(operation, args),
    scan: async (operation, args) => {
      if (closed) throw closedError();
      reader ??= DatabaseThread.open({ file, role: "read" }).catch((error: unknown) => {
        reader = undefined;
        throw error;
      });
      return (await reader).call(operation, args);
    },
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
      await (await reader)?.close();
      await writer.close();
    },
  };
}

function closedError(): AuspexError {
  return new AuspexError("unavailable", "the store is closed");
}
