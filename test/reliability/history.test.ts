/** Faults under the load of callers over every door; each run ends with the history checker. */
import { expect, test } from "vitest";
import { type Run, run, type Verdict } from "../history/run.ts";
import { childrenOf, resume } from "../processes.ts";

/** More with `AUSPEX_TEST_KILLS`; the bench's soak asks for 1,000. */
const KILLS = Number(process.env.AUSPEX_TEST_KILLS ?? 20);

const ended = ({ violations }: Verdict) => expect(violations).toEqual([]);

const idsOf = ({ history }: Run) =>
  new Set(history.events.flatMap((event) => (event.kind === "told" ? [event.seen.id] : []))).size;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test(`F4 killed ${KILLS} times under load: nothing that was answered is lost, or settled twice`, async () => {
  let slowest = 0;
  const verdict = await run({
    seed: 4,
    async fault(r) {
      for (let kills = 0; kills < KILLS; kills++) {
        await r.told(idsOf(r) + 15);
        await r.server.kill();
        const began = r.history.now();
        await r.restart();
        // Somebody has to be answered again before the next kill.
        await r.told(idsOf(r) + 1);
        slowest = Math.max(slowest, r.history.now() - began);
      }
    },
  });
  ended(verdict);
  expect(verdict.predictions).toBeGreaterThan(KILLS * 15);
  console.log(`${KILLS} kills, ${verdict.predictions} answered, slowest recovery ${Math.round(slowest)} ms`);
}, 300_000);

test("F3 workers killed under load: no caller sees it", async () => {
  const verdict = await run({
    seed: 3,
    settings: { WORKERS: "2" },
    async fault(r) {
      for (let kills = 0; kills < 6; kills++) {
        await r.told(idsOf(r) + 60);
        const [worker] = childrenOf(r.server.process.pid ?? 0);
        if (worker !== undefined) process.kill(worker, "SIGKILL");
      }
      await r.told(idsOf(r) + 60);
    },
  });
  ended(verdict);
}, 180_000);

test("F5 the server stopped for longer than its leases last, and continued", async () => {
  const verdict = await run({
    seed: 5,
    async fault(r) {
      await r.told(100);
      const pid = r.server.process.pid ?? 0;
      process.kill(pid, "SIGSTOP");
      await sleep(3000);
      resume([pid]);
      await r.told(idsOf(r) + 100);
    },
  });
  ended(verdict);
}, 120_000);

test("F5 a worker stopped and continued: its batch is not answered twice", async () => {
  const verdict = await run({
    seed: 6,
    settings: { WORKERS: "2", BATCH_TIMEOUT: "2s" },
    async fault(r) {
      await r.told(100);
      const [worker] = childrenOf(r.server.process.pid ?? 0);
      if (worker === undefined) throw new Error("there is no worker");
      process.kill(worker, "SIGSTOP");
      await sleep(3000);
      resume([worker]);
      await r.told(idsOf(r) + 100);
    },
  });
  ended(verdict);
}, 120_000);

test("F6 SIGTERM under load: it says so first, exits with 0, and what it took is finished by the next", async () => {
  const verdict = await run({
    seed: 7,
    async fault(r) {
      for (let stops = 0; stops < 3; stops++) {
        await r.told(idsOf(r) + 60);
        expect(await r.server.terminate()).toBe(0);
        await r.restart();
      }
      await r.told(idsOf(r) + 60);
    },
  });
  ended(verdict);
}, 180_000);
