/** SIGKILL of the whole node, again and again, under the load of callers over every door (row F4). */
import { run, type Verdict } from "./run.ts";

export interface KillsOptions {
  readonly kills: number;
  readonly seed: number;
  /** Predictions that are told of between two kills. */
  readonly answersBetween: number;
  readonly onKill?: (kills: number) => void;
}

export interface KillsReport {
  readonly kills: number;
  /** Predictions that some client was told of. */
  readonly answered: number;
  /** Of these: not there any more, or never ended. */
  readonly lost: number;
  /** Of these: shown to have ended in two ways. */
  readonly settledTwice: number;
  /** Milliseconds from the kill until a client was answered again, start of the new process included. */
  readonly slowestRecovery: number;
  readonly medianRecovery: number;
  readonly violations: Verdict["violations"];
}

export async function killRepeatedly(options: KillsOptions): Promise<KillsReport> {
  const recoveries: number[] = [];
  const { violations, predictions } = await run({
    seed: options.seed,
    async fault(r) {
      for (let kills = 1; kills <= options.kills; kills++) {
        await r.toldMore(options.answersBetween);
        const began = r.history.now();
        await r.server.kill();
        await r.restart();
        await r.toldMore(1);
        recoveries.push(r.history.now() - began);
        options.onKill?.(kills);
      }
    },
  });
  recoveries.sort((a, b) => a - b);
  return {
    kills: options.kills,
    answered: predictions,
    lost: violations.filter(({ invariant }) => invariant === "I1").length,
    settledTwice: violations.filter(({ invariant }) => invariant === "I2").length,
    slowestRecovery: recoveries.at(-1) ?? 0,
    medianRecovery: recoveries[recoveries.length >> 1] ?? 0,
    violations,
  };
}
