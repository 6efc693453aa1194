/**
 * Grouped commits: many calls, one transaction, one wait for the disk. Measured by bench/commits.ts on two busy cores
 * and a disk that syncs in 0.1 ms: 2,900 creations a second with a commit each, 17,000 with 64 to a commit (5.9 times
 * as many); the slower the disk, the greater the gain.
 *
 * A call that fails must not take its neighbours with it. A savepoint around each would see to that, at a cost to
 * every call for what almost never happens. So the group runs without; only when something fails is it rolled back
 * and run again, with savepoints. Operations may therefore run twice, and have no effect but on the transaction.
 */
import { OPERATIONS } from "./operations.ts";
import type { SqliteConnection } from "./sqlite.ts";
import { type Call, failureOf, type Outcome } from "./thread-protocol.ts";

/**
 * Milliseconds that a group has run after which nothing joins it any more: or large writes, one after the other, would
 * keep the first one's caller waiting for as long as they come.
 */
const JOIN_MAX_MS = 10;

/**
 * Answers how each call ended, in order, once the transaction is on disk or is known not to be. Never rejects.
 *
 * `arrived` is asked when all have run, and then again until it has none or `JOIN_MAX_MS` are over: those join the group,
 * for which it is cheaper than to wait for a sync and then to need one of their own.
 */
export async function commitGroup(
  connection: SqliteConnection,
  first: readonly Call[],
  arrived: () => readonly Call[] = () => [],
): Promise<readonly Outcome[]> {
  const calls = [...first];
  try {
    return await transact(connection, joining(calls, arrived), runCall);
  } catch {
    // Which call it was, if it was one, shows when each runs apart.
  }
  try {
    return await transact(connection, calls, runIsolated);
  } catch (error) {
    return calls.map(() => ({ ok: false, failure: failureOf(error) }));
  }
}

/** The calls, and those that arrive, which it adds to them. */
function* joining(calls: Call[], arrived: () => readonly Call[]): Generator<Call> {
  const began = performance.now();
  let next = 0;
  do {
    yield* calls.slice(next);
    next = calls.length;
    if (performance.now() - began < JOIN_MAX_MS) calls.push(...arrived());
  } while (next < calls.length);
}

type Run = (connection: SqliteConnection, call: Call) => Promise<Outcome>;

async function transact(connection: SqliteConnection, calls: Iterable<Call>, run: Run): Promise<Outcome[]> {
  const unfinished = connection.unfinished;
  try {
    connection.exec("begin immediate");
    const outcomes: Outcome[] = [];
    for (const call of calls) outcomes.push(await run(connection, call));
    connection.exec("commit");
    return outcomes;
  } catch (error) {
    connection.unfinished = unfinished;
    if (connection.inTransaction) connection.exec("rollback");
    throw error;
  }
}

/** Rejects when the operation does. */
export async function runCall(connection: SqliteConnection, call: Call): Promise<Outcome> {
  const operation = OPERATIONS.get(call.operation);
  if (!operation) throw new Error(`there is no operation ${call.operation}`);
  // Only a holder of the operation itself can have asked, so the arguments are of its type.
  return { ok: true, value: await operation.run(connection, call.args as never) };
}

/** Rejects only when the failure took the whole transaction with it, as a full disk does. */
async function runIsolated(connection: SqliteConnection, call: Call): Promise<Outcome> {
  const unfinished = connection.unfinished;
  connection.exec("savepoint one_call");
  try {
    const outcome = await runCall(connection, call);
    connection.exec("release one_call");
    return outcome;
  } catch (error) {
    if (!connection.inTransaction) throw error;
    connection.exec("rollback to one_call; release one_call");
    connection.unfinished = unfinished;
    return { ok: false, failure: failureOf(error) };
  }
}
