/** graphile-worker: a finished job's row is deleted, no result is kept. */
import type { Queue } from "./queue.ts";

const TASK = "predict";

/** Of the package's own types what is used here: it need not be installed. */
interface Utils {
  addJob(task: string, payload: unknown): Promise<unknown>;
  addJobs(specs: readonly { readonly identifier: string; readonly payload: unknown }[]): Promise<unknown>;
  withPgClient<T>(
    use: (client: { query(sql: string): Promise<{ rows: T[] }> }) => Promise<T | undefined>,
  ): Promise<T | undefined>;
}
interface Package {
  readonly Logger: new (factory: () => () => void) => object;
  makeWorkerUtils(options: object): Promise<Utils>;
  run(options: object): Promise<unknown>;
}

const NAME: string = "graphile-worker";
const load = async (): Promise<Package> => (await import(NAME)) as Package;

/** The quick start's; and the configuration of the page on performance. */
const WORKING = {
  documented: { concurrency: 5 },
  tuned: {
    preset: {
      worker: {
        concurrentJobs: 24,
        maxPoolSize: 25,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  },
} as const;

export const graphileWorker: Queue = {
  settings: {
    documented: "concurrency 5",
    tuned: "24 jobs at once, a local queue of 500, completions batched",
  },

  async openAdding(url, tuning) {
    const { makeWorkerUtils, Logger } = await load();
    const utils = await makeWorkerUtils({
      connectionString: url,
      logger: new Logger(() => () => {}),
      ...(tuning === "tuned" && { maxPoolSize: WORKING.tuned.preset.worker.maxPoolSize }),
    });
    return {
      async add(payload) {
        await utils.addJob(TASK, payload);
      },
      async addMany(payloads) {
        await utils.addJobs(payloads.map((payload) => ({ identifier: TASK, payload })));
      },
      async unfinished() {
        const counts = await utils.withPgClient<{ jobs: number; failed: number }>(async (client) => {
          const { rows } = await client.query(
            `SELECT count(*)::int AS jobs, count(last_error)::int AS failed FROM graphile_worker.jobs`,
          );
          return rows[0];
        });
        if (!counts || counts.failed > 0) throw new Error(`${counts?.failed} jobs of graphile-worker failed`);
        return counts.jobs;
      },
    };
  },

  async work(url, tuning, handler) {
    const { run, Logger } = await load();
    await run({
      ...WORKING[tuning],
      connectionString: url,
      // It would write two lines for each job.
      logger: new Logger(() => () => {}),
      taskList: { [TASK]: handler },
    });
  },
};
