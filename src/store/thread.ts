/**
 * A thread that owns one connection to the database file: the writer, or a reader for what takes long, or a search. Its end of the
 * conversation in thread-protocol.ts.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { commitGroup, runCall } from "./group-commit.ts";
import { countUnfinished } from "./prediction.ts";
import { type Role, SqliteConnection } from "./sqlite.ts";
import {
  type Call,
  type FromThread,
  failureOf,
  type Outcome,
  type ThreadData,
  type ToThread,
} from "./thread-protocol.ts";

/** Bounds how long the first call of a transaction waits for the last: some 10 ms of work. */
const GROUP_MAX = { write: 512, read: 512, search: 1 } as const satisfies Record<Role, number>;

if (!parentPort) throw new Error("src/store/thread.ts is a worker thread's entry");
const port = parentPort;
// Posted by thread-client.ts alone, which is typed by the same protocol.
const { file, role } = workerData as ThreadData;

const connection = new SqliteConnection(file, role);
const queue: Call[] = [];
let running = false;
let closing = false;

function accept(message: ToThread): void {
  switch (message.kind) {
    case "run":
      queue.push(...message.calls);
      break;
    case "close":
      closing = true;
      break;
    default:
      message satisfies never;
  }
}

/** Runs all that waits, then all that arrived meanwhile, and so on. */
async function work(): Promise<void> {
  if (running) return;
  running = true;
  while (queue.length > 0) {
    const take = groupTaker();
    const outcomes = role === "write" ? await commitGroup(connection, take(), take) : await look(take());
    reply({ kind: "done", outcomes, unfinished: connection.unfinished });
    acceptWaiting();
  }
  running = false;
  if (closing) close();
}

/** What waits, as often as it is asked, until there are as many as a group may have. */
function groupTaker(): () => readonly Call[] {
  let room: number = GROUP_MAX[role];
  return () => {
    acceptWaiting();
    const calls = queue.splice(0, room);
    room -= calls.length;
    return calls;
  };
}

/** Takes what was posted meanwhile without a turn of the event loop. */
function acceptWaiting(): void {
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    accept(next.message as ToThread);
  }
}

async function look(calls: readonly Call[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const call of calls) {
    try {
      outcomes.push(await runCall(connection, call));
    } catch (error) {
      outcomes.push({ ok: false, failure: failureOf(error) });
    }
  }
  return outcomes;
}

function close(): void {
  if (role === "write") connection.checkpoint();
  connection.close();
  port.close();
}

function reply(message: FromThread): void {
  port.postMessage(message);
}

port.on("message", (message: ToThread) => {
  accept(message);
  void work();
});
if (role === "write") connection.unfinished = await countUnfinished(connection);
reply({ kind: "ready", unfinished: connection.unfinished });
