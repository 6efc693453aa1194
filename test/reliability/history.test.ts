/** Faults under the load of callers over every door; each run ends with the history checker. */
import { expect, test } from "vitest";
import { killRepeatedly } from "../history/kills.ts";
import { run, type Verdict } from "../history/run.ts";
import { childrenOf, resume } from "../processes.ts";

/** `npm run bench -- --soak` has 1,000. */
const KILLS = 20;

const ended = ({ violations }: Verdict) => expect(violations).toEqual([]);

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test(`F4 killed ${KILLS} times under load: nothing that was answered is lost, or settled twice`, async () => {
  const report = await killRepeatedly({ kills: KILLS, seed: 4, answersBetween: 15 });
  expect(report.violations).toEqual([]);
  expect(report.answered).toBeGreaterThan(KILLS * 15);
  // The time itself is a figure of the soak.
  expect(report.slowestRecovery).toBeLessThan(60_000);
}, 600_000);

test("F3 workers killed under load: no caller sees it", async () => {
  const verdict = await run({
    seed: 3,
    settings: { WORKERS: "2" },
    async fault(r) {
      for (let kills = 0; kills < 6; kills++) {
        await r.toldMore(60);
        const [worker] = childrenOf(r.server.process.pid ?? 0);
        if (worker !== undefined) process.kill(worker, "SIGKILL");
      }
      await r.toldMore(60);
    },
  });
  ended(verdict);
}, 180_000);

test("F5 the server stopped for longer than its leases last, and continued", async () => {
  const verdict = await run({
    seed: 5,
    async fault(r) {
      await r.toldMore(100);
      const pid = r.server.process.pid ?? 0;
      process.kill(pid, "SIGSTOP");
      await sleep(3000);
      resume([pid]);
      await r.toldMore(100);
    },
  });
  ended(verdict);
});

test("F5 a worker stopped and continued: its batch is not answered twice", async () => {
  const verdict = await run({
    seed: 6,
    settings: { WORKERS: "2", BATCH_TIMEOUT: "2s" },
    async fault(r) {
      await r.toldMore(100);
      const [worker] = childrenOf(r.server.process.pid ?? 0);
      if (worker === undefined) throw new Error("there is no worker");
      process.kill(worker, "SIGSTOP");
      await sleep(3000);
      resume([worker]);
      await r.toldMore(100);
    },
  });
  ended(verdict);
});

test("F6 SIGTERM under load: it says so first, exits with 0, and what it took is finished by the next", async () => {
  const verdict = await run({
    seed: 7,
    async fault(r) {
      for (let stops = 0; stops < 3; stops++) {
        await r.toldMore(60);
        expect(await r.server.terminate()).toBe(0);
        await r.restart();
      }
      await r.toldMore(60);
    },
  });
  ended(verdict);
}, 180_000);
