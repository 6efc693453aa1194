/** The job queues as targets of a row: PostgreSQL's CPU time is charged to them, their own stands under the generator. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { LoadResult } from "../load.ts";
import type { Target } from "../rounds.ts";
import { startPostgres } from "./postgres.ts";
import type { AddingOrder, Progress, QueueName, QueueReply } from "./process.ts";
import type { Tuning } from "./queue.ts";

export interface Variant {
  readonly name: string;
  readonly queue: QueueName;
  readonly tuning: Tuning;
  /** Jobs added by one call. */
  readonly perCall: number;
}

export interface JobQueues extends AsyncDisposable {
  readonly targets: readonly Target[];
}

async function start(
  role: string,
  { queue, tuning }: Variant,
  url: string,
  folder: string,
): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, "process.ts"), [role, queue, url, tuning, folder], {
    serialization: "advanced",
  });
  await reply(child, "ready");
  return child;
}

/** The next word of that kind. @throws Error for an error, or when the process ends before */
async function reply<K extends QueueReply["kind"]>(
  child: ChildProcess,
  kind: K,
): Promise<Extract<QueueReply, { kind: K }>> {
  const { promise, resolve, reject } = Promise.withResolvers<Extract<QueueReply, { kind: K }>>();
  const onMessage = (message: QueueReply): void => {
    if (message.kind === "error") reject(new Error(message.message));
    else if (message.kind === kind) resolve(message as Extract<QueueReply, { kind: K }>);
  };
  const onExit = (code: number | null): void =>
    reject(new Error(`a job queue's process exited with ${code}`));
  child.on("message", onMessage).on("exit", onExit);
  try {
    return await promise;
  } finally {
    child.off("message", onMessage).off("exit", onExit);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exited = once(child, "exit");
  child.disconnect();
  await exited;
}

/**
 * Each has a database and two processes of its own; they rest while it is another's turn.
 * @param folder of the model that a job runs
 */
export async function startJobQueues(variants: readonly Variant[], folder: string): Promise<JobQueues> {
  await using cleanUp = new AsyncDisposableStack();
  const postgres = cleanUp.use(await startPostgres());
  const targets: Target[] = [];
  for (const [index, variant] of variants.entries()) {
    const database = `queue_${index}`;
    await postgres.createDatabase(database);
    const url = postgres.urlOf(database);
    const adding = await start("adding", variant, url, folder);
    cleanUp.defer(() => end(adding));
    const working = await start("working", variant, url, folder);
    cleanUp.defer(() => end(working));
    let last: Progress = { kind: "progress", handled: 0, cpuMicros: 0 };
    working.on("message", (message: QueueReply) => {
      if (message.kind !== "progress" || !adding.connected) return;
      if (message.handled !== last.handled) adding.send(message);
      last = message;
    });
    targets.push({
      name: variant.name,
      pid: postgres.pid,
      async load({ inFlight, seconds }): Promise<LoadResult> {
        const before = last.cpuMicros;
        adding.send({ kind: "add", inFlight, seconds, perCall: variant.perCall } satisfies AddingOrder);
        const failed = reply(working, "result");
        const { result } = await Promise.race([reply(adding, "result"), failed]);
        return { ...result, cpuMicros: result.cpuMicros + last.cpuMicros - before };
      },
    });
  }
  const owned = cleanUp.move();
  return { targets, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
