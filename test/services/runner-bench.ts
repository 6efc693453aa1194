/** The runner over a real store and an engine that does what each test tells it to. */
import { onTestFinished } from "vitest";
import type { Prediction } from "../../src/domain/prediction.ts";
import type { NewDelivery } from "../../src/domain/webhook.ts";
import type { Engine, Job, JobResult } from "../../src/engine/engine.ts";
import type { Egress, EgressRequest } from "../../src/services/egress.ts";
import { createHints } from "../../src/services/hints.ts";
import type { AcceptedInput } from "../../src/services/input.ts";
import { createRunner, type Runner } from "../../src/services/runner.ts";
import type { InsertResult, Store } from "../../src/store/store.ts";
import { aPrediction, SUCCESS, tempStore } from "../store/temp-store.ts";

export interface Bench {
  readonly store: Store;
  readonly runner: Runner;
  /** Jobs that the engine was given, and their ends. */
  readonly jobs: { readonly job: Job; readonly end: PromiseWithResolvers<JobResult> }[];
  /** Pictures that are being fetched. */
  readonly fetches: PromiseWithResolvers<never>[];
  /** Microseconds by which the server's clock is ahead. */
  ahead: number;
  /** Jobs that the engine has room for. */
  room: number;
  /** Writes a new one as a creation does. */
  write(prediction: Prediction, deliveries?: readonly NewDelivery[]): Promise<InsertResult>;
  /** Puts one into the store as another process does. */
  add(given?: Partial<Prediction>): Promise<Prediction>;
  read(prediction: Prediction): Promise<Prediction | undefined>;
}

export async function bench({
  store: override = (store: Store) => store,
  leaseMs = 60_000,
  queueMax = 1000,
} = {}): Promise<Bench> {
  const store = override(await tempStore({ queueMax }));
  const jobs: Bench["jobs"] = [];
  const fetches: Bench["fetches"] = [];
  const engine = {
    run(job: Job) {
      const end = Promise.withResolvers<JobResult>();
      job.signal.addEventListener("abort", () => end.reject(new Error("aborted")));
      jobs.push({ job, end });
      return end.promise;
    },
    room: () => self.room,
    liveWorkers: () => 1,
    onRoom: () => () => undefined,
  } as unknown as Engine;
  const egress = {
    fetch: ({ signal }: EgressRequest) => {
      const fetched = Promise.withResolvers<never>();
      signal.addEventListener("abort", () => fetched.reject(new Error("aborted")));
      fetches.push(fetched);
      return fetched.promise;
    },
  } as unknown as Egress;
  const ignore = () => undefined;
  const now = () => Date.now() * 1000 + self.ahead;
  const runner = createRunner({
    input: { store, engine, egress, maxPictureBytes: 1 },
    flows: {
      run: () => Promise.reject(new Error("no flow")),
      canceledTurn: () => Promise.reject(new Error("no flow")),
    },
    hints: createHints(),
    now,
    leaseMs,
    runMaxMs: 1_800_000,
    deliveriesFor: () => [],
    onDeliveries: ignore,
    onSettled: ignore,
    onLeft: ignore,
    log: { info: ignore, warn: ignore, error: ignore },
  });
  const self: Bench = {
    store,
    runner,
    jobs,
    fetches,
    ahead: 0,
    room: 10_000,
    write: (prediction, deliveries = []) => runner.write({ prediction, deliveries, images: [] }),
    async add(given) {
      const prediction = aPrediction({ createdAt: now(), updatedAt: now(), ...given });
      await store.predictions.insert({ prediction, lease: null, deliveries: [], images: [] });
      runner.wake();
      return prediction;
    },
    read: ({ principal, id }) => store.predictions.get(principal, id),
  };
  onTestFinished(() => runner.close());
  return self;
}

export const HERE: AcceptedInput = { payload: { json: {}, tensors: {} }, picture: null };
export const NAMED: AcceptedInput = {
  payload: { json: { image: "https://slow.example/a.png" }, tensors: {} },
  picture: null,
};

/** A store whose claims and inserts, which are committed by then, are answered when these resolve. */
export function answering({ claims = atOnce, inserts = atOnce }: Answering) {
  return (store: Store): Store => ({
    ...store,
    predictions: {
      ...store.predictions,
      claim: held(store.predictions.claim, claims),
      insert: held(store.predictions.insert, inserts),
    },
  });
}

interface Answering {
  readonly claims?: () => Promise<void>;
  readonly inserts?: () => Promise<void>;
}

const atOnce = async (): Promise<void> => undefined;

function held<A, R>(call: (args: A) => Promise<R>, until: () => Promise<void>) {
  return async (args: A): Promise<R> => {
    const result = await call(args);
    await until();
    return result;
  };
}

export const RESULT: JobResult = { output: SUCCESS.output, executionTime: 1 };
