/** pg-boss: finished jobs stay, with their results where jobs are handled one by one. */
import type { Handler, Payload, Queue } from "./queue.ts";

const QUEUE = "predict";

/** Of the package's own types what is used here: it need not be installed. */
interface Job {
  readonly data: Payload;
}
interface Boss {
  on(event: "error", listener: (error: unknown) => void): void;
  start(): Promise<unknown>;
  createQueue(name: string, options?: object): Promise<unknown>;
  send(name: string, data: object): Promise<unknown>;
  insert(name: string, jobs: readonly { readonly data: object }[]): Promise<unknown>;
  work(name: string, options: object, handler: (jobs: readonly Job[]) => Promise<unknown>): Promise<unknown>;
  getDb(): { executeSql(sql: string, values: readonly unknown[]): Promise<{ rows: Counts[] }> };
}
interface Counts {
  readonly jobs: number;
  readonly failed: number;
}
interface Package {
  readonly PgBoss: new (options: object) => Boss;
}

const NAME: string = "pg-boss";

/** Batches, fetched without a pause while they come full, and workers woken by NOTIFY. */
const TUNED = {
  batchSize: 100,
  burstWhenBatchFull: true,
  localConcurrency: 4,
  pollingIntervalSeconds: 0.5,
} as const;
/** Of each process; its own default is 10. */
const CONNECTIONS = 25;

async function start(url: string): Promise<Boss> {
  const { PgBoss } = (await import(NAME)) as Package;
  const boss = new PgBoss({ connectionString: url, useListenNotify: true, max: CONNECTIONS });
  boss.on("error", (error) => console.error("pg-boss:", error));
  await boss.start();
  await boss.createQueue(QUEUE, { notify: true });
  return boss;
}

const handleAll =
  (handler: Handler) =>
  async (jobs: readonly Job[]): Promise<unknown> => {
    const results = await Promise.all(jobs.map(({ data }) => handler(data)));
    return results.length === 1 ? results[0] : undefined;
  };

export const pgBoss: Queue = {
  settings: {
    documented: "one job every 2 s",
    tuned: "4 workers × 100 jobs at once, NOTIFY, no pause while batches come full",
  },

  async openAdding(url) {
    const boss = await start(url);
    return {
      async add(payload) {
        await boss.send(QUEUE, payload);
      },
      async addMany(payloads) {
        await boss.insert(
          QUEUE,
          payloads.map((data) => ({ data })),
        );
      },
      async unfinished() {
        const { rows } = await boss.getDb().executeSql(
          `SELECT count(*) FILTER (WHERE state < 'completed')::int AS jobs,
             count(*) FILTER (WHERE state > 'completed')::int AS failed
           FROM pgboss.job WHERE name = $1 AND state <> 'completed'`,
          [QUEUE],
        );
        const [counts] = rows;
        if (!counts || counts.failed > 0) throw new Error(`${counts?.failed} jobs of pg-boss failed`);
        return counts.jobs;
      },
    };
  },

  async work(url, tuning, handler) {
    const boss = await start(url);
    await boss.work(QUEUE, tuning === "tuned" ? TUNED : {}, handleAll(handler));
  },
};
