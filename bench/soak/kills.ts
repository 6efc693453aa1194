/**
 * Row F4 at length: the whole node is killed 1,000 times under the load of callers over every door, and the history
 * checker reads what they were told. By itself `node bench/soak/kills.ts --kills 1000`.
 */
import { parseArgs } from "node:util";
import { killRepeatedly } from "../../test/history/kills.ts";

/** Some, so that most kills come in the middle of work. */
const ANSWERS_BETWEEN = 15;

/** Whether nothing was lost, and nothing settled twice. */
export async function soakKills(kills: number, progress: (text: string) => void): Promise<boolean> {
  const report = await killRepeatedly({
    kills,
    seed: Date.now(),
    answersBetween: ANSWERS_BETWEEN,
    onKill: (done) => progress(`kill ${done} of ${kills}`),
  });
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  console.log(
    `${kills} kills: ${report.answered} predictions were answered, ${report.lost} lost, ` +
      `${report.settledTwice} settled twice; recovery, from the kill to the next answer, ` +
      `${seconds(report.medianRecovery)} in the middle and ${seconds(report.slowestRecovery)} at most`,
  );
  for (const { invariant, message } of report.violations) console.log(`${invariant}: ${message}`);
  return report.violations.length === 0;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { kills: { type: "string", default: "1000" } } });
  const progress = (text: string) => process.stderr.write(`\r${text}`);
  if (!(await soakKills(Number(values.kills), progress))) process.exitCode = 1;
}
