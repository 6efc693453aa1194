/**
 * Rounds of load on several targets, in turn: whatever else the machine does slows all of them alike, so that their
 * ratio stands even where the rates do not.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { type CpuTime, cpuTime } from "./cpu.ts";
import type { LoadOrder, LoadReply, LoadResult } from "./load.ts";
import { type Spread, spread } from "./statistics.ts";

export interface Target {
  readonly name: string;
  /** The process whose CPU time is charged, descendants included. */
  readonly pid: number;
  /** What the generator sends; or a function, where the target drives itself. */
  readonly load:
    | Omit<LoadOrder, "seconds" | "inFlight">
    | ((round: Pick<LoadOrder, "seconds" | "inFlight">) => Promise<LoadResult>);
}

/** Per target, over all rounds. Times are microseconds. */
export interface Measurement {
  readonly name: string;
  /** Answers per second. */
  readonly rate: Spread;
  readonly p50: Spread;
  readonly p95: Spread;
  readonly p99: Spread;
  /** CPU per request of the target's own process; NaN where the system does not say. */
  readonly mainCpu: Spread;
  /** CPU per request of the processes below it. */
  readonly workerCpu: Spread;
  /** CPU per request of the generator. */
  readonly generatorCpu: Spread;
  readonly requests: number;
  readonly checked: number;
}

export interface Generator {
  run(order: LoadOrder): Promise<LoadResult>;
  [Symbol.asyncDispose](): Promise<void>;
}

export function startGenerator(): Generator {
  const child = fork(join(import.meta.dirname, "load.ts"), { serialization: "advanced" });
  return {
    async run(order) {
      child.send(order);
      const answered = new AbortController();
      try {
        const [reply] = (await Promise.race([
          once(child, "message", { signal: answered.signal }),
          exit(child, answered.signal),
        ])) as [LoadReply];
        if (reply.kind === "error") throw new Error(reply.message);
        return reply.result;
      } finally {
        answered.abort();
      }
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return;
      child.disconnect();
      await once(child, "exit");
    },
  };
}

async function exit(child: ChildProcess, signal: AbortSignal): Promise<never> {
  const [code] = await once(child, "exit", { signal });
  throw new Error(`the load generator exited with ${code}`);
}

export interface Plan {
  readonly inFlight: number;
  /** Per target and round. */
  readonly seconds: number;
  readonly rounds: number;
  readonly warmUpSeconds: number;
  /** Told before each round. */
  readonly onRound: (round: number) => void;
}

interface Round extends LoadResult {
  readonly main: number;
  readonly workers: number;
}

/** One measurement per target, in their order. The first target is usually the floor. */
export async function measure(
  generator: Generator,
  targets: readonly Target[],
  plan: Plan,
): Promise<readonly Measurement[]> {
  const { inFlight, seconds, rounds, warmUpSeconds } = plan;
  const results = new Map<Target, Round[]>(targets.map((target) => [target, []]));
  for (const target of targets) {
    await drive(generator, target, { inFlight, seconds: warmUpSeconds });
  }
  for (let round = 1; round <= rounds; round++) {
    plan.onRound(round);
    for (const [target, done] of results) {
      const before = cpuTime(target.pid);
      const result = await drive(generator, target, { inFlight, seconds });
      done.push({ ...result, ...perRequest(before, cpuTime(target.pid), result.requests) });
    }
  }
  return [...results].map(([{ name }, done]) => summary(name, done));
}

function drive(
  generator: Generator,
  { load }: Target,
  round: Pick<LoadOrder, "seconds" | "inFlight">,
): Promise<LoadResult> {
  return typeof load === "function" ? load(round) : generator.run({ ...load, ...round });
}

function perRequest(before: CpuTime | undefined, after: CpuTime | undefined, requests: number) {
  if (!before || !after) return { main: Number.NaN, workers: Number.NaN };
  return {
    main: (after.own - before.own) / requests,
    workers: (after.children - before.children) / requests,
  };
}

function summary(name: string, rounds: readonly Round[]): Measurement {
  const over = (pick: (round: Round) => number): Spread => spread(rounds.map(pick));
  const total = (pick: (round: Round) => number): number => rounds.reduce((sum, r) => sum + pick(r), 0);
  return {
    name,
    rate: over((r) => r.requests / r.seconds),
    p50: over((r) => r.p50),
    p95: over((r) => r.p95),
    p99: over((r) => r.p99),
    mainCpu: over((r) => r.main),
    workerCpu: over((r) => r.workers),
    generatorCpu: over((r) => r.cpuMicros / r.requests),
    requests: total((r) => r.requests),
    checked: total((r) => r.checked),
  };
}
